package breakglass

import (
	"context"
)

// CredentialsFor issues credentials for a profile by the mildest means that
// applies: standing policy, an approved access request, an active event. A
// refusal is CodeAccessDenied with what each link said in Links.
func (s *Service) CredentialsFor(ctx context.Context, caller Principal, profile, callID string) (Issued, error) {
	return Issued{}, errStub
}

var errStub = &Error{Code: CodeUnavailable, Message: "stub"}
