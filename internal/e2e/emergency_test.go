package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/authn/awsiam"
	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/notify"
	"breakglass/internal/testenv"
)

// wayIn is how somebody gets in while everything around the server is down.
type wayIn struct {
	name string
	// configure adds the way in to the server; it may use what is about to break.
	configure func(t *testing.T, world *outage, c *config.Config)
	// login gives bgctl what it needs. It is called when everything is down.
	login func(t *testing.T, world *outage, c *ctl)
	// principal is who gets in, via what the trail says about how.
	principal, via string
}

// waysIn work without the company's identity provider, its DNS and SNS.
func waysIn() []wayIn {
	return []wayIn{sealedToken(), awsIdentity()}
}

// sealedToken was printed when the server was set up, and kept in a sealed
// envelope since.
func sealedToken() wayIn {
	return wayIn{
		name:      "a sealed token",
		configure: func(*testing.T, *outage, *config.Config) {},
		login:     func(_ *testing.T, _ *outage, c *ctl) { c.as = user(0) },
		principal: user(0), via: "token",
	}
}

// awsIdentity is that of an IAM user: no identity provider stands behind it.
func awsIdentity() wayIn {
	var keys testenv.AWSKeys
	return wayIn{
		name: "an AWS identity",
		configure: func(t *testing.T, _ *outage, c *config.Config) {
			sts := testenv.NewSTS(t) // an AWS that checks signatures
			keys = sts.User("/", "alice")
			key := filepath.Join(t.TempDir(), "session.key")
			require.NoError(t, os.WriteFile(key, []byte("a-key-of-this-test-0123456789-abcdefghijkl\n"), 0o600))
			c.Auth.SessionKeys = []session.KeySource{{File: key}}
			c.Auth.AWS = &awsiam.Config{ServerNames: []string{"127.0.0.1"}, Regions: []string{"us-east-1"}, Endpoint: sts.URL,
				Rules: []awsiam.Rule{{Account: "123456789012", User: "alice", Name: "alice@example.com"}}}
		},
		login: func(t *testing.T, _ *outage, c *ctl) {
			c.env = []string{"AWS_ACCESS_KEY_ID=" + keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + keys.SecretAccessKey, "AWS_EC2_METADATA_DISABLED=true"}
			code, _, errs := c.run(t, "login", "--aws")
			require.Zero(t, code, "%s", errs)
			c.env = c.env[2:] // the session is enough, over a restart, too
		},
		principal: "alice@example.com", via: "aws:arn:aws:iam::123456789012:user/alice",
	}
}

// outage is a world whose name service, and with it the identity provider, and
// SNS can be down. STS stays: without it nobody gets credentials of AWS, from
// anywhere.
type outage struct {
	aws   string // endpoint of AWS that stays up
	sns   *testenv.FaultProxy
	dns   atomic.Bool // answers
	hook  *receiver
	oidc  *companyLogin
	later atomic.Int64 // by how much the server's clock is ahead
}

const hookHost = "hooks.example.test"

func newOutage(t *testing.T) *outage {
	t.Helper()
	w := &outage{aws: testenv.Moto(t), hook: newReceiver(t, nil), oidc: newCompanyLogin(t)}
	w.sns = testenv.Proxy(t, w.aws)
	w.dns.Store(true)
	w.takeOverDNS(t)
	return w
}

func (w *outage) begin() { w.dns.Store(false); w.sns.Down() }

// end is a minute later for the server: by then it asks an issuer again that
// didn't answer.
func (w *outage) end() {
	w.dns.Store(true)
	w.sns.Heal()
	w.later.Store(int64(time.Minute))
}

// clock gives the server the time of this world.
func (w *outage) clock(o *app.Options) {
	o.Now = func() time.Time { return time.Now().Add(time.Duration(w.later.Load())) }
}

// takeOverDNS makes a name server of this test that of the process.
func (w *outage) takeOverDNS(t *testing.T) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return // closed
			}
			_, _ = server.WriteTo(loopbackAnswer(query[:n]), from)
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if !w.dns.Load() {
			return nil, errors.New("the name server is down")
		}
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = server.Close()
	})
}

// loopbackAnswer says that every name has the address 127.0.0.1 (RFC 1035,
// section 4).
func loopbackAnswer(query []byte) []byte {
	question := query[12:]
	for i, b := range question { // a name ends with 0; type and class follow
		if b == 0 {
			question = question[:i+5]
			break
		}
	}
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	if binary.BigEndian.Uint16(question[len(question)-4:]) != 1 { // only addresses of IPv4
		return answer
	}
	answer[7] = 1
	return append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
}

// topic makes an SNS topic and a queue that gets what is published there.
func (w *outage) topic(t *testing.T) (arn string, published func() []breakglass.LogEntry) {
	t.Helper()
	keys := credentials.NewStaticCredentialsProvider("testing", "testing", "")
	topics := sns.New(sns.Options{Region: "us-east-1", BaseEndpoint: &w.aws, Credentials: keys})
	queues := sqs.New(sqs.Options{Region: "us-east-1", BaseEndpoint: &w.aws, Credentials: keys})
	topic, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("secops")})
	require.NoError(t, err)
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("secops")})
	require.NoError(t, err)
	_, err = topics.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"),
		Endpoint: aws.String("arn:aws:sqs:us-east-1:123456789012:secops"), Attributes: map[string]string{"RawMessageDelivery": "true"}})
	require.NoError(t, err)
	var all []breakglass.LogEntry
	return *topic.TopicArn, func() []breakglass.LogEntry {
		out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
		require.NoError(t, err)
		for _, m := range out.Messages {
			var n received
			require.NoError(t, json.Unmarshal([]byte(*m.Body), &n), *m.Body)
			all = append(all, n.Entry)
		}
		return all
	}
}

// configure is a server with an issuer and alarms by SNS and by a webhook;
// issuer and webhook have names.
func (w *outage) configure(t *testing.T, arn string) config.Config {
	t.Helper()
	for _, set := range awsEnv() {
		name, value, _ := strings.Cut(set, "=")
		t.Setenv(name, value)
	}
	hook, err := url.Parse(w.hook.URL)
	require.NoError(t, err)
	named := net.JoinHostPort(hookHost, hook.Port())
	c := newConfig(t, t.TempDir(), openPolicy, "")
	w.oidc.configure(&c)
	c.STS = config.STS{Issuer: "aws", Region: "us-east-1", Endpoint: w.aws}
	c.Notify.Sinks = []notify.SinkConfig{
		{Name: "secops", Type: notify.TypeSNS, TopicARN: arn, Endpoint: w.sns.URL()},
		{Name: "siem", Type: notify.TypeWebhook, URL: "http://" + named, SecretEnv: hookEnv, AllowHTTP: true, AllowPrivate: []string{named}},
	}
	return c
}

func TestInAnEmergencyOfEverythingElseAnEngineerGetsCredentialsAndNothingIsLost(t *testing.T) {
	for _, way := range waysIn() {
		t.Run(way.name, func(t *testing.T) {
			w := newOutage(t)
			arn, published := w.topic(t)
			c := w.configure(t, arn)
			way.configure(t, w, &c)
			w.dns.Store(false) // goes first, so that the server never sees the issuer
			s := start(t, c, impatient, w.clock)
			c.Listen = strings.TrimPrefix(s.http.base, "http://") // also when it starts again

			w.begin()
			w.oidc.isDown(t, s.http)
			began := time.Now()
			engineer := newCtl(t, s.http, "nobody")
			way.login(t, w, &engineer)
			code, out, errs := engineer.run(t, "invoke", "prod", "--reason", "incident", "--justification", justification, "-o", "json")
			require.Zero(t, code, "%s", errs)
			ev := decode[breakglass.View](t, answer{body: []byte(out)})
			assert.Equal(t, way.principal, ev.Invoker)
			code, out, errs = engineer.run(t, "credentials", "prod")
			require.Zero(t, code, "%s", errs)
			assert.Contains(t, out, "SessionToken")
			assert.Less(t, time.Since(began), patience/3, "the way in doesn't wait for the issuer")

			// The server died of it, too, and somebody started it again.
			require.Eventually(t, func() bool {
				return s.http.metric(t, `breakglass_notification_attempts_total{result="failed",sink="secops"}`) > 0 &&
					s.http.metric(t, `breakglass_notification_attempts_total{result="failed",sink="siem"}`) > 0
			}, patience, patience/1000)
			assert.Equal(t, 200, s.http.must(t, 200, "nobody", http.MethodGet, "/readyz", "").status)
			s.stop(t)
			s = start(t, c, impatient, w.clock)
			w.oidc.isDown(t, s.http)
			code, _, errs = engineer.run(t, "close", ev.ID, "--reason", "Failover done")
			require.Zero(t, code, "%s", errs)

			entries := s.http.feed(t, "0")
			var types []breakglass.EntryType
			for _, e := range entries {
				types = append(types, e.Event)
				assert.Equal(t, way.via, e.Detail[breakglass.DetailAuthenticatedBy])
			}
			assert.Equal(t, []breakglass.EntryType{breakglass.EntryInvoked, breakglass.EntryCredentialsIssued, breakglass.EntryClosed}, types, "everything is on record")
			assert.InDelta(t, len(entries), s.http.waiting(t, "secops"), 0, "nothing was given up")
			assert.InDelta(t, len(entries), s.http.waiting(t, "siem"), 0)
			assert.Empty(t, published())

			w.end()
			w.hook.getsEverything(t, s.http)
			var told []breakglass.LogEntry
			require.Eventually(t, func() bool { told = published(); return len(told) >= len(entries) }, patience, patience/1000)
			assert.ElementsMatch(t, entries, told, "SNS had every entry")
			w.oidc.isBack(t, s.http)
			reviewer := newCtl(t, s.http, "sam")
			code, out, errs = reviewer.run(t, "verify")
			assert.Zero(t, code, "%s%s", out, errs)
		})
	}
}
