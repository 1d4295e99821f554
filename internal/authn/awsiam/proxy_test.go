package awsiam_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/awsiam"
	"breakglass/internal/breakglass"
	"breakglass/internal/store/sqlite"
	"breakglass/internal/testenv"
)

const proxyChild = "BREAKGLASS_TEST_PROXY"

// Whoever answers in place of STS says who callers are, so the environment must
// not name them. net/http reads its proxies once in a process: this test runs
// itself in another one.
func TestTheProxyOfTheEnvironmentIsNotAsked(t *testing.T) {
	if configured, child := os.LookupEnv(proxyChild); child {
		askThrough(t, configured)
		return
	}
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	run := func(env ...string) {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	run(proxyChild+"=", "HTTPS_PROXY="+proxy.URL, "https_proxy="+proxy.URL, "HTTP_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
	assert.Zero(t, asked.Load())
	run(proxyChild + "=" + proxy.URL)
	assert.EqualValues(t, 1, asked.Load(), "one that is configured is used")
}

func askThrough(t *testing.T, proxy string) {
	c := config
	c.Endpoint, c.Proxy = "https://sts.invalid", proxy // a name that never resolves (RFC 6761)
	require.Empty(t, c.Validate())
	k := keys(t, "0123456789abcdefghijklmnopqrstuvwxyz")
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), sqlite.Options{})
	require.NoError(t, err)
	defer func() { _ = store.Close() }()
	l, err := awsiam.New(c, awsiam.Deps{Keys: k, Store: store, Now: time.Now, Timeout: 3 * time.Second})
	require.NoError(t, err)
	defer l.Close()
	p := sign(t, testenv.AWSKeys{AccessKeyID: "AKIAEXAMPLEEXAMPLE00", SecretAccessKey: "x"}, signing{server: here, nonce: l.Challenge().Nonce,
		region: "us-east-1", service: "sts", host: "sts.us-east-1.amazonaws.com", method: http.MethodPost, body: query, at: time.Now()})
	_, err = l.Login(t.Context(), p)
	assert.Equal(t, breakglass.CodeUnavailable, breakglass.AsError(err).Code)
}
