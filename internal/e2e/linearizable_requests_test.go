package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/approval"
	"breakglass/internal/breakglass"
)

// The access requests of one (requester, profile) are checked against a model of
// one pending and one approved request, in time as events are.

type requestOp int

const (
	opAsk requestOp = iota
	opApprove
	opDeny
	opCancel
	opUse // credentials by the chain
	opLook
)

type requestInput struct {
	kind requestOp
	key  string // requester and profile
	id   string // of all but ask and use
	by   string
	call time.Time
}

type requestOutput struct {
	status int
	view   breakglass.RequestView
	other  string // the request that a refusal is about
	keys   requestKeys
	done   time.Time
}

// requestKeys are credentials, without what is secret.
type requestKeys struct {
	GrantedBy  breakglass.Link `json:"granted_by"`
	RequestID  string          `json:"request_id"`
	Until      time.Time       `json:"granted_until"`
	Expiration time.Time       `json:"expiration"`
}

// openRequest is a request that can still come to something.
type openRequest struct {
	id       string
	ends     time.Time
	by       string // who approved, in their order
	sessions int
}

func (o openRequest) is(id string, at time.Time) bool { return o.id == id && at.Before(o.ends) }

// requestState is what a person has open on a profile.
type requestState struct{ pending, approved openRequest }

// open reports whether the request is open at that time.
func (s requestState) open(id string, at time.Time) bool {
	return s.pending.is(id, at) || s.approved.is(id, at)
}

func stepRequest(s requestState, in requestInput, out requestOutput) (bool, requestState) {
	switch {
	case in.kind == opUse:
		return s.use(in, out)
	case in.kind == opLook:
		return s.look(in, out), s
	case out.status == http.StatusConflict && in.kind == opAsk:
		return s.pending.is(out.other, in.call), s
	case out.status == http.StatusConflict:
		return !s.open(in.id, out.done), s
	case out.status == http.StatusNotFound: // a request that was acknowledged is gone
		return false, s
	case in.kind == opAsk:
		made := out.view
		ok := within(made.CreatedAt, in.call, out.done) && !s.pending.is(s.pending.id, made.CreatedAt) && made.Status == breakglass.RequestPending
		return ok && approvers(made) == "", requestState{openRequest{id: made.ID, ends: made.ExpiresAt}, s.approved}
	case in.kind == opApprove:
		return s.approve(in, out)
	default:
		return s.end(in, out)
	}
}

// within reports whether a change was made between call and answer.
func within(at, call, done time.Time) bool {
	return !at.Before(call.Truncate(time.Microsecond)) && !at.After(done)
}

func approvers(v breakglass.RequestView) string {
	var names []string
	for _, a := range v.Approvals {
		names = append(names, a.By)
	}
	return strings.Join(names, " ")
}

func (s requestState) approve(in requestInput, out requestOutput) (bool, requestState) {
	v := out.view
	switch {
	case s.approved.is(in.id, in.call): // again
		return v.Status == breakglass.RequestApproved && approvers(v) == s.approved.by && strings.Contains(s.approved.by, in.by), s
	case !s.pending.is(in.id, in.call):
		return false, s
	case strings.Contains(s.pending.by, in.by): // again
		return v.Status == breakglass.RequestPending && approvers(v) == s.pending.by, s
	case !within(v.UpdatedAt, in.call, out.done) || !v.UpdatedAt.Before(s.pending.ends):
		return false, s
	case s.pending.by == "": // the first of two
		s.pending.by = in.by
		return v.Status == breakglass.RequestPending && approvers(v) == in.by, s
	}
	by := s.pending.by + " " + in.by
	ends := v.ApprovedAt.Add(time.Duration(v.DurationSeconds) * time.Second)
	ok := v.Status == breakglass.RequestApproved && v.ApprovedAt.Equal(v.UpdatedAt) && v.ExpiresAt.Equal(ends) && approvers(v) == by
	return ok, requestState{approved: openRequest{id: in.id, ends: v.ExpiresAt, by: by}}
}

// end is a denial, a withdrawal or a cancel that was answered as done.
func (s requestState) end(in requestInput, out requestOutput) (bool, requestState) {
	status := breakglass.RequestDenied
	if in.kind == opCancel {
		status = breakglass.RequestCancelled
	}
	at := out.view.EndedAt
	ok := out.view.Status == status && within(at, in.call, out.done) && s.open(in.id, in.call) && s.open(in.id, at)
	if s.pending.id == in.id {
		s.pending = openRequest{}
	} else {
		s.approved = openRequest{}
	}
	return ok, s
}

func (s requestState) use(in requestInput, out requestOutput) (bool, requestState) {
	switch out.status {
	case http.StatusForbidden: // no link gives access
		return s.approved.id == "" || !s.approved.is(s.approved.id, out.done), s
	case http.StatusConflict: // it ended meanwhile, or is about to
		usable := s.approved.id == out.other && s.approved.ends.Truncate(time.Second).Sub(out.done) >= time.Second
		return !usable, s
	}
	k := out.keys
	ok := k.GrantedBy == breakglass.LinkRequest && s.approved.is(k.RequestID, in.call) && k.Until.Equal(s.approved.ends) && !k.Expiration.After(s.approved.ends)
	s.approved.sessions++
	return ok, s
}

func (s requestState) look(in requestInput, out requestOutput) bool {
	v := out.view
	switch v.Status {
	case breakglass.RequestPending:
		return s.pending.is(in.id, in.call) && approvers(v) == s.pending.by
	case breakglass.RequestApproved:
		return s.approved.is(in.id, in.call) && v.Sessions == s.approved.sessions && approvers(v) == s.approved.by
	case breakglass.RequestExpired:
		return !s.open(in.id, out.done)
	}
	return in.id != s.pending.id && in.id != s.approved.id
}

var requestModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(requestInput).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return requestState{} },
	Step: func(state, input, output any) (bool, any) {
		return stepRequest(state.(requestState), input.(requestInput), output.(requestOutput))
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v → %+v", input, output)
	},
}

// requestRecorder lets clients work on few keys and keeps what they saw. On db
// nobody denies or cancels, so that access ends by itself; on staging nobody
// approves either, so that waiting does.
type requestRecorder struct {
	servers cluster
	begun   time.Time
	mu      sync.Mutex
	history []porcupine.Operation
	known   map[string][]string
	kinds   map[string]int
	// broken says that the store may refuse what a planted bug would write.
	broken bool
}

func newRequestRecorder(servers ...caller) *requestRecorder {
	return &requestRecorder{servers: servers, begun: time.Now(), known: map[string][]string{}, kinds: map[string]int{}}
}

// shortWait is a file of approval rules by which requests wait for two seconds
// only; the shortest that one can be written for is a minute.
type shortWait struct{ *approval.Policy }

func (s shortWait) Find(profile string) (breakglass.ApprovalRule, bool) {
	rule, ok := s.Policy.Find(profile)
	rule.MaxWait = 2 * time.Second
	return rule, ok
}

// twoApprovals makes a server take access requests, for user-0 and user-1 to
// approve. Both have to.
func twoApprovals(t *testing.T) func(*breakglass.Config) {
	t.Helper()
	rules, err := approval.Parse("approvals.yaml", fmt.Appendf(nil,
		"version: \"1\"\nrules:\n  - {name: both, profiles: [\"*\"], approvers: {users: [%s, %s]}, approvals: 2}\n", user(0), user(1)))
	require.NoError(t, err)
	return func(c *breakglass.Config) {
		c.Profiles = []breakglass.Profile{{Name: "prod"}, {Name: "db"}, {Name: "staging"}}
		c.Approvals = func() (breakglass.ApprovalPolicy, error) { return shortWait{rules}, nil }
	}
}

func (r *requestRecorder) record(t *testing.T, clients int, atLeast time.Duration, enough func() bool) {
	t.Helper()
	hammer(clients, uint64(len(r.history)), atLeast, enough, func(client int, rnd *rand.Rand) bool { return r.one(t, client, rnd) })
}

// next chooses what to do. Because nobody may ask without end, new people come
// every two seconds, and those before them go on for a while.
func (r *requestRecorder) next(rnd *rand.Rand) (in requestInput, who, profile string) {
	const group = 6
	first := max(0, int(time.Since(r.begun)/(2*time.Second))-rnd.IntN(3)) % ((crowd - 2) / group) * group
	who, profile = user(2+first+rnd.IntN(group)), []string{"prod", "db", "staging"}[rnd.IntN(3)]
	in = requestInput{kind: opAsk, key: who + "/" + profile, by: who}
	r.mu.Lock()
	ids := r.known[in.key]
	r.mu.Unlock()
	if len(ids) == 0 {
		return in, who, profile
	}
	in.id = ids[max(0, len(ids)-1-rnd.IntN(2))]
	switch n := rnd.IntN(100); {
	case n < 7:
		in.id = ""
	case n < 14 && profile == "prod":
		if in.kind = opDeny; n < 10 {
			in.kind = opCancel
		}
	case n < 40 && profile != "staging":
		in.kind = opApprove
	case n < 60 && profile != "staging":
		in.kind, in.id = opUse, ""
	default:
		in.kind = opLook
	}
	if in.kind == opApprove || in.kind == opDeny {
		in.by = user(rnd.IntN(2))
	}
	return in, who, profile
}

// one performs one operation; false when no answer came.
func (r *requestRecorder) one(t *testing.T, client int, rnd *rand.Rand) bool {
	in, _, profile := r.next(rnd)
	in.call = time.Now().UTC()
	out, err := ask(t, r.servers.at(rnd.IntN(60)), in, profile, 2+rnd.IntN(2))
	out.done = time.Now().UTC()
	if r.broken && unmadeBy(err) {
		return true
	}
	if !assert.NoError(t, err) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kinds[fmt.Sprintf("%d %d %s", in.kind, out.status, out.view.Status)]++
	if out.status == http.StatusTooManyRequests {
		return true // says nothing about the request
	}
	if in.kind == opAsk && out.status == http.StatusCreated {
		r.known[in.key] = append(r.known[in.key], out.view.ID)
	}
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: in.call.UnixNano(), Return: out.done.UnixNano()})
	return true
}

// ask performs one operation of a requester or an approver.
func ask(t *testing.T, c caller, in requestInput, profile string, seconds int) (requestOutput, error) {
	method, path, body := http.MethodPost, "/v1/requests/"+in.id, ""
	switch in.kind {
	case opAsk:
		path, body = "/v1/requests", fmt.Sprintf(`{"profile":%q,"justification":%q,"duration_seconds":%d}`, profile, justification, seconds)
	case opApprove:
		path += "/approve"
	case opDeny:
		path, body = path+"/deny", `{"reason":"not now"}`
	case opCancel:
		path += "/cancel"
	case opUse:
		path, body = "/v1/credentials", fmt.Sprintf(`{"profile":%q}`, profile)
	case opLook:
		method = http.MethodGet
	}
	a, err := c.do(t.Context(), in.by, method, path, body)
	if err != nil {
		return requestOutput{}, err
	}
	out := requestOutput{status: a.status}
	switch a.status {
	case http.StatusOK, http.StatusCreated:
		if in.kind == opUse {
			err = json.Unmarshal(a.body, &out.keys)
		} else {
			err = json.Unmarshal(a.body, &out.view)
		}
	case http.StatusConflict:
		out.other = decode[struct {
			ID string `json:"access_request_id"`
		}](t, a).ID
	case http.StatusTooManyRequests, http.StatusNotFound:
	case http.StatusForbidden:
		if a.code() != "access_denied" {
			err = &refusedAnswer{a}
		}
	default:
		err = &refusedAnswer{a}
	}
	return out, err
}

// requestOutcomes are all that the model tells apart.
var requestOutcomes = []string{"0 201 pending", "0 409 ", "1 200 pending", "1 200 approved", "1 409 ", "2 200 denied", "2 409 ",
	"3 200 cancelled", "3 409 ", "4 200 ", "4 403 ", "4 409 ", "5 200 pending", "5 200 approved", "5 200 denied", "5 200 cancelled", "5 200 expired"}

// seen says whether every outcome of importance came up that often.
func (r *requestRecorder) seen(times int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(requestOutcomes, func(outcome string) bool { return r.kinds[outcome] < times })
}

func (r *requestRecorder) check(timeout time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(requestModel, r.history, timeout)
}

func sameStore(s breakglass.Store) breakglass.Store { return s }

func TestAccessRequestsAreLinearizable(t *testing.T) {
	r := newRequestRecorder(serveOver(t, sameStore, twoApprovals(t)))
	r.record(t, 8, time.Duration(rounds(4, 60))*time.Second, func() bool { return r.seen(5) })
	assert.Equal(t, porcupine.Ok, r.check(2*time.Minute), "%d operations", len(r.history))
	assert.True(t, r.seen(5), "the history exercises everything: %v", r.kinds)
	t.Logf("%d operations: %v", len(r.history), r.kinds)
}
