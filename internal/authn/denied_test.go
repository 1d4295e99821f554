package authn_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

func TestWhoIsDeniedIsLetInByNoWay(t *testing.T) {
	s, err := authn.NewAt([]authn.Token{{Name: "Mallory@example.com", SHA256: hash("mallory")}, {Name: "alice", SHA256: hash("alice")}}, nil, time.Now, "MALLORY@example.com")
	require.NoError(t, err)
	who := &way{id: authn.Identity{Name: "mallory@Example.com", Via: breakglass.Via{Method: breakglass.MethodOIDC, Source: "i"}}}
	c := authn.NewChain(s, authn.Ways{JWT: who, Session: who})
	for _, token := range []string{"mallory", jwt, session} {
		p, err := c.Authenticate(request("Bearer " + token))
		require.ErrorIs(t, err, authn.ErrInvalidCredentials, token)
		assert.Zero(t, p)
		assert.Equal(t, authn.DeniedMessage, breakglass.AsError(err).Message)
	}
	p, err := s.Authenticate(request("Bearer mallory"))
	require.ErrorIs(t, err, authn.ErrInvalidCredentials)
	assert.Zero(t, p)
	_, ok := c.Lookup("mallory@example.com")
	assert.False(t, ok, "nor can a delegate act for them")
	_, err = c.Authenticate(request("Bearer alice"))
	assert.NoError(t, err)
	assert.Equal(t, []authn.Problem{{Path: "auth.denied[1]", Message: breakglass.CheckPersonName(" x")}}, authn.CheckDenied([]string{"a", " x"}))
}
