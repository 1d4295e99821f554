package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// loser stands before DynamoDB and loses answers: to a call that was carried
// out, and of a kind that a proxy of bytes can't choose.
type loser struct {
	*httptest.Server
	mu     sync.Mutex
	writes int              // TransactWriteItems that have arrived
	tokens map[string]int   // how often each ClientRequestToken has
	lose   func(n int) bool // whether to lose the answer to the nth; nil: none
	hang   bool             // rather than closing the connection
	forget bool             // DynamoDB gets a new token each time, as after ten minutes
	ended  chan struct{}
}

func newLoser(t testing.TB, upstream string) *loser {
	t.Helper()
	u, err := url.Parse(upstream)
	require.NoError(t, err)
	l := &loser{tokens: map[string]int{}, ended: make(chan struct{})}
	pass := httputil.NewSingleHostReverseProxy(u)
	pass.ErrorLog = log.New(io.Discard, "", 0)
	pass.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serve(pass, w, r) }))
	t.Cleanup(func() { close(l.ended); l.Close() })
	return l
}

func (l *loser) serve(pass http.Handler, w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems") {
		pass.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the server is gone
	}
	lost, hang := l.arrived(&body)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if !lost {
		pass.ServeHTTP(w, r)
		return
	}
	// DynamoDB carries it out whether or not its caller is still there.
	pass.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
	if hang {
		select {
		case <-r.Context().Done():
		case <-l.ended:
		}
	}
	panic(http.ErrAbortHandler)
}

// arrived counts a write and says what is to become of its answer.
func (l *loser) arrived(body *[]byte) (lost, hang bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	var in map[string]json.RawMessage
	if json.Unmarshal(*body, &in) == nil {
		l.tokens[string(in["ClientRequestToken"])]++
		if l.forget {
			delete(in, "ClientRequestToken")
			*body, _ = json.Marshal(in) // it was JSON before
		}
	}
	return l.lose != nil && l.lose(l.writes), l.hang
}

// loses changes what is lost from now on, counting anew.
func (l *loser) loses(lose func(n int) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes, l.tokens, l.lose = 0, map[string]int{}, lose
}

// change sets how answers are lost, and whether tokens are forgotten.
func (l *loser) change(hang, forget bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hang, l.forget = hang, forget
}

// repeated returns how many writes arrived, and under how many tokens.
func (l *loser) repeated() (writes, tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes, len(l.tokens)
}
