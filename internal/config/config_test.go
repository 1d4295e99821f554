package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/yamlfile"
)

const good = `listen: 127.0.0.1:8080
auth:
  tokens:
    - {name: alice@example.com, sha256: "5b0f6a8f3bd9d1d2c9e2f7c4a1b3e5d7f9a1c3e5b7d9f1a3c5e7b9d1f3a5c7e9", groups: [oncall]}
roles:
  reviewer: {users: [sam@example.com], groups: [security]}
profiles:
  prod: {role_arn: "arn:aws:iam::123456789012:role/BreakGlass", region: us-east-1}
policy_file: policy.yaml
`

func parse(text string) (Config, error) { return Parse("/etc/breakglass/config.yaml", []byte(text)) }

func TestAGoodFileIsTakenWithDefaultsAndPathsBesideIt(t *testing.T) {
	c, err := parse(good)
	require.NoError(t, err)
	assert.Equal(t, "aws", c.STS.Issuer)
	assert.Equal(t, "/etc/breakglass/breakglass.db", c.Store.SQLite.Path)
	assert.Equal(t, "/etc/breakglass/policy.yaml", c.PolicyFile)
	assert.Empty(t, c.RateLimitFile)
	assert.Empty(t, c.AccessFile)
	assert.Empty(t, c.ApprovalsFile)
	assert.Equal(t, []string{"sam@example.com"}, c.RoleMembers()["reviewer"].Users)
}

func TestFilesOfRulesLieBesideTheConfiguration(t *testing.T) {
	c, err := parse(good + "access_file: access.yaml\napprovals_file: /srv/approvals.yaml\nrate_limit_file: rules/ratelimit.yaml\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"/etc/breakglass/access.yaml", "/srv/approvals.yaml", "/etc/breakglass/rules/ratelimit.yaml"},
		[]string{c.AccessFile, c.ApprovalsFile, c.RateLimitFile})
}

func TestATableNeedsNoFile(t *testing.T) {
	_, err := parse("store: {driver: dynamodb, dynamodb: {table: breakglass, region: us-east-1}}\n" + good)
	require.NoError(t, err)
}

func TestProblemsNameTheirLine(t *testing.T) {
	cases := map[string]struct{ from, to, want string }{
		"unknown field":           {"policy_file:", "polcy_file: x\npolicy_file:", `:9: unknown field "polcy_file"; did you mean "policy_file"?`},
		"unknown nested field":    {"region: us-east-1", "region: us-east-1, regoin: x", `:8: profiles.prod: unknown field "regoin"`},
		"repeated field":          {"policy_file: policy.yaml", "policy_file: a\npolicy_file: b", `:10: "policy_file" is there twice, first on line 9`},
		"wrong type":              {"groups: [oncall]", "groups: oncall", ":4: auth.tokens[0].groups: must be a list"},
		"no value":                {"policy.yaml", "", ":9: policy_file: has no value"},
		"no policy":               {"policy_file: policy.yaml\n", "", "policy_file: is required"},
		"network without TLS":     {"127.0.0.1:8080", "0.0.0.0:8080", `:1: listen: "0.0.0.0:8080" is not a loopback address`},
		"every address":           {"127.0.0.1:8080", "':8080'", `:1: listen: ":8080" is not a loopback address`},
		"a name for loopback":     {"127.0.0.1:8080", "example.com:8080", "is not a loopback address"},
		"no port":                 {"127.0.0.1:8080", "127.0.0.1", ":1: listen: \"127.0.0.1\" must have the form host:port"},
		"half of TLS":             {"listen:", "tls: {cert_file: a}\nlisten:", ":1: tls: needs cert_file and key_file together"},
		"dev off loopback":        {"listen: 127.0.0.1:8080", "listen: 0.0.0.0:80\ninsecure_http: true\nsts: {issuer: dev}", ":3: sts.issuer: dev makes credentials that open nothing"},
		"unknown issuer":          {"listen:", "sts: {issuer: vault}\nlisten:", `:1: sts.issuer: "vault" is unknown`},
		"STS without TLS":         {"listen:", "sts: {endpoint: \"http://10.1.2.3:4566\"}\nlisten:", ":1: sts.endpoint: has no TLS"},
		"STS with a path":         {"listen:", "sts: {endpoint: \"https://sts.example.com/aws\"}\nlisten:", ":1: sts.endpoint: must have no path, query or user"},
		"DynamoDB with a query":   {"listen:", "store: {driver: dynamodb, dynamodb: {table: breakglass, region: us-east-1, endpoint: \"https://example.com?x=y\"}}\nlisten:", ":1: store.dynamodb.endpoint: must have no path, query or user"},
		"unknown driver":          {"listen:", "store: {driver: postgres}\nlisten:", `:1: store.driver: "postgres" is unknown`},
		"a file for a table":      {"listen:", "store:\n  driver: dynamodb\n  dynamodb: {table: breakglass, region: us-east-1}\n  sqlite: {path: x.db}\nlisten:", ":4: store.sqlite: has no use with driver dynamodb"},
		"a table for a file":      {"listen:", "store: {dynamodb: {table: breakglass, region: us-east-1}}\nlisten:", ":1: store.dynamodb: has no use with driver sqlite"},
		"token instead of hash":   {`sha256: "5b0f`, `sha256: "my-secret-token`, ":4: auth.tokens[0].sha256: must be the SHA-256"},
		"no tokens":               {"  tokens:\n    - {name: alice@example.com, sha256: \"5b0f6a8f3bd9d1d2c9e2f7c4a1b3e5d7f9a1c3e5b7d9f1a3c5e7b9d1f3a5c7e9\", groups: [oncall]}\n", "  tokens: []\n", "auth.tokens: needs at least one token"},
		"OIDC alone":              {good[strings.Index(good, "  tokens:"):strings.Index(good, "roles:")], "  oidc:\n    - {issuer: \"https://login.example.com\", audiences: [breakglass], username_claim: email}\n", ":4: auth.oidc: needs another way in beside it"},
		"control in a name":       {"alice@example.com", `"ali\u001bce"`, ":4: auth.tokens[0].name: must not contain control or invisible characters"},
		"nobody to deny":          {"roles:", "  denied: [\"ali\\u001bce\"]\nroles:", ":5: auth.denied[0]: must not contain control"},
		"an issuer by http":       {"roles:", "  oidc:\n    - {issuer: \"http://login.example.com\", audiences: [breakglass], username_claim: email}\nroles:", ":6: auth.oidc[0].issuer: must begin with https://"},
		"an HMAC algorithm":       {"roles:", "  oidc:\n    - issuer: https://login.example.com\n      audiences: [breakglass]\n      username_claim: email\n      algorithms: [ES256, HS256]\nroles:", `:9: auth.oidc[0].algorithms[1]: "HS256" is not accepted`},
		"a misspelt claim":        {"roles:", "  oidc:\n    - {issuer: \"https://login.example.com\", audiences: [breakglass], user_claim: email}\nroles:", `:6: auth.oidc[0]: unknown field "user_claim"`},
		"no audience":             {"roles:", "  oidc:\n    - {issuer: \"https://login.example.com\", username_claim: email}\nroles:", ":6: auth.oidc[0].audiences: is required"},
		"a login without client":  {"roles:", "  oidc:\n    - {issuer: \"https://login.example.com\", audiences: [breakglass], username_claim: email, login: {token: cookie}}\nroles:", ":6: auth.oidc[0].login.token: must be id_token or access_token"},
		"a wildcard for a role":   {"roles:", "  aws:\n    server_names: [breakglass.example.com]\n    regions: [us-east-1]\n    rules:\n      - {account: \"123456789012\", role: \"On*\", name: oncall}\nroles:", `:9: auth.aws.rules[0].role: "On*" must be the exact name`},
		"a misspelt rule":         {"roles:", "  aws: {server_names: [a], regions: [us-east-1], rules: [{account: \"123456789012\", rolle: OnCall, name: oncall}]}\nroles:", `:5: auth.aws.rules[0]: unknown field "rolle"; did you mean "role"?`},
		"a key instead of a name": {"roles:", "  session_keys: [{env: \"my-secret-token+/=\"}]\nroles:", ":5: auth.session_keys[0].env: must be the name of an environment variable"},
		"no enrolment said":       {"roles:", "  mfa: {keys: [{env: K}]}\nroles:", ":5: auth.mfa.enrolment: must be admin"},
		"no key for factors":      {"roles:", "  mfa: {enrolment: open}\nroles:", ":5: auth.mfa.keys: needs at least one key"},
		"admin without admins":    {"roles:", "  mfa: {enrolment: admin, keys: [{env: K}]}\nroles:", ":5: auth.mfa.enrolment: admin needs somebody with the role admin"},
		"bad ARN":                 {"arn:aws:iam::123456789012:role/BreakGlass", "arn:aws:iam::123:role/x", ":8: profiles.prod.role_arn"},
		"bad Region":              {"us-east-1", "mars", ":8: profiles.prod.region"},
		"five hours":              {"us-east-1}", "us-east-1, max_duration: 5h}", ":8: profiles.prod.max_duration: must be whole seconds, at most 4h"},
		"a bare number":           {"us-east-1}", "us-east-1, max_duration: 3600}", ":8: profiles.prod.max_duration: must be a duration with its unit"},
		"13 hours of session":     {"us-east-1}", "us-east-1, max_session: 13h}", ":8: profiles.prod.max_session"},
		"negative limit":          {"policy_file:", "limits: {connections: -1}\npolicy_file:", ":9: limits.connections: must not be negative"},
		"client CA for nothing":   {"listen:", "tls: {cert_file: a, key_file: b, client_ca_file: c}\nlisten:", ":1: tls.client_ca_file: is for tls.client_auth"},
		"no client CA":            {"listen:", "tls: {cert_file: a, key_file: b, client_auth: require}\nlisten:", ":1: tls.client_auth: require needs client_ca_file"},
		"clients without TLS":     {"listen:", "tls: {client_ca_file: c, client_auth: verify}\nlisten:", ":1: tls.client_auth: needs cert_file"},
		"other client auth":       {"listen:", "tls: {cert_file: a, key_file: b, client_auth: maybe}\nlisten:", `:1: tls.client_auth: "maybe" is unknown`},
		"a limit beyond reason":   {"policy_file:", "limits: {requests_per_caller: 1000001}\npolicy_file:", ":9: limits.requests_per_caller: must be requests a second"},
		"negative budget":         {"policy_file:", "limits: {emergency_calls_per_caller: -1}\npolicy_file:", ":9: limits.emergency_calls_per_caller: must be calls a second"},
		"everybody a proxy":       {"policy_file:", "trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]\npolicy_file:", ":9: trusted_proxies[1]: \"0.0.0.0/0\" is every address"},
		"bad sink":                {"policy_file:", "notify:\n  sinks:\n    - {name: x, type: pigeon}\npolicy_file:", ":11: notify.sinks[0].type"},
		"bad level":               {"policy_file:", "log: {level: loud}\npolicy_file:", ":9: log.level"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			require.NotEqual(t, good, text)
			_, err := parse(text)
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "my-secret-token")
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	_, err := parse("listen: nowhere\nfoo: 1\nstore: {driver: x}\nlog: {level: y, format: z}\n")
	require.Error(t, err)
	for _, want := range []string{":1: listen", ":2: unknown field", ":3: store.driver", ":4: log.level", ":4: log.format", "auth.tokens", "profiles", "policy_file"} {
		assert.ErrorContains(t, err, want)
	}
}

func TestTokensOfOnePersonAgreeOnGroupsAndAreNotRepeated(t *testing.T) {
	line := `    - {name: alice@example.com, sha256: "5b0f6a8f3bd9d1d2c9e2f7c4a1b3e5d7f9a1c3e5b7d9f1a3c5e7b9d1f3a5c7e9", groups: [oncall]}`
	_, err := parse(strings.Replace(good, line, line+"\n"+line, 1))
	require.ErrorContains(t, err, ":5: auth.tokens[1].sha256: is the same token as auth.tokens[0]")
	other := strings.Replace(strings.Replace(line, "5b0f", "5b0e", 1), "oncall", "admins", 1)
	_, err = parse(strings.Replace(good, line, line+"\n"+other, 1))
	require.ErrorContains(t, err, ":5: auth.tokens[1].groups: differ")
}

func TestLoginsWithAWSIdentitiesAreAWayIn(t *testing.T) {
	tokens := regexp.MustCompile(`  tokens:\n.*\n`).FindString(good)
	c, err := parse(strings.Replace(good, tokens, "  session_keys: [{file: session.key}]\n  aws: {server_names: [a], regions: [us-east-1], rules: [{account: \"123456789012\", user: alice, name: alice}]}\n", 1))
	require.NoError(t, err, "without static tokens too")
	assert.Equal(t, "/etc/breakglass/session.key", c.Auth.SessionKeys[0].File)
	assert.Equal(t, "alice", c.Auth.AWS.Rules[0].Name)
}

func TestTheExamplesAreAccepted(t *testing.T) {
	for _, path := range []string{"../../examples/config.yaml", "../../deploy/compose/config.yaml"} {
		_, err := Load(filepath.FromSlash(path))
		require.NoError(t, err)
	}
}

// The example is for the systemd unit, under which nothing but the state
// directory can be written to.
func TestTheExampleWritesWhereTheUnitLetsIt(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/systemd/breakglassd.service")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^StateDirectory=(.*)$`).FindSubmatch(unit)
	require.Len(t, found, 2)
	state := "/var/lib/" + string(found[1])
	c, err := Load("../../examples/config.yaml")
	require.NoError(t, err)
	assert.Equal(t, state, filepath.Dir(c.Store.SQLite.Path))
	assert.Equal(t, state, filepath.Dir(c.Audit.File))

	text, err := os.ReadFile("../../examples/config.yaml")
	require.NoError(t, err)
	key := regexp.MustCompile(`key_file: /run/credentials/breakglassd\.service/(\S+)`).FindSubmatch(text)
	require.Len(t, key, 2)
	assert.Regexp(t, `(?m)^LoadCredential=-?`+regexp.QuoteMeta(string(key[1]))+`:`, string(unit))
}

// The lines about TLS are a comment: they have to be right all the same.
func TestTheCommentsOfTheExampleAreConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../examples/config.yaml")
	require.NoError(t, err)
	commented := regexp.MustCompile(`(?m)^# ((?:tls|admin_listen|trusted_proxies):.*|  cert_file:.*|  key_file:.*|  # .*)$`)
	require.Len(t, commented.FindAllString(string(text), -1), 6)
	c, err := Parse("/etc/breakglass/config.yaml", commented.ReplaceAll(text, []byte("$1")))
	require.NoError(t, err)
	assert.Equal(t, "/etc/breakglass/tls.crt", c.TLS.CertFile)
	assert.Equal(t, "/run/credentials/breakglassd.service/tls.key", c.TLS.KeyFile)
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	for _, path := range []string{"../../examples/config.yaml", "../../deploy/compose/config.yaml"} {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err != nil {
			requireLines(t, err)
			return
		}
		if !Loopback(c.Listen) && !c.TLS.Enabled() && !c.InsecureHTTP {
			t.Fatal("accepted plain HTTP off loopback")
		}
		if c.PolicyFile == "" || len(c.Auth.Tokens) == 0 && c.Auth.AWS == nil {
			t.Fatal("accepted without a policy or tokens")
		}
	})
}

// problemLine is how a problem of the file that parse reads begins.
var problemLine = regexp.MustCompile(`^/etc/breakglass/config\.yaml:[1-9][0-9]*: .`)

// requireLines checks that a refusal says of each problem where it is, on one
// line that a terminal can show.
func requireLines(t *testing.T, err error) {
	t.Helper()
	for _, line := range strings.Split(err.Error(), "\n") {
		require.Regexp(t, problemLine, line)
		require.Equal(t, -1, strings.IndexFunc(line, unicode.IsControl), "%q", line)
	}
	var problems yamlfile.Problems
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems, 1+strings.Count(err.Error(), "\n"), "one to a line")
}

func TestAFileThatIsNoYAMLHasOneProblem(t *testing.T) {
	for _, text := range []string{"", "listen: [", "\tlisten: x", "a: 1\n---\nb: 2\n"} {
		_, err := parse(text)
		require.Error(t, err)
		requireLines(t, err)
		assert.NotContains(t, err.Error(), "\n", text)
	}
}
