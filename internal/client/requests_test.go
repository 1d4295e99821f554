package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

const requestID = "fedcba9876543210"

// credentialsJSON is an answer of the chain; more are further members.
func credentialsJSON(more string) string {
	return `{"access_key_id":"ASIA","secret_access_key":"a/b+c=","session_token":"t==","expiration":"2099-01-01T00:00:00Z","profile":"prod",` +
		`"region":"us-east-1","role_session_name":"alice.fedcba9876543210","rule":"changes"` + more + `}`
}

// storyJSON is a story with so many entries.
func storyJSON(entries int) string {
	return `{"kind":"event","id":"0123456789abcdef","event":` + eventJSON + `,"entries":[` +
		strings.TrimSuffix(strings.Repeat(`{"seq":1},`, entries), ",") + `],"truncated":true}`
}

// Each call of the chain asks for the right thing, and reads the answer.
func TestTheCallsOfTheChain(t *testing.T) {
	var asked, sent, reply string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked, sent = r.Method+" "+r.URL.String(), string(body)
		answerJSON(w, reply)
	})
	c := testClient(t, s.URL)
	for _, tc := range []struct {
		reply, asked, sent string
		run                func() (any, error)
	}{
		{credentialsJSON(`,"granted_by":"policy"`), "POST /v1/credentials", `{"profile":"prod"}`,
			func() (any, error) { return c.CredentialsFor(t.Context(), "prod") }},
		{requestJSON, "POST /v1/requests", `{"profile":"prod","justification":"j","ticket":"CHG-1","duration_seconds":60}`, func() (any, error) {
			return c.Request(t.Context(), NewRequest{Profile: "prod", Justification: "j", Ticket: "CHG-1", DurationSeconds: 60})
		}},
		{requestJSON, "GET /v1/requests/" + requestID, "", func() (any, error) { return c.AccessRequest(t.Context(), requestID) }},
		{requestJSON, "POST /v1/requests/" + requestID + "/approve", `{"comment":"fine"}`, func() (any, error) { return c.Approve(t.Context(), requestID, "fine") }},
		{requestJSON, "POST /v1/requests/" + requestID + "/approve", `{}`, func() (any, error) { return c.Approve(t.Context(), requestID, "") }},
		{requestJSON, "POST /v1/requests/" + requestID + "/deny", `{"reason":"freeze"}`, func() (any, error) { return c.Deny(t.Context(), requestID, "freeze") }},
		{requestJSON, "POST /v1/requests/" + requestID + "/cancel", `{}`, func() (any, error) { return c.Cancel(t.Context(), requestID, "") }},
		{eventJSON, "POST /v1/breakglass/0123456789abcdef/extend", `{"justification":"j","duration_seconds":60,"totp":"123456"}`, func() (any, error) {
			return c.Extend(t.Context(), "0123456789abcdef", Extension{Justification: "j", DurationSeconds: 60, TOTP: "123456"})
		}},
		{storyJSON(2), "GET /v1/why/alice@example.com.0123456789abcdef", "", func() (any, error) { return c.Why(t.Context(), "alice@example.com.0123456789abcdef") }},
		{storyJSON(2), "GET /v1/why/a=b%2Cc+d@e", "", func() (any, error) { return c.Why(t.Context(), "a=b,c+d@e") }},
	} {
		reply = tc.reply
		out, err := tc.run()
		require.NoError(t, err, tc.asked)
		assert.Equal(t, tc.asked, asked)
		assert.Equal(t, tc.sent, sent, tc.asked)
		switch v := out.(type) {
		case breakglass.RequestView:
			assert.Equal(t, requestID, v.ID)
			assert.Equal(t, "sam@example.com", v.Approvals[0].By)
		case breakglass.Story:
			assert.Equal(t, "0123456789abcdef", v.Event.ID)
			assert.Len(t, v.Entries, 2)
			assert.True(t, v.Truncated)
			raw, err := json.Marshal(v)
			require.NoError(t, err)
			assert.Equal(t, 1, strings.Count(string(raw), `"entries"`))
		case Credentials:
			assert.Equal(t, breakglass.LinkPolicy, v.GrantedBy)
			assert.Equal(t, "changes", v.Rule)
			assert.True(t, v.GrantedUntil.IsZero(), "standing access without an end")
		}
	}

	reply = `{"items":[` + requestJSON + `],"next_cursor":"next"}`
	items, next, err := c.Requests(t.Context(), RequestFilter{Requester: "alice", Status: "pending", Profile: "prod", Decidable: true, Limit: 5, Cursor: "here"})
	require.NoError(t, err)
	assert.Equal(t, "GET /v1/requests?cursor=here&decidable=true&limit=5&profile=prod&requester=alice&status=pending", asked)
	assert.Len(t, items, 1)
	assert.Equal(t, "next", next)
}

// What makes credentials, or changes something that a repetition would change
// again, is asked for once. Each approver counts once, so an approval may repeat.
func TestCallsOfTheChainAreRepeatedOnlyWhereThatIsSafe(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			answer(w, 503, "application/problem+json", `{"code":"unavailable","detail":"x"}`)
			return
		}
		answerJSON(w, requestJSON)
	})
	c := testClient(t, s.URL)
	for name, tc := range map[string]struct {
		times int32
		run   func() error
	}{
		"credentials": {1, func() error { _, err := c.CredentialsFor(t.Context(), "prod"); return err }},
		"request":     {1, func() error { _, err := c.Request(t.Context(), NewRequest{}); return err }},
		"deny":        {1, func() error { _, err := c.Deny(t.Context(), requestID, "x"); return err }},
		"cancel":      {1, func() error { _, err := c.Cancel(t.Context(), requestID, ""); return err }},
		"approve":     {2, func() error { _, err := c.Approve(t.Context(), requestID, ""); return err }},
		"look up":     {2, func() error { _, err := c.AccessRequest(t.Context(), requestID); return err }},
	} {
		calls.Store(0)
		err := tc.run()
		assert.Equal(t, tc.times == 2, err == nil, "%s: %v", name, err)
		assert.Equal(t, tc.times, calls.Load(), name)
	}
}

func TestGarbageIsNotTakenForAnAnswerOfTheChain(t *testing.T) {
	var reply string
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, reply) })
	c := testClient(t, s.URL)
	fails := func(run func() error) {
		t.Helper()
		var unexpected *ProtocolError
		assert.ErrorAs(t, run(), &unexpected, "%.200s", reply)
	}
	for _, reply = range []string{`{}`, `null`, `[]`, eventJSON, strings.Replace(requestJSON, "approved", "granted", 1),
		strings.Replace(requestJSON, requestID, "../../etc", 1), strings.Replace(requestJSON, `"expires_at"`, `"x"`, 1)} {
		fails(func() error { _, err := c.AccessRequest(t.Context(), requestID); return err })
		fails(func() error { _, err := c.Why(t.Context(), requestID); return err })
		list := reply
		reply = `{"items":[` + list + `]}`
		fails(func() error { _, _, err := c.Requests(t.Context(), RequestFilter{}); return err })
	}
	for _, reply = range []string{
		credentialsJSON(``), credentialsJSON(`,"granted_by":"luck"`),
		credentialsJSON(`,"granted_by":"breakglass"`), credentialsJSON(`,"granted_by":"breakglass","event_id":"x"`),
		credentialsJSON(`,"granted_by":"request"`), credentialsJSON(`,"granted_by":"request","event_id":"0123456789abcdef"`),
		credentialsJSON(`,"granted_by":"policy","profile":"staging"`),
		credentialsJSON(`,"granted_by":"policy","session_token":"a\nb"`),
	} {
		fails(func() error { _, err := c.CredentialsFor(t.Context(), "prod"); return err })
	}
	for _, reply = range []string{storyJSON(maxStory + 1), strings.Replace(storyJSON(1), `"status":"active"`, `"status":"odd"`, 1),
		`{"kind":"request","id":"x","request":{},"entries":[]}`, `{"kind":"session","id":"x","entries":{}}`, `{"id":"x","entries":[]}`} {
		fails(func() error { _, err := c.Why(t.Context(), requestID); return err })
	}
}

// Every link's answer reaches whoever shows it.
func TestARefusalOfTheChainHasWhatEachLinkSaid(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		links := []string{}
		for _, link := range breakglass.Links() {
			links = append(links, fmt.Sprintf(`{"link":%q,"outcome":"absent","message":"m","next":"n"}`, link))
		}
		answer(w, 403, "application/problem+json", `{"code":"access_denied","detail":"d","access_request_id":"`+requestID+`","links":[`+strings.Join(links, ",")+`]}`)
	})
	_, err := testClient(t, s.URL).CredentialsFor(t.Context(), "prod")
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, breakglass.CodeAccessDenied, e.Code)
	assert.Equal(t, requestID, e.AccessRequestID)
	require.Len(t, e.Links, 3)
	assert.Equal(t, breakglass.LinkAnswer{Link: breakglass.LinkBreakglass, Outcome: breakglass.OutcomeAbsent, Message: "m", Next: "n"}, e.Links[2])
}
