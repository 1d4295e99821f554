package authn_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func request(authorization ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/v1/whoami", nil)
	for _, v := range authorization {
		r.Header.Add("Authorization", v)
	}
	return r
}

func people(t testing.TB) *authn.Static {
	t.Helper()
	s, err := authn.New([]authn.Token{
		{Name: "alice@example.com", SHA256: hash("alice-token"), Groups: []string{"oncall", "db", "oncall"}},
		{Name: "alice@example.com", SHA256: strings.ToUpper(hash("alice-next")), Groups: []string{"db", "oncall"}},
		{Name: "sam@example.com", SHA256: hash("sam-token"), Groups: []string{"security"}},
		{Name: "bot", SHA256: hash("bot-token~+/=="), Groups: nil},
	}, authn.Roles{
		breakglass.RoleReviewer: {Groups: []string{"security"}},
		breakglass.RoleAuditor:  {Users: []string{"sam@example.com", "somebody-else"}},
		breakglass.RoleDelegate: {Users: []string{"bot"}},
	})
	require.NoError(t, err)
	return s
}

func TestATokenNamesItsOwner(t *testing.T) {
	s := people(t)
	for token, want := range map[string]breakglass.Principal{
		"alice-token":    {Name: "alice@example.com", Groups: []string{"db", "oncall"}, Roles: []breakglass.Role{}},
		"alice-next":     {Name: "alice@example.com", Groups: []string{"db", "oncall"}, Roles: []breakglass.Role{}},
		"sam-token":      {Name: "sam@example.com", Groups: []string{"security"}, Roles: []breakglass.Role{breakglass.RoleReviewer, breakglass.RoleAuditor}},
		"bot-token~+/==": {Name: "bot", Groups: []string{}, Roles: []breakglass.Role{breakglass.RoleDelegate}},
	} {
		got, err := s.Authenticate(request("Bearer " + token))
		require.NoError(t, err, token)
		assert.Equal(t, want, got)
		known, ok := s.Lookup(want.Name)
		assert.True(t, ok)
		assert.Equal(t, want, known)
	}
	_, ok := s.Lookup("nobody")
	assert.False(t, ok)
	_, err := s.Authenticate(request("bEARER sam-token"))
	assert.NoError(t, err, "the scheme's case doesn't matter (RFC 9110, section 11.1)")
}

func TestWhatIsNotExactlyOneKnownBearerTokenIsRefused(t *testing.T) {
	s := people(t)
	for name, tc := range map[string]struct {
		headers []string
		cause   error
	}{
		"no header":             {nil, authn.ErrNoCredentials},
		"empty header":          {[]string{""}, authn.ErrNoCredentials},
		"other scheme":          {[]string{"Basic YWxpY2U6YWxpY2U="}, authn.ErrNoCredentials},
		"scheme alone":          {[]string{"Bearer"}, authn.ErrNoCredentials},
		"token alone":           {[]string{"alice-token"}, authn.ErrNoCredentials},
		"empty token":           {[]string{"Bearer "}, authn.ErrInvalidCredentials},
		"two spaces":            {[]string{"Bearer  alice-token"}, authn.ErrInvalidCredentials},
		"tab":                   {[]string{"Bearer\talice-token"}, authn.ErrNoCredentials},
		"space behind":          {[]string{"Bearer alice-token "}, authn.ErrInvalidCredentials},
		"two headers":           {[]string{"Bearer alice-token", "Bearer alice-token"}, authn.ErrInvalidCredentials},
		"two tokens":            {[]string{"Bearer alice-token, Bearer sam-token"}, authn.ErrInvalidCredentials},
		"quoted":                {[]string{`Bearer "alice-token"`}, authn.ErrInvalidCredentials},
		"wrong token":           {[]string{"Bearer mallory"}, authn.ErrInvalidCredentials},
		"one character short":   {[]string{"Bearer alice-toke"}, authn.ErrInvalidCredentials},
		"one character long":    {[]string{"Bearer alice-tokenn"}, authn.ErrInvalidCredentials},
		"other case":            {[]string{"Bearer Alice-token"}, authn.ErrInvalidCredentials},
		"the hash itself":       {[]string{"Bearer " + hash("alice-token")}, authn.ErrInvalidCredentials},
		"padding only":          {[]string{"Bearer =="}, authn.ErrInvalidCredentials},
		"padding in the middle": {[]string{"Bearer alice=token"}, authn.ErrInvalidCredentials},
		"control character":     {[]string{"Bearer alice\x00token"}, authn.ErrInvalidCredentials},
		"not ASCII":             {[]string{"Bearer älice"}, authn.ErrInvalidCredentials},
		"4 KiB and one":         {[]string{"Bearer " + strings.Repeat("a", authn.MaxToken+1)}, authn.ErrInvalidCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := s.Authenticate(request(tc.headers...))
			require.ErrorIs(t, err, tc.cause)
			assert.Equal(t, breakglass.CodeUnauthenticated, breakglass.AsError(err).Code)
			assert.Zero(t, p)
			assert.NotContains(t, err.Error(), "alice", "no error repeats a token")
		})
	}
}

func TestTheChallengeSaysWhetherATokenWasGiven(t *testing.T) {
	s := people(t)
	_, none := s.Authenticate(request())
	_, wrong := s.Authenticate(request("Bearer mallory"))
	assert.Equal(t, `Bearer realm="breakglass"`, authn.Challenge(none))
	assert.Equal(t, `Bearer realm="breakglass", error="invalid_token"`, authn.Challenge(wrong))
}

func TestEveryFaultOfTheConfigurationIsReportedAtOnce(t *testing.T) {
	_, err := authn.New([]authn.Token{
		{Name: "", SHA256: hash("a")},
		{Name: ":system", SHA256: hash("b")},
		{Name: "alice", SHA256: "abc"},
		{Name: "Alice", SHA256: hash("c")},
		{Name: "bob", SHA256: hash("d"), Groups: []string{"one"}},
		{Name: "bob", SHA256: hash("e"), Groups: []string{"two"}},
		{Name: "carol", SHA256: hash("a"), Groups: []string{" x"}},
		{Name: "dave", SHA256: hash("")},
		{Name: "erin\n", SHA256: hash("f")},
	}, authn.Roles{"superuser": {}, breakglass.RoleDelegate: {Users: []string{"*"}, Groups: []string{""}}})
	require.Error(t, err)
	for _, want := range []string{
		`auth.tokens[0]: name "" must not be empty`,
		`auth.tokens[1]: name ":system": names that begin with a colon`,
		`auth.tokens[2]: sha256 must be 64 hex characters`,
		`auth.tokens[3]: name "Alice" differs from "alice" only in upper and lower case`,
		`auth.tokens[5]: groups of "bob" differ`,
		`auth.tokens[6]: group " x" must not begin or end with white space`,
		`auth.tokens[6]: sha256 is also that of auth.tokens[0]`,
		`auth.tokens[7]: sha256 is that of an empty token`,
		`auth.tokens[8]: name "erin\n" must not`,
		`roles: there is no role "superuser"`,
		`roles: delegate: "*" has no meaning here`,
		`roles: delegate "" must not be empty`,
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestAuthenticationAllocatesNothingOnItsWay(t *testing.T) {
	s := people(t)
	r := request("Bearer sam-token")
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Authenticate(r) }))
}

func FuzzAuthorization(f *testing.F) {
	f.Add("Bearer alice-token")
	f.Add("Bearer  alice-token")
	f.Add("Basic x")
	s := people(f)
	f.Fuzz(func(t *testing.T, value string) {
		p, err := s.Authenticate(request(value))
		if (err == nil) != (p.Name != "") {
			t.Fatalf("%q: %v %v", value, p, err)
		}
		known := map[string]bool{"alice-token": true, "alice-next": true, "sam-token": true, "bot-token~+/==": true}
		if scheme, token, _ := strings.Cut(value, " "); err == nil && (!strings.EqualFold(scheme, "bearer") || !known[token]) {
			t.Fatalf("%q is taken for %s", value, p.Name)
		}
	})
}
