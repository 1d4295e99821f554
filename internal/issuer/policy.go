package issuer

import (
	"encoding/json"
	"time"
)

// maxPolicyLength is the most characters of a session policy (AWS STS API
// reference, AssumeRole, parameter Policy).
const maxPolicyLength = 2048

// policyTime is the date format of IAM conditions: ISO 8601, UTC, whole seconds.
const policyTime = "2006-01-02T15:04:05Z"

type policyDocument struct {
	Version   string
	Statement []policyStatement
}

type policyStatement struct {
	Effect    string
	Action    string
	Resource  string
	Condition map[string]map[string]string `json:",omitempty"`
}

// sessionPolicy returns the policy that ends a session exactly at end. It is
// always attached, because STS makes no session shorter than 900 seconds.
//
// A session may do what the role's policies and this one both allow, so
// "Allow *" takes nothing away; and an explicit Deny also beats resource policies
// that name the session (IAM User Guide, "Policy evaluation logic").
//
// A session that the user makes from this one by AssumeRole does not inherit the
// policy and can last up to an hour longer. Whether the role may assume others
// is for the role's own policies to say: forbidding it here would break, in the
// middle of an emergency, what works with the same role at other times.
func sessionPolicy(end time.Time) string {
	doc := policyDocument{Version: "2012-10-17", Statement: []policyStatement{
		{Effect: "Allow", Action: "*", Resource: "*"},
		{Effect: "Deny", Action: "*", Resource: "*", Condition: map[string]map[string]string{
			"DateGreaterThanEquals": {"aws:CurrentTime": end.UTC().Format(policyTime)},
		}},
	}}
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err) // strings alone: can't fail
	}
	return string(b)
}
