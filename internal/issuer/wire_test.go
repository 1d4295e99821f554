package issuer

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"breakglass/internal/testenv"

	"github.com/stretchr/testify/require"
)

// wire is a recording proxy in front of an AWS emulator: it keeps what really
// went over the wire, and can answer a request itself with a fault that the
// emulator doesn't know.
type wire struct {
	URL  string
	moto string

	mu    sync.Mutex
	calls []url.Values
	fault func(url.Values) (status int, body string, yes bool)
}

// newWire starts the proxy; moto is the endpoint of the emulator.
func newWire(t testing.TB, moto string) *wire {
	t.Helper()
	target, err := url.Parse(moto)
	require.NoError(t, err)
	w := &wire{moto: moto}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if status, body, yes := w.record(r); yes {
			rw.Header().Set("Content-Type", "text/xml")
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, body)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

func (w *wire) record(r *http.Request) (status int, body string, yes bool) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return http.StatusBadRequest, "", true
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	form, _ := url.ParseQuery(string(b))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, form)
	if w.fault == nil {
		return 0, "", false
	}
	return w.fault(form)
}

// take returns the calls of that action since the last take, and forgets all.
func (w *wire) take(action string) []url.Values {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []url.Values
	for _, c := range w.calls {
		if c.Get("Action") == action {
			found = append(found, c)
		}
	}
	w.calls = nil
	return found
}

func (w *wire) setFault(f func(url.Values) (int, string, bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
}

// stsError is an error as the AWS query protocol writes it.
func stsError(code, message string) string {
	return fmt.Sprintf(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>`+
		`<Code>%s</Code><Message>%s</Message></Error><RequestId>6e0d1a55-0000-4000-8000-000000000000</RequestId></ErrorResponse>`, code, message)
}

// emulator starts one AWS emulator behind a recording proxy.
func emulator(t *testing.T) *wire {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an AWS emulator")
	}
	return newWire(t, testenv.Moto(t))
}
