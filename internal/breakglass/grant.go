package breakglass

import "time"

// Link is one link of the chain by which access is given, in the order in which
// they are asked: the mildest first.
type Link string

// The links.
const (
	LinkPolicy     Link = "policy"     // standing policy
	LinkRequest    Link = "request"    // an approved access request
	LinkBreakglass Link = "breakglass" // an active event
)

// Links lists every link in the order of the chain.
func Links() []Link { return []Link{LinkPolicy, LinkRequest, LinkBreakglass} }

// Outcome is what one link of the chain says.
type Outcome string

// The outcomes. Only allowed gives access.
const (
	OutcomeAllowed     Outcome = "allowed"
	OutcomeAbsent      Outcome = "absent"      // nothing there is about this person and profile
	OutcomeDenied      Outcome = "denied"      // a rule or a person says no
	OutcomePending     Outcome = "pending"     // a request waits for approval
	OutcomeExpired     Outcome = "expired"     // there was access, and it is over
	OutcomeWithdrawn   Outcome = "withdrawn"   // there was access, and somebody ended it, or its rule is gone
	OutcomeExhausted   Outcome = "exhausted"   // it has no renewal left
	OutcomeUnavailable Outcome = "unavailable" // its rules can't be read
)

// LinkAnswer is what one link said about a request for credentials.
type LinkAnswer struct {
	Link      Link    `json:"link"`
	Outcome   Outcome `json:"outcome"`
	Rule      string  `json:"rule,omitempty"`
	EventID   string  `json:"event_id,omitempty"`
	RequestID string  `json:"request_id,omitempty"` // of an access request
	Message   string  `json:"message"`
	// Next is what the caller can do about it: a command, or who may.
	Next string `json:"next,omitempty"`
}

// Grant is why credentials are issued, and until when.
type Grant struct {
	Link   Link
	ID     string // of the event, of the access request, or of this decision by standing policy
	Holder string // whose it is
	Rule   string // of the policy that decided
	// PolicySHA256 is the policy file that it rests on.
	PolicySHA256 string
	// Until is when the grant is over; zero for standing policy that has no end.
	Until time.Time
	// Ends is when these credentials end at the latest: Until, or earlier where a
	// rule says how long one session lasts.
	Ends          time.Time
	ReasonCode    ReasonCode // of an event
	CorrelationID string
}

// EventID is the event that the grant is; empty for the other links.
func (g Grant) EventID() string { return g.idOf(LinkBreakglass) }

// AccessRequestID is the access request that the grant is; empty for the other links.
func (g Grant) AccessRequestID() string { return g.idOf(LinkRequest) }

// DecisionID tells decisions of standing policy apart; empty for the other links.
func (g Grant) DecisionID() string { return g.idOf(LinkPolicy) }

func (g Grant) idOf(l Link) string {
	if g.Link == l {
		return g.ID
	}
	return ""
}
