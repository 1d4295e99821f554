package authn_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

// way is a way in whose answer the test decides; it keeps what it was shown.
type way struct {
	id    authn.Identity
	err   error
	shown []string
}

func (w *way) Verify(_ *http.Request, token string) (authn.Identity, error) {
	w.shown = append(w.shown, token)
	return w.id, w.err
}

const (
	jwt     = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
	session = authn.SessionPrefix + "4711"
)

func TestTheFormOfATokenDecidesWhichWayInSeesIt(t *testing.T) {
	oidc := &way{id: authn.Identity{Name: "Sam@Example.com", Groups: []string{"b", "security", "b", "\u202e"},
		Via: breakglass.Via{Method: breakglass.MethodOIDC, Source: "https://login.example.com"}}}
	aws := &way{id: authn.Identity{Name: "bob", Via: breakglass.Via{Method: breakglass.MethodAWS}}}
	c := authn.NewChain(people(t), authn.Ways{JWT: oidc, Session: aws})

	sam, err := c.Authenticate(request("Bearer " + jwt))
	require.NoError(t, err)
	assert.Equal(t, breakglass.Principal{Name: "sam@example.com", Groups: []string{"b", "security"},
		Roles: []breakglass.Role{breakglass.RoleReviewer, breakglass.RoleAuditor}, Via: oidc.id.Via}, sam)
	assert.Equal(t, "oidc:https://login.example.com", sam.Via.String())
	bob, err := c.Authenticate(request("Bearer " + session))
	require.NoError(t, err)
	assert.Equal(t, "bob", bob.Name)
	alice, err := c.Authenticate(request("Bearer alice-token"))
	require.NoError(t, err)
	assert.Equal(t, "alice@example.com", alice.Name)

	for _, wrong := range []string{"no-such-token", "a.b.c", "ey", "ey.ab", "eyJ.a.b.c", "eyJ.a+b.c", "xyJ.a.b", "bgs"} {
		_, err := c.Authenticate(request("Bearer " + wrong))
		require.ErrorIs(t, err, authn.ErrInvalidCredentials, wrong)
	}
	assert.Equal(t, []string{jwt}, oidc.shown, "no other token is shown to the identity provider's way in")
	assert.Equal(t, []string{session}, aws.shown)
}

func TestAWayInThatIsNotConfiguredAnswersLikeAWrongToken(t *testing.T) {
	c := authn.NewChain(people(t), authn.Ways{})
	_, wrong := c.Authenticate(request("Bearer mallory"))
	for _, token := range []string{jwt, session} {
		_, err := c.Authenticate(request("Bearer " + token))
		require.ErrorIs(t, err, authn.ErrInvalidCredentials)
		assert.Equal(t, breakglass.AsError(wrong).Code, breakglass.AsError(err).Code)
		assert.Equal(t, breakglass.AsError(wrong).Message, breakglass.AsError(err).Message)
		assert.Equal(t, authn.Challenge(wrong), authn.Challenge(err))
	}
}

func TestAWayInThatIsOutOfOrderIsNoConcernOfTheOthers(t *testing.T) {
	for name, cause := range map[string]error{
		"says so":               authn.Unavailable("The identity provider can't be reached.", 5*time.Second, errors.New("dial")),
		"fails in its own way":  errors.New("dial tcp: connection refused"),
		"says so in its wrapup": errors.Join(errors.New("x"), authn.Unavailable("y", 0, nil)),
	} {
		c := authn.NewChain(people(t), authn.Ways{JWT: &way{err: cause}})
		p, err := c.Authenticate(request("Bearer " + jwt))
		e := breakglass.AsError(err)
		assert.Equal(t, breakglass.CodeUnavailable, e.Code, name)
		assert.NotContains(t, e.Message, "store", name)
		assert.Zero(t, p)
		_, err = c.Authenticate(request("Bearer alice-token"))
		assert.NoError(t, err, name)
	}
}

func TestAWayInCanNotHang(t *testing.T) {
	c := authn.NewChain(people(t), authn.Ways{JWT: verifier(func(r *http.Request) error {
		deadline, ok := r.Context().Deadline()
		assert.True(t, ok)
		assert.Less(t, time.Until(deadline), 11*time.Second)
		return nil
	})})
	_, err := c.Authenticate(request("Bearer " + jwt))
	require.Error(t, err)
}

type verifier func(r *http.Request) error

func (v verifier) Verify(r *http.Request, _ string) (authn.Identity, error) {
	return authn.Identity{Name: "a\u0000"}, v(r)
}

// Whatever a way in says, the name is canonical or nobody is let in.
func TestNoWayInLetsABadNameIn(t *testing.T) {
	for _, name := range []string{"", " alice", "ali\u200bce", "ali\u0000ce", ":system", "*", "аlice", "pаypal@example.com", "\u2068alice", strings.Repeat("x", 257)} {
		c := authn.NewChain(people(t), authn.Ways{JWT: &way{id: authn.Identity{Name: name}}})
		p, err := c.Authenticate(request("Bearer " + jwt))
		require.ErrorIs(t, err, authn.ErrInvalidCredentials, "%q", name)
		assert.Zero(t, p)
	}
	for _, name := range []string{"ALICE@example.com", "Alice@EXAMPLE.com"} {
		c := authn.NewChain(people(t), authn.Ways{JWT: &way{id: authn.Identity{Name: name}}})
		p, err := c.Authenticate(request("Bearer " + jwt))
		require.NoError(t, err)
		assert.Equal(t, "alice@example.com", p.Name)
	}
}

func TestOnlyAJWTMayBeLong(t *testing.T) {
	oidc := &way{id: authn.Identity{Name: "sam"}}
	c := authn.NewChain(people(t), authn.Ways{JWT: oidc})
	fill := func(n int) string { return "eyJ." + strings.Repeat("a", n-len("eyJ..b")) + ".b" }
	_, err := c.Authenticate(request("Bearer " + fill(authn.MaxJWT)))
	require.NoError(t, err)
	_, err = c.Authenticate(request("Bearer " + fill(authn.MaxJWT+1)))
	require.ErrorIs(t, err, authn.ErrInvalidCredentials)
	_, err = c.Authenticate(request("Bearer " + session + strings.Repeat("a", authn.MaxToken)))
	require.ErrorIs(t, err, authn.ErrInvalidCredentials)
	assert.Len(t, oidc.shown, 1)
}

func TestStaticTokensAllocateNothingInTheChain(t *testing.T) {
	c := authn.NewChain(people(t), authn.Ways{JWT: &way{}, Session: &way{}})
	r := request("Bearer sam-token")
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = c.Authenticate(r) }))
}

// Whatever a token looks like, at most one way in sees it, and the right one.
func FuzzChain(f *testing.F) {
	for _, token := range []string{jwt, session, "alice-token", "ey.e.", "eyJ..", "a.b.c", "bgs_", "eyJ.a.b.c", "bgs_eyJ.a.b"} {
		f.Add(token)
	}
	static := people(f)
	f.Fuzz(func(t *testing.T, token string) {
		oidc, aws := &way{err: authn.Invalid(nil)}, &way{err: authn.Invalid(nil)}
		_, err := authn.NewChain(static, authn.Ways{JWT: oidc, Session: aws}).Authenticate(request("Bearer " + token))
		if len(oidc.shown)+len(aws.shown) > 1 {
			t.Fatalf("%q was shown to several ways in", token)
		}
		if len(oidc.shown) == 1 && strings.Count(token, ".") != 2 || len(aws.shown) == 1 && !strings.HasPrefix(token, authn.SessionPrefix) {
			t.Fatalf("%q was shown to a way in that it isn't meant for", token)
		}
		if err == nil != (len(oidc.shown)+len(aws.shown) == 0 && knownTokens[token]) {
			t.Fatalf("%q: %v", token, err)
		}
	})
}

var knownTokens = map[string]bool{"alice-token": true, "alice-next": true, "sam-token": true, "bot-token~+/==": true}

func TestALoginIsNotTakenForSomebodyWhoseNameFoldsToTheSame(t *testing.T) {
	oidc := &way{id: authn.Identity{Name: "anna@straße.example"}}
	c := authn.NewChain(people(t), authn.Ways{JWT: oidc})
	_, err := c.Authenticate(request("Bearer " + jwt))
	require.ErrorIs(t, err, authn.ErrInvalidCredentials)
	assert.Contains(t, breakglass.AsError(err).Message, "another spelling of")
	s, err := authn.New([]authn.Token{{Name: "anna@straße.example", SHA256: hash("anna")}}, nil)
	require.NoError(t, err, "the configuration may spell as it likes")
	p, err := s.Authenticate(request("Bearer anna"))
	require.NoError(t, err)
	assert.Equal(t, "anna@strasse.example", p.Name)
}
