package testenv

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const page = 64 << 10 // bytes of each answer of proxied

// proxied is an HTTP server behind a fault proxy, with a client of its own.
type proxied struct {
	*FaultProxy
	client  *http.Client
	carried atomic.Int32 // requests that reached the server
}

func newProxied(t *testing.T) *proxied {
	p := &proxied{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.carried.Add(1)
		_, _ = io.WriteString(w, strings.Repeat("x", page))
	}))
	t.Cleanup(server.Close)
	p.FaultProxy = Proxy(t, server.URL)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p.client = &http.Client{Transport: transport}
	return p
}

// post returns how much of the answer arrived, and in what time. Go repeats no
// POST by itself once it has been written.
func (p *proxied) post(ctx context.Context) (n int, took time.Duration, err error) {
	begun := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL(), strings.NewReader("{}"))
	if err != nil {
		return 0, 0, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, time.Since(begun), err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return len(body), time.Since(begun), err
}

func (p *proxied) works(t *testing.T) {
	t.Helper()
	n, _, err := p.post(t.Context())
	require.NoError(t, err)
	require.Equal(t, page, n)
}

func TestEachFaultIsWhatItsNameSaysAndHeals(t *testing.T) {
	const carriedOut, notCarriedOut = 1, 0
	faults := []struct {
		name    string
		fault   func(*proxied)
		carried int32
		check   func(t *testing.T, n int, took time.Duration, err error)
	}{
		{"latency", func(p *proxied) { p.Latency(150 * time.Millisecond) }, carriedOut,
			func(t *testing.T, n int, took time.Duration, err error) {
				require.NoError(t, err)
				assert.Equal(t, page, n)
				assert.GreaterOrEqual(t, took, 150*time.Millisecond)
			}},
		{"slow", func(p *proxied) { p.Slow(200) }, carriedOut,
			func(t *testing.T, n int, took time.Duration, err error) {
				require.NoError(t, err)
				assert.Equal(t, page, n)
				assert.GreaterOrEqual(t, took, 150*time.Millisecond, "64 kB at 200 kB/s")
			}},
		{"cut in the answer", func(p *proxied) { p.Cut(1000) }, carriedOut,
			func(t *testing.T, n int, _ time.Duration, err error) {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.Less(t, n, 1000)
				assert.Positive(t, n)
			}},
		{"cut before the answer", func(p *proxied) { p.Cut(0) }, carriedOut,
			func(t *testing.T, _ int, _ time.Duration, err error) { require.ErrorIs(t, err, io.EOF) }},
		{"reset", (*proxied).reset, notCarriedOut,
			func(t *testing.T, _ int, _ time.Duration, err error) { require.ErrorIs(t, err, syscall.ECONNRESET) }},
		{"timeout", func(p *proxied) { p.Timeout() }, carriedOut,
			func(t *testing.T, _ int, _ time.Duration, err error) {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}},
		{"down", (*proxied).down, notCarriedOut,
			func(t *testing.T, _ int, _ time.Duration, err error) { require.ErrorIs(t, err, syscall.ECONNREFUSED) }},
	}
	for _, f := range faults {
		// On a connection that is open already, and on a new one.
		for _, state := range []string{"open", "new"} {
			t.Run(f.name+"/"+state+" connection", func(t *testing.T) {
				p := newProxied(t)
				if state == "open" {
					p.works(t)
				}
				before := p.carried.Load()
				f.fault(p)
				patience := 30 * time.Second
				if f.name == "timeout" {
					patience = time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				n, took, err := p.post(ctx)
				f.check(t, n, took, err)
				assert.Equal(t, f.carried, p.carried.Load()-before, "requests that reached the server")

				url := p.URL()
				p.Heal()
				p.client.CloseIdleConnections()
				p.works(t)
				assert.Equal(t, url, p.URL())
			})
		}
	}
}

// reset and down also drop the client's idle connection, which the proxy has
// closed: a request on it ends in an EOF when the client hasn't noticed yet.
func (p *proxied) reset() {
	p.Reset()
	p.client.CloseIdleConnections()
}

func (p *proxied) down() {
	p.Down()
	p.client.CloseIdleConnections()
}

func TestAFaultReplacesTheOneBefore(t *testing.T) {
	p := newProxied(t)
	p.Down()
	p.Cut(0)
	_, _, err := p.post(t.Context())
	require.ErrorIs(t, err, io.EOF)
	p.Latency(time.Millisecond)
	p.works(t)
}

func TestHealLetsARequestThatWaitsOutALatencyFinish(t *testing.T) {
	p := newProxied(t)
	p.works(t)
	p.Latency(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, _, err := p.post(ctx)
		done <- err
	}()
	require.Eventually(t, func() bool { return p.carried.Load() == 2 }, 10*time.Second, time.Millisecond)
	p.Heal()
	require.NoError(t, <-done)
}
