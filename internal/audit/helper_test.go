package audit

import (
	"crypto/sha256"
	"encoding/json"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// fullEntry has every field set, with text as an incident brings it.
func fullEntry() breakglass.LogEntry {
	at := time.Date(2026, 11, 23, 2, 14, 7, 123456000, time.UTC)
	return breakglass.LogEntry{
		Seq: 4711, Timestamp: at, Event: breakglass.EntryCredentialsIssued, EventID: "00f1e2d3c4b5a697", RequestID: "8c1f0a6be1d24c55",
		Actor: "alice@example.com", Invoker: "alice@example.com", Profile: "prod", ReasonCode: breakglass.ReasonIncident,
		Justification: "Primärdatenbank \"db-1\" steht, INC-4711 \U0001F525; siehe <https://status.example.com/?a=1&b=2>",
		Status:        breakglass.StatusActive, DurationSeconds: 3600, ExpiresAt: at.Add(time.Hour),
		ClosedBy: "sam@example.com", ClosedReason: "Failover\ndone", Reason: "already_active",
		Detail: map[string]string{
			breakglass.DetailAccessKeyID: "ASIAEXAMPLE0EXAMPLE0", breakglass.DetailRoleARN: "arn:aws:iam::123456789012:role/BreakGlass",
			breakglass.DetailRoleSessionName: "alice@example.com-00f1e2d3c4b5a697", breakglass.DetailSourceIdentity: "alice@example.com-00f1e2d3c4b5a697",
			breakglass.DetailExpiration: "2026-11-23T03:14:07Z", breakglass.DetailIssuer: "aws", breakglass.DetailPolicyRule: "oncall-incident",
		},
		PrevHash: GenesisHash,
	}
}

// newTrail is a sealed trail as the service writes it.
func newTrail(n int) []breakglass.LogEntry {
	at := time.Date(2026, 11, 23, 2, 0, 0, 1000, time.UTC)
	kinds := []breakglass.LogEntry{
		{Event: breakglass.EntryInvoked, EventID: "00f1e2d3c4b5a697", RequestID: "r-1", Actor: "alice", Invoker: "alice", Profile: "prod",
			ReasonCode: breakglass.ReasonIncident, Justification: "DB \"db-1\" <down>, größer\n\u2028\U0001F525", Status: breakglass.StatusActive,
			DurationSeconds: 3600, ExpiresAt: at.Add(time.Hour), Detail: map[string]string{"ticket": "INC-1", "policy_rule": "oncall"}},
		{Event: breakglass.EntryDenied, Actor: "bob", Invoker: "bob", Profile: "prod", Reason: "rate_limited"},
		{Event: breakglass.EntryExpired, EventID: "00f1e2d3c4b5a697", Actor: breakglass.SystemActor, Status: breakglass.StatusExpired},
	}
	trail := make([]breakglass.LogEntry, n)
	prev := GenesisHash
	for i := range trail {
		trail[i] = kinds[i%len(kinds)]
		trail[i].Seq, trail[i].Timestamp = int64(i+1), at.Add(time.Duration(i)*time.Minute)
		Seal(&trail[i], prev)
		prev = trail[i].Hash
	}
	return trail
}

// reseal makes the chain consistent again, as somebody can who controls the database.
func reseal(trail []breakglass.LogEntry, from int) {
	for i := from; i < len(trail); i++ {
		prev := GenesisHash
		if i > 0 {
			prev = trail[i-1].Hash
		}
		Seal(&trail[i], prev)
	}
}

func jsonLines(trail []breakglass.LogEntry) []string {
	out := make([]string, len(trail))
	for i, e := range trail {
		b, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		out[i] = string(b) + "\n"
	}
	return out
}

func verifyLines(o Options, lines ...string) (Result, error) {
	return VerifyStream(strings.NewReader(strings.Join(lines, "")), o)
}

func sum(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }
