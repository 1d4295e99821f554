package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
)

// A stranger's token can make its way into the cause of its refusal.
func TestTheCauseOfARefusalIsBoundedInTheLog(t *testing.T) {
	s := start(t, options{})
	s.auth.refuses.Store(errorBox{authn.Invalid(errors.New("claim \u202e\x1b[31m\n" + strings.Repeat("x", 5000)))})
	require.Equal(t, http.StatusUnauthorized, s.call(t, request{method: "GET", path: "/v1/whoami", as: alice}).status)
	var line struct{ Cause string }
	for text := range strings.Lines(s.log.String()) {
		if strings.Contains(text, "claim") {
			require.NoError(t, json.Unmarshal([]byte(text), &line))
		}
	}
	assert.Contains(t, line.Cause, `claim \u{202e}\u{1b}[31m\u{a}xxx`)
	assert.LessOrEqual(t, len(line.Cause), 300)
	assert.True(t, strings.HasSuffix(line.Cause, "x…"))
	s.auth.refuses.Store(errorBox{authn.Invalid(errors.New("the nonce was used before"))})
	require.Equal(t, http.StatusUnauthorized, s.call(t, request{method: "GET", path: "/v1/whoami", as: alice}).status)
	assert.Contains(t, s.log.String(), "invalid credentials: the nonce was used before\"")
}

// errorBox lets errors of any type share an atomic.Value.
type errorBox struct{ error }
