package awsiam_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/awsiam"
	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
	"breakglass/internal/store/sqlite"
	"breakglass/internal/testenv"
)

const (
	here      = "breakglass.example.com"
	home      = "123456789012"
	elsewhere = "999988887777"
	query     = "Action=GetCallerIdentity&Version=2011-06-15"
)

var config = awsiam.Config{
	ServerNames: []string{here, "127.0.0.1"},
	Regions:     []string{"us-east-1", "eu-west-1"},
	Rules: []awsiam.Rule{
		{Account: home, Role: "OnCall", Name: "oncall-machine", Groups: []string{"oncall"}},
		{Account: home, PermissionSet: "Engineer", NameFrom: awsiam.SessionName, NameSuffix: "@example.com", Groups: []string{"engineers"}},
		{Account: home, Role: "Chatbot", NameFrom: awsiam.SessionName, TrustSessionName: true},
		{Account: home, User: "alice", Name: "alice@example.com", Groups: []string{"oncall", "db"}},
	},
}

// world is a server with two replicas over one store and one key, and STS with
// checked signatures.
type world struct {
	t       *testing.T
	sts     *testenv.STS
	store   *sqlite.Store
	keys    *session.Keys
	clock   time.Duration // what the server's clock is off by
	login   *awsiam.Login
	replica *awsiam.Login
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an AWS emulator")
	}
	w := &world{t: t, sts: testenv.NewSTS(t), keys: keys(t, "0123456789abcdefghijklmnopqrstuvwxyz")}
	var err error
	w.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), sqlite.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.store.Close() })
	w.login, w.replica = w.server(config, w.keys), w.server(config, keys(t, "0123456789abcdefghijklmnopqrstuvwxyz"))
	return w
}

func keys(t testing.TB, texts ...string) *session.Keys {
	t.Helper()
	var sources []session.KeySource
	for _, text := range texts {
		sources = append(sources, session.KeySource{Env: text})
	}
	k, err := session.Load(sources, func(name string) (string, bool) { return name, true })
	require.NoError(t, err)
	return k
}

func (w *world) server(c awsiam.Config, k *session.Keys) *awsiam.Login {
	w.t.Helper()
	c.Endpoint = w.sts.URL
	require.Empty(w.t, c.Validate())
	l, err := awsiam.New(c, awsiam.Deps{Keys: k, Store: w.store, Now: w.now, Timeout: 5 * time.Second})
	require.NoError(w.t, err)
	w.t.Cleanup(l.Close)
	return l
}

func (w *world) now() time.Time { return time.Now().Add(w.clock) }

// signing is what a caller signs; a test changes what it wants to be wrong.
type signing struct {
	server, nonce   string
	region, service string
	host, method    string
	body            string
	at              time.Time
	header          http.Header // more signed headers
}

func (w *world) honest() signing {
	return signing{server: here, nonce: w.login.Challenge().Nonce, region: "us-east-1", service: "sts",
		host: "sts.us-east-1.amazonaws.com", method: http.MethodPost, body: query, at: time.Now()}
}

// sign is Signature Version 4 by AWS's own signer.
func sign(t testing.TB, k testenv.AWSKeys, s signing) awsiam.Proof {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), s.method, "https://"+s.host+"/", strings.NewReader(s.body))
	require.NoError(t, err)
	for name, values := range s.header {
		req.Header[name] = values
	}
	if s.server != "" {
		req.Header.Set("X-Breakglass-Server", s.server)
	}
	if s.nonce != "" {
		req.Header.Set("X-Breakglass-Nonce", s.nonce)
	}
	sum := sha256.Sum256([]byte(s.body))
	creds := aws.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken}
	require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), creds, req, hex.EncodeToString(sum[:]), s.service, s.region, s.at))
	return awsiam.Proof{Server: s.server, Nonce: s.nonce, Authorization: req.Header.Get("Authorization"),
		Date: req.Header.Get("X-Amz-Date"), SecurityToken: req.Header.Get("X-Amz-Security-Token")}
}

// refused wants a login to fail with that code, and a text.
func (w *world) refused(l *awsiam.Login, p awsiam.Proof, code breakglass.Code, text string) {
	w.t.Helper()
	s, err := l.Login(w.t.Context(), p)
	require.Error(w.t, err, "logged in as %s", s.Name)
	e := breakglass.AsError(err)
	require.Equal(w.t, code, e.Code, "%s %v", e.Message, e.Fields)
	said := e.Message
	for _, f := range e.Fields {
		said += " " + f.Field + " " + f.Message
	}
	require.Contains(w.t, said, text)
	require.Empty(w.t, s.Token)
}

// admitted wants a login to succeed.
func (w *world) admitted(l *awsiam.Login, p awsiam.Proof) awsiam.Session {
	w.t.Helper()
	s, err := l.Login(w.t.Context(), p)
	require.NoError(w.t, err)
	require.True(w.t, strings.HasPrefix(s.Token, session.Prefix))
	return s
}
