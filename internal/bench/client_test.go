package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// conn is a keep-alive connection of one caller. It shares the machine with
// what it measures, so it does no more than HTTP/1.1 asks for: requests are
// written as they are, of the answer only status and body are looked at.
type conn struct {
	c    net.Conn
	r    *bufio.Reader
	body []byte // reused
}

func dial(t testing.TB, addr string) *conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &conn{c: c, r: bufio.NewReader(c)}
}

// request is a request as it goes over the wire.
func request(method, path, token, body string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: breakglass\r\nAuthorization: Bearer %s\r\n", method, path, token)
	if method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append(b.Bytes(), "\r\n"+body...)
}

// do sends a request and reads its answer. The body is valid until the next call.
func (c *conn) do(request []byte) (status int, body []byte, err error) {
	if err := c.c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, nil, err
	}
	if _, err := c.c.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("not a status line: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, fmt.Errorf("not a status line: %q", line)
	}
	length, err := c.header()
	if err != nil {
		return 0, nil, err
	}
	return status, c.body, c.read(length)
}

// chunked stands for a body whose length isn't told beforehand.
const chunked = -1

// header reads to the end of the header and returns the length of the body.
func (c *conn) header() (length int, err error) {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			return length, nil
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch { // net/http writes them so, others in small letters
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = chunked
		}
	}
}

func (c *conn) read(length int) (err error) {
	if length != chunked {
		if cap(c.body) < length {
			c.body = make([]byte, length)
		}
		c.body = c.body[:length]
		_, err = io.ReadFull(c.r, c.body)
		return err
	}
	if c.body, err = io.ReadAll(httputil.NewChunkedReader(c.r)); err != nil {
		return err
	}
	_, err = c.r.Discard(len("\r\n")) // there are no trailers
	return err
}

// must is do for an answer that has to have that status.
func (c *conn) must(t testing.TB, status int, request []byte) []byte {
	t.Helper()
	got, body, err := c.do(request)
	require.NoError(t, err)
	require.Equal(t, status, got, "%s", body)
	return append([]byte(nil), body...)
}

// round is what callers got done in some time.
type round struct {
	elapsed time.Duration
	cpu     time.Duration   // of this process, which is caller and server
	took    []time.Duration // of each call
}

func (r round) rate() float64 { return float64(len(r.took)) / r.elapsed.Seconds() }

// cpuEach tells programs apart even while others take the processor away.
func (r round) cpuEach() float64 { return r.cpu.Seconds() / float64(len(r.took)) }

// cpuTime is what this process has used so far.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load lets so many callers call without a pause, each over a connection of its
// own, for some time. next gives the request of the n-th call of all, or nil when
// there is no more; every answer has to have that status.
func load(t testing.TB, addr string, callers int, d time.Duration, status int, next func(n int64) []byte) round {
	t.Helper()
	conns := make([]*conn, callers)
	for i := range conns {
		conns[i] = dial(t, addr)
		defer func() { _ = conns[i].c.Close() }() // it has served
	}
	var calls atomic.Int64
	var wg sync.WaitGroup
	took := make([][]time.Duration, callers)
	errs := make([]error, callers)
	start, used := time.Now(), cpuTime(t)
	end := start.Add(d)
	for i, c := range conns {
		wg.Go(func() { took[i], errs[i] = c.callUntil(end, status, func() []byte { return next(calls.Add(1) - 1) }) })
	}
	wg.Wait()
	r := round{elapsed: time.Since(start), cpu: cpuTime(t) - used}
	for i, own := range took {
		require.NoError(t, errs[i])
		r.took = append(r.took, own...)
	}
	return r
}

func (c *conn) callUntil(end time.Time, status int, next func() []byte) (took []time.Duration, err error) {
	for begun := time.Now(); begun.Before(end); {
		req := next()
		if req == nil {
			return took, nil
		}
		got, body, err := c.do(req)
		if err != nil {
			return took, err
		}
		if got != status {
			return took, fmt.Errorf("%d %s", got, body)
		}
		now := time.Now()
		took = append(took, now.Sub(begun))
		begun = now
	}
	return took, nil
}

func TestTheClientReadsWhatNetHTTPWrites(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/long":
			_, _ = w.Write([]byte(long))
		default:
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Authorization"), sent)
		}
	}))
	defer srv.Close()
	c := dial(t, srv.Listener.Addr().String())
	for range 2 {
		assert.Equal(t, "POST Bearer secret {}", string(c.must(t, http.StatusCreated, request(http.MethodPost, "/", "secret", "{}"))))
		assert.Equal(t, long, string(c.must(t, http.StatusOK, request(http.MethodGet, "/long", "secret", ""))))
		assert.Empty(t, c.must(t, http.StatusNoContent, request(http.MethodGet, "/empty", "secret", "")))
	}
}
