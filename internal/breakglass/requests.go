package breakglass

import (
	"context"
	"time"
)

// NewRequest asks for access that others approve.
type NewRequest struct {
	Profile       string
	Justification string
	Ticket        string
	// Duration is how long the access lasts from its approval on; zero means the
	// default, or the rule's cap when lower.
	Duration time.Duration
	CallID   string
}

// Request asks for access to a profile. A rule may approve it at once.
func (s *Service) Request(ctx context.Context, caller Principal, in NewRequest) (RequestView, error) {
	return RequestView{}, errStub
}

// AccessRequest returns one access request that the caller may see: their own, one
// that they may decide, or any for reviewers and auditors.
func (s *Service) AccessRequest(ctx context.Context, caller Principal, id string) (RequestView, error) {
	return RequestView{}, errStub
}

// AccessRequests lists access requests, newest first, and whether there are more:
// the caller's own, or any for reviewers and auditors. With decidable, it lists
// the pending ones that the caller may approve or deny, whosever they are.
func (s *Service) AccessRequests(ctx context.Context, caller Principal, q RequestQuery, decidable bool) ([]RequestView, bool, error) {
	return nil, false, errStub
}

// Approve adds the caller's approval. With the last one that is needed access begins.
func (s *Service) Approve(ctx context.Context, caller Principal, id, comment, callID string) (RequestView, error) {
	return RequestView{}, errStub
}

// Deny refuses a pending request, or withdraws the approval of an approved one.
func (s *Service) Deny(ctx context.Context, caller Principal, id, reason, callID string) (RequestView, error) {
	return RequestView{}, errStub
}

// Cancel ends the caller's own request, pending or approved. reason may be empty.
func (s *Service) Cancel(ctx context.Context, caller Principal, id, reason, callID string) (RequestView, error) {
	return RequestView{}, errStub
}

func (s *Service) writeRequestExpired(tx Tx, r AccessRequest, now time.Time) error {
	return errStub
}
