package breakglass

import "context"

// Story is why somebody had access: what an id or a session name stands for, and
// what the audit trail says about it.
type Story struct {
	// Kind is event, request or session; the last is access by standing policy.
	Kind    string       `json:"kind"`
	ID      string       `json:"id"`
	Event   *View        `json:"event,omitempty"`
	Request *RequestView `json:"request,omitempty"`
	Entries []LogEntry   `json:"entries"`
	// Truncated says that there are more entries than are shown.
	Truncated bool `json:"truncated"`
}

// Why tells the story of an event, an access request or a role session, named by
// its id or its session name, to whoever may see it.
func (s *Service) Why(ctx context.Context, caller Principal, ref string) (Story, error) {
	return Story{}, errStub
}
