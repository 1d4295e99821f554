//go:build unix

package cli_test

import (
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requested is a pending request of alice.
func requested(t *testing.T, d *devServer, profile string) (id string) {
	t.Helper()
	got := bgctl(t, t.TempDir(), loggedIn(d, "alice"), "request", profile, "--justification", justification, "-o", "json")
	require.Zero(t, got.code, got.stderr)
	return idIn(got.stdout)
}

func idIn(output string) string {
	return regexp.MustCompile(`(?:"request_id": "|Request )([0-9a-f]{16})`).FindStringSubmatch(output)[1]
}

func TestAPersonIsAskedForTheirRequestAndWaitsForTheApprovals(t *testing.T) {
	t.Parallel()
	d := chainServer(t)
	p := atTerminal(t, bgctlCommand(t, t.TempDir(), append(loggedIn(d, "alice"), "NO_COLOR=1"), "request", "--wait"), 120)
	p.sees(`Which profile\? > `)
	p.types("prod\n")
	p.sees(`What do you need it for\?.*approvers read it`)
	p.types("Migrating\n")
	p.sees(`11 more > `)
	p.types("the orders database\n")
	p.sees(`waits until .*\s+bgctl approve [0-9a-f]{16}`)
	id := idIn(p.screen())
	require.Zero(t, bgctl(t, t.TempDir(), loggedIn(d, "sam"), "approve", id).code)
	p.sees(`Approvals: 1 of 2: sam`)
	require.Zero(t, bgctl(t, t.TempDir(), loggedIn(d, "lee"), "approve", id).code)
	assert.Zero(t, p.leaves())
	assert.Regexp(t, `Status +approved`, p.screen())
	assert.Contains(t, p.screen(), "bgctl exec prod -- COMMAND")
	assert.Contains(t, bgctl(t, t.TempDir(), loggedIn(d, "alice"), "requests", id).stdout, "Migrating the orders database")
}

func TestWhoeverStopsWaitingIsToldHowToCancel(t *testing.T) {
	t.Parallel()
	d := chainServer(t)
	p := atTerminal(t, bgctlCommand(t, t.TempDir(), append(loggedIn(d, "alice"), "NO_COLOR=1"), "request", "prod", "--justification", justification, "--wait"), 120)
	p.sees(`waits until`)
	id := idIn(p.screen())
	p.types("\x03")
	assert.Equal(t, 130, p.leaves())
	assert.Contains(t, p.screen(), "Request "+id+" stays pending")
	assert.Contains(t, p.screen(), "bgctl cancel "+id)
	assert.Contains(t, bgctl(t, t.TempDir(), loggedIn(d, "alice"), "requests", id).stdout, "pending")
}

func TestWaitingEndsWithTheDecision(t *testing.T) {
	t.Parallel()
	d := chainServer(t)
	for _, c := range []struct {
		who  string
		args []string
		code int
		says string
	}{
		{"sam", []string{"deny", "--reason", "Next week"}, 3, "was denied by sam"},
		{"alice", []string{"cancel", "--reason", "Not needed"}, 3, "was cancelled by alice"},
		{"sam", []string{"approve"}, 0, "has access until"},
	} {
		home := t.TempDir()
		p := atTerminal(t, bgctlCommand(t, home, append(loggedIn(d, "alice"), "NO_COLOR=1"), "request", "staging", "--justification", justification, "--wait"), 120)
		p.sees(`waits until`)
		got := bgctl(t, home, loggedIn(d, c.who), append(c.args, idIn(p.screen()))...)
		require.Zero(t, got.code, got.stderr)
		assert.Equal(t, c.code, p.leaves(), c.args)
		assert.Contains(t, p.screen(), c.says)
	}
}

// A server that the real one never is: one that is away for some of the looks,
// and one whose request ends while somebody waits.
func TestWaitingOutlastsAnOutageAndEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]struct {
		code int
		says string
	}{"approved": {0, "alice has access until"}, "expired": {1, "Nobody decided on request 0123456789abcdef in time"}} {
		var looks atomic.Int32
		env := fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
			state := "pending"
			if r.Method == http.MethodGet {
				switch n := looks.Add(1); {
				case n <= 5: // more than the client repeats by itself
					panic(http.ErrAbortHandler)
				case n > 6:
					state = status
				}
			}
			respond(w, 200, "application/json", fmt.Sprintf(`{"request_id":"0123456789abcdef","requester":"alice","profile":"prod","status":%q,
				"expires_at":%q,"approvals":[],"approvals_required":1}`, state, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
		})
		got := bgctl(t, t.TempDir(), env, "request", "prod", "--justification", justification, "--wait")
		assert.Equal(t, want.code, got.code, got.stderr)
		assert.Contains(t, got.stderr, want.says)
		assert.Contains(t, got.stderr, "trying again until it works")
		assert.Contains(t, got.stdout, status)
	}
}

func TestAnApproverSeesTheRequestBeforeTheyDecide(t *testing.T) {
	t.Parallel()
	d := chainServer(t)
	id := requested(t, d, "staging")
	decide := func(answer string, args ...string) string {
		p := atTerminal(t, bgctlCommand(t, t.TempDir(), append(loggedIn(d, "sam"), "NO_COLOR=1"), args...), 120)
		p.sees(`\[y/N\] `)
		for _, pattern := range []string{`Requester +alice`, `Profile +staging`, `Justification +` + justification, `Duration +1h, from its approval on`} {
			assert.Regexp(t, pattern, p.screen())
		}
		p.types(answer + "\n")
		if args[0] == "deny" && answer == "y" {
			p.sees(`Why not\? > `)
			p.types("The migration is next week\n")
		}
		if answer == "y" {
			assert.Zero(t, p.leaves(), p.screen())
		} else {
			assert.Equal(t, 2, p.leaves())
			assert.Contains(t, p.screen(), "nothing was changed")
		}
		return bgctl(t, t.TempDir(), loggedIn(d, "sam"), "requests", id).stdout
	}
	assert.Regexp(t, `Status +pending`, decide("n", "approve", id))
	assert.Regexp(t, `Status +pending`, decide("", "deny", id))
	assert.Regexp(t, `Status +approved`, decide("y", "approve", id))
	assert.Regexp(t, `Because +The migration is next week`, decide("y", "deny", id), "an approval can be withdrawn")

	id = requested(t, d, "staging")
	p := atTerminal(t, bgctlCommand(t, t.TempDir(), loggedIn(d, "sam"), "approve", id, "--yes"), 120)
	assert.Zero(t, p.leaves())
	assert.NotContains(t, p.screen(), "[y/N]")
}
