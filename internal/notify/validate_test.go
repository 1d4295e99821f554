package notify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"breakglass/internal/breakglass"
)

const topic = "arn:aws:sns:us-east-1:123456789012:secops"

func TestSinksThatAreFine(t *testing.T) {
	const text = `
sinks:
  - {name: secops, type: sns, topic_arn: "arn:aws:sns:us-east-1:123456789012:secops", events: [breakglass.invoked]}
  - {name: china, type: sns, topic_arn: "arn:aws-cn:sns:cn-north-1:123456789012:t", region: cn-north-1, endpoint: "http://emulator:5000", allow_http: true}
  - {name: siem, type: webhook, url: "https://siem.example.com/hook", secret_env: SIEM_HOOK_SECRET}
  - {name: inside, type: webhook, url: "https://10.1.2.3:8443/x?y=z", secret_file: /run/secrets/hook, allow_private: ["10.1.2.3:8443"]}
  - {name: plain, type: webhook, url: "http://hook.internal:8080/", secret_env: S, allow_http: true, allow_private: [hook.internal, 10.0.0.0/8, "[fd12::1]:80"]}
  - {name: journal, type: log, events: [breakglass.invoked, breakglass.denied], profiles: [prod]}
  - name: both
    type: multi
    sinks:
      - {name: both-log, type: log}
      - {name: both-hook, type: webhook, url: "https://example.com", secret_env: S}
  - {name: nothing, type: noop}
`
	var c Config
	require.NoError(t, yaml.Unmarshal([]byte(text), &c))
	require.Empty(t, c.Validate([]string{"prod"}))
	require.Empty(t, Config{}.Validate(nil))
}

func TestEveryProblemIsReportedWithItsPath(t *testing.T) {
	hook := func(url string) SinkConfig {
		return SinkConfig{Name: "a", Type: TypeWebhook, URL: url, SecretEnv: "S"}
	}
	sns := func(arn string) SinkConfig { return SinkConfig{Name: "a", Type: TypeSNS, TopicARN: arn} }
	for _, tc := range []struct {
		name string
		sink SinkConfig
		path string
		says string
	}{
		{"no name", SinkConfig{Type: TypeLog}, "name", "required"},
		{"bad name", SinkConfig{Name: "a b", Type: TypeLog}, "name", "letters"},
		{"no type", SinkConfig{Name: "a"}, "type", "required"},
		{"unknown type", SinkConfig{Name: "a", Type: "pager"}, "type", "unknown type"},
		{"unknown event", SinkConfig{Name: "a", Type: TypeLog, Events: []string{"breakglass.invoked", "breakglass.opened"}}, "events[1]", "unknown event type"},
		{"event twice", SinkConfig{Name: "a", Type: TypeLog, Events: []string{"breakglass.invoked", "breakglass.invoked"}}, "events[1]", "twice"},
		{"unknown profile", SinkConfig{Name: "a", Type: TypeLog, Profiles: []string{"prd"}}, "profiles[0]", "no profile"},
		{"foreign field", SinkConfig{Name: "a", Type: TypeLog, URL: "https://example.com"}, "url", "doesn't apply"},
		{"no topic", sns(""), "topic_arn", "required"},
		{"not an ARN", sns("secops"), "topic_arn", "ARN"},
		{"another service", sns("arn:aws:sqs:us-east-1:123456789012:q"), "topic_arn", "ARN"},
		{"a subscription", sns(topic + ":6b0e71bd"), "topic_arn", "ARN"},
		{"short account", sns("arn:aws:sns:us-east-1:12345678901:t"), "topic_arn", "12 digits"},
		{"FIFO", sns(topic + ".fifo"), "topic_arn", "FIFO"},
		{"odd topic name", sns("arn:aws:sns:us-east-1:123456789012:a.b"), "topic_arn", "topic name"},
		{"region with a slash", sns("arn:aws:sns:evil/:123456789012:t"), "topic_arn", "region"},
		{"another region", SinkConfig{Name: "a", Type: TypeSNS, TopicARN: topic, Region: "eu-west-1"}, "region", "us-east-1"},
		{"endpoint", SinkConfig{Name: "a", Type: TypeSNS, TopicARN: topic, Endpoint: "localhost:5000"}, "endpoint", "URL"},
		{"no url", hook(""), "url", "required"},
		{"http", hook("http://hook.example.com"), "url", "allow_http"},
		{"ftp", hook("ftp://hook.example.com"), "url", "https"},
		{"no scheme", hook("hook.example.com/x"), "url", "https"},
		{"no host", hook("https:///x"), "url", "host"},
		{"opaque", hook("https:hook.example.com"), "url", "https"},
		{"broken", hook("https://hook.example.com/%zz"), "url", "https"},
		{"fragment", hook("https://hook.example.com/#x"), "url", "fragment"},
		{"port", hook("https://hook.example.com:99999/"), "url", "port"},
		{"port 0", hook("https://hook.example.com:0/"), "url", "port"},
		{"loopback", hook("https://127.0.0.1/"), "url", "allow_private"},
		{"loopback 6", hook("https://[::1]/"), "url", "allow_private"},
		{"mapped", hook("https://[::ffff:10.0.0.1]/"), "url", "allow_private"},
		{"metadata", hook("https://169.254.169.254/latest"), "url", "link-local"},
		{"decimal", hook("https://2130706433/"), "url", "unusual"},
		{"octal", hook("https://0177.0.0.1/"), "url", "unusual"},
		{"hexadecimal", hook("https://0x7f000001/"), "url", "unusual"},
		{"short", hook("https://127.1/"), "url", "unusual"},
		{"unicode", hook("https://büro.example/"), "url", "punycode"},
		{"no secret", SinkConfig{Name: "a", Type: TypeWebhook, URL: "https://example.com"}, "secret_env", "required"},
		{"two secrets", SinkConfig{Name: "a", Type: TypeWebhook, URL: "https://example.com", SecretEnv: "S", SecretFile: "f"}, "secret_file", "together"},
		{"the secret itself", SinkConfig{Name: "a", Type: TypeWebhook, URL: "https://example.com", SecretEnv: secret('a')}, "secret_env", "not the secret"},
		{"allow", SinkConfig{Name: "a", Type: TypeWebhook, URL: "https://example.com", SecretEnv: "S", AllowPrivate: []string{"10.0.0.1", "*"}}, "allow_private[1]", "host"},
		{"empty multi", SinkConfig{Name: "a", Type: TypeMulti}, "sinks", "required"},
		{"multi in multi", SinkConfig{Name: "a", Type: TypeMulti, Sinks: []SinkConfig{{Name: "b", Type: TypeMulti}}}, "sinks[0].type", "member"},
		{"events of a member", SinkConfig{Name: "a", Type: TypeMulti, Sinks: []SinkConfig{{Name: "b", Type: TypeLog, Events: []string{"x"}}}}, "sinks[0].events", "multi"},
		{"same name inside", SinkConfig{Name: "a", Type: TypeMulti, Sinks: []SinkConfig{{Name: "a", Type: TypeLog}}}, "sinks[0].name", "already"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Config{Sinks: []SinkConfig{tc.sink}}.Validate([]string{"prod"})
			require.Len(t, got, 1, "%v", got)
			require.Equal(t, "sinks[0]."+tc.path, got[0].Path)
			require.Contains(t, got[0].Message, tc.says)
			require.NotContains(t, got[0].Message, "whsec_aaa")
		})
	}
}

func TestAllProblemsAtOnceAndNamesAreUnique(t *testing.T) {
	got := Config{Sinks: []SinkConfig{
		{Name: "a", Type: TypeLog}, {Name: "a", Type: TypeLog}, {Type: "x", Events: []string{"y"}}, {Name: "b", Type: TypeWebhook, URL: "http://127.0.0.1"},
	}}.Validate(nil)
	var paths []string
	for _, p := range got {
		paths = append(paths, p.Path)
	}
	require.Equal(t, []string{"sinks[1].name", "sinks[2].name", "sinks[2].events[0]", "sinks[2].type", "sinks[3].url", "sinks[3].url", "sinks[3].secret_env"}, paths)
}

func TestBuildReportsEveryMissingSecretAtOnce(t *testing.T) {
	log, _ := testLog()
	missing := filepath.Join(t.TempDir(), "none")
	_, err := Build(t.Context(), []SinkConfig{
		{Name: "a", Type: TypeWebhook, URL: "https://example.com", SecretEnv: "UNSET"},
		{Name: "b", Type: TypeWebhook, URL: "https://example.com", SecretFile: missing},
		{Name: "c", Type: TypeWebhook, URL: "https://example.com", SecretEnv: "WEAK"},
	}, Deps{Log: log, Now: time.Now, LookupEnv: func(n string) (string, bool) { return "hunter2", n == "WEAK" }})
	require.ErrorContains(t, err, "sinks[0].secret_env: the environment variable UNSET isn't set")
	require.ErrorContains(t, err, "sinks[1].secret_file: ")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "sinks[2].secret_env: secret 1 doesn't begin with whsec_")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestRouteNamesTheSinksThatWantTheEntry(t *testing.T) {
	log, _ := testLog()
	set, err := Build(context.Background(), []SinkConfig{
		{Name: "all", Type: TypeLog},
		{Name: "invoked", Type: TypeNoop, Events: []string{"breakglass.invoked", "breakglass.escalated"}},
		{Name: "prod", Type: TypeNoop, Profiles: []string{"prod"}},
		{Name: "prod-denied", Type: TypeNoop, Profiles: []string{"prod"}, Events: []string{"breakglass.denied"}},
	}, Deps{Log: log, Now: time.Now})
	require.NoError(t, err)
	require.Equal(t, []string{"all", "invoked", "prod", "prod-denied"}, set.Names())
	for _, tc := range []struct {
		typ     breakglass.EntryType
		profile string
		want    []string
	}{
		{breakglass.EntryInvoked, "prod", []string{"all", "invoked", "prod"}},
		{breakglass.EntryInvoked, "staging", []string{"all", "invoked"}},
		{breakglass.EntryDenied, "prod", []string{"all", "prod", "prod-denied"}},
		{breakglass.EntryDenied, "", []string{"all"}},
		{breakglass.EntryClosed, "PROD", []string{"all"}},
	} {
		require.Equal(t, tc.want, set.Route(tc.typ, tc.profile), fmt.Sprint(tc))
	}
	require.Empty(t, (*Set)(nil).Route(breakglass.EntryInvoked, "prod"))
	require.Empty(t, (*Set)(nil).Names())
}

func FuzzSinkURL(f *testing.F) {
	for _, s := range []string{"https://example.com", "http://[::1%25lo]:80/", "https://127.1:443?x#y", "https://u:p@h", "https://[64:ff9b::7f00:1]/"} {
		f.Add(s, "10.0.0.1:80")
	}
	f.Fuzz(func(t *testing.T, url, allow string) {
		c := SinkConfig{Name: "a", Type: TypeWebhook, URL: url, SecretEnv: "S", AllowPrivate: []string{allow}}
		if len((Config{Sinks: []SinkConfig{c}}).Validate(nil)) > 0 {
			return
		}
		if _, err := newWebhook(c, signingKeys{}, webhookOptions{now: time.Now}); err != nil {
			t.Fatalf("validated but not usable: %v", err)
		}
	})
}
