package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"breakglass/internal/breakglass"
)

const (
	// hookKey is the signing key of the webhooks of these tests.
	hookKey = "e2e-webhook-signing-key-32-bytes"
	// hookEnv is the environment variable that holds it.
	hookEnv = "E2E_HOOK_SECRET"
)

// hookSecret is the form in which the key is configured.
func hookSecret() string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(hookKey)) }

// received is a notification as it arrived.
type received struct {
	Schema int                 `json:"schema"`
	Entry  breakglass.LogEntry `json:"entry"`
	Event  *breakglass.View    `json:"event"`
}

// receiver is the target of a webhook. It takes what is rightly signed.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    map[int64]int // how often each entry was taken, by seq
	faults []string
	calls  int // attempts, whether taken or not
	// refuse answers instead of taking when it returns true.
	refuse http.HandlerFunc
}

// newReceiver listens on loopback. refuse, when not nil, answers each attempt
// instead of the receiver, until repaired.
func newReceiver(t testing.TB, refuse http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{got: map[int64]int{}, refuse: refuse}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// sink is the configuration of a webhook to this receiver, as a line of YAML.
func (r *receiver) sink(name string) string {
	return fmt.Sprintf("    - {name: %s, type: webhook, url: %q, secret_env: %s, allow_http: true, allow_private: [%q]}\n",
		name, r.URL, hookEnv, r.Listener.Addr().String())
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	r.calls++
	refuse := r.refuse
	r.mu.Unlock()
	if refuse != nil {
		refuse(w, req)
		return
	}
	if err != nil {
		return // the sender is gone
	}
	fault := signatureFault(req.Header, body)
	var n received
	if err := json.Unmarshal(body, &n); err != nil || n.Schema != 1 {
		fault = fmt.Sprintf("not a notification: %s", body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if fault != "" {
		r.faults = append(r.faults, fault)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.got[n.Entry.Seq]++
}

// signatureFault checks a signature as a receiver does that follows the
// Standard Webhooks specification.
func signatureFault(h http.Header, body []byte) string {
	m := hmac.New(sha256.New, []byte(hookKey))
	_, _ = fmt.Fprintf(m, "%s.%s.%s", h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body) // a hash takes everything
	if want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); h.Get("Webhook-Signature") != want {
		return fmt.Sprintf("signature %q, want %q", h.Get("Webhook-Signature"), want)
	}
	return ""
}

// repair makes the receiver take what comes.
func (r *receiver) repair() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = nil
}

// attempts is how often the receiver was called.
func (r *receiver) attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// missing returns which of the entries have not arrived, and how many arrived
// more than once.
func (r *receiver) missing(entries []breakglass.LogEntry) (missing []int64, repeated int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range entries {
		switch n := r.got[e.Seq]; {
		case n == 0:
			missing = append(missing, e.Seq)
		case n > 1:
			repeated += n - 1
		}
	}
	return missing, repeated
}

// problems is what was wrong with notifications that arrived.
func (r *receiver) problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.faults...)
}
