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
		assert.Equal(t, breakglass.Via{Method: breakglass.MethodToken}, got.Via)
		got.Via = breakglass.Via{}
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

func TestRolesAreForAPersonInWhateverSpellingTheyAreConfigured(t *testing.T) {
	s, err := authn.New([]authn.Token{{Name: "Sam@Example.com", SHA256: hash("t"), Groups: []string{"e\u0301quipe"}}}, authn.Roles{
		breakglass.RoleAdmin: {Users: []string{"Sam@Example.com"}}, breakglass.RoleAuditor: {Groups: []string{"équipe"}}, breakglass.RoleReviewer: {Groups: []string{"Équipe"}}})
	require.NoError(t, err)
	p, err := s.Authenticate(request("Bearer t"))
	require.NoError(t, err)
	assert.Equal(t, "sam@example.com", p.Name)
	assert.Equal(t, []breakglass.Role{breakglass.RoleAuditor, breakglass.RoleAdmin}, p.Roles, "groups differ in case")
	_, ok := s.Lookup("SAM@example.com")
	assert.True(t, ok)
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
		{Name: "аlice", SHA256: hash("g")}, // its first letter is Cyrillic
		{Name: "frank", SHA256: hash("h"), Label: "a\tb", NotBefore: instant(t, "2026-02-01"), Expires: instant(t, "2026-02-01")},
		{Name: "grace", SHA256: hash("i"), AllowedFrom: []string{"10.0.0.1/8", "home", "::ffff:10.0.0.0/104"}},
		{Name: "heidi", SHA256: hash("j"), AllowedFrom: []string{}},
	}, authn.Roles{"superuser": {}, breakglass.RoleAuditor: {Users: []string{"BOB"}}, breakglass.RoleDelegate: {Users: []string{"*"}, Groups: []string{"", "*"}}})
	require.Error(t, err)
	for _, want := range []string{
		`auth.tokens[0].name: must not be empty`,
		`auth.tokens[1].name: must not begin with a colon`,
		`auth.tokens[2].sha256: must be the SHA-256 of the token as 64 hex characters`,
		`auth.tokens[3].name: "Alice" is another spelling of "alice"`,
		`auth.tokens[5].groups: differ from those of another token of "bob"`,
		`auth.tokens[6].groups[0]: must not begin or end with white space`,
		`auth.tokens[6].sha256: is the same token as auth.tokens[0]`,
		`auth.tokens[7].sha256: is the SHA-256 of nothing`,
		`auth.tokens[8].name: must not`,
		`auth.tokens[9].name: must not mix letters of several scripts`,
		`auth.tokens[10].label: must not contain control`,
		`auth.tokens[10].expires: must be later than not_before`,
		`auth.tokens[11].allowed_from[0]: "10.0.0.1/8" has bits beyond its mask: write 10.0.0.0/8`,
		`auth.tokens[11].allowed_from[1]: "home" must be a network`,
		`auth.tokens[11].allowed_from[2]: "::ffff:10.0.0.0/104" must be written as an IPv4 network`,
		`auth.tokens[12].allowed_from: must name a network`,
		`roles.superuser: there is no such role`,
		`roles.auditor.users[0]: "BOB" is another spelling of "bob"`,
		`roles.delegate.users[0]: must not be *`,
		`roles.delegate.groups[0]: must not be empty`,
		`roles.delegate.groups[1]: "*" has no meaning here`,
	} {
		assert.ErrorContains(t, err, want)
	}
}

func instant(t testing.TB, text string) (i authn.Instant) {
	t.Helper()
	require.NoError(t, i.UnmarshalText([]byte(text)))
	return i
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
