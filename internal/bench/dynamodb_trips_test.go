package bench

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tripsOf is how often each operation is made while calls are counted.
const tripsOf = 10

// countTrips counts the calls to DynamoDB that each operation takes through the
// whole server.
func (e *emulator) countTrips(t *testing.T) []row {
	rec := newRecorder(t, e.endpoint)
	s := crowd(t, rec.at(e.table(t)), "")
	defer s.stop()
	c := dial(t, s.addr)
	ids := make([]string, tripsOf)
	for range 3 * tripsOf { // others were here before
		c.must(t, http.StatusCreated, nth(int64(rec.count("TransactWriteItems"))))
	}
	first := 3 * tripsOf
	of := func(i int) string { return user(first + i) }
	get := func(path string) []byte { return request(http.MethodGet, path, token(auditor), "") }
	post := func(i int, what, body string) []byte {
		return request(http.MethodPost, "/v1/breakglass/"+ids[i]+"/"+what, token(of(i)), body)
	}
	head := first + tripsOf // entries when polls begin; each invocation is one
	var rows []row
	for _, op := range []struct {
		what   string
		status int
		next   func(i int) []byte
	}{
		{"invoke", http.StatusCreated, func(i int) []byte { return nth(int64(first + i)) }},
		{"poll, nothing new", http.StatusOK, func(int) []byte { return get(fmt.Sprint("/v1/events?after=", head)) }},
		{"poll, a page of 20", http.StatusOK, func(i int) []byte { return get(fmt.Sprint("/v1/events?limit=20&after=", i)) }},
		{"check", http.StatusOK, func(i int) []byte { return get("/v1/breakglass/" + ids[i]) }},
		{"list, own", http.StatusOK, func(i int) []byte { return request(http.MethodGet, "/v1/breakglass", token(of(i)), "") }},
		{"list, everything", http.StatusOK, func(int) []byte { return get("/v1/breakglass") }},
		{"refused invocation", http.StatusConflict, func(i int) []byte { return nth(int64(first + i)) }},
		{"credentials", http.StatusOK, func(i int) []byte { return post(i, "credentials", "") }},
		{"credentials, by the chain", http.StatusOK, func(i int) []byte {
			return request(http.MethodPost, "/v1/credentials", token(of(i)), fmt.Sprintf(`{"profile":%q}`, profile(first+i)))
		}},
		{"close", http.StatusOK, func(i int) []byte { return post(i, "close", `{"reason":"the database is up again"}`) }},
	} {
		rec.reset()
		for i := range tripsOf {
			body := c.must(t, op.status, op.next(i))
			if op.what == "invoke" {
				ids[i] = eventID(body)
				require.NotEmpty(t, ids[i])
			}
		}
		rows = append(rows, row{what: "DynamoDB: calls for: " + op.what, measured: rec.each(tripsOf)})
	}
	return rows
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = map[string]int{}
}

func (r *recorder) count(operation string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[operation]
}

// each is what one of n calls took.
func (r *recorder) each(n int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	total := 0
	for _, operation := range slices.Sorted(maps.Keys(r.calls)) {
		total += r.calls[operation]
		parts = append(parts, fmt.Sprintf("%.4g %s", float64(r.calls[operation])/float64(n), operation))
	}
	return fmt.Sprintf("%.4g: %s", float64(total)/float64(n), strings.Join(parts, ", "))
}
