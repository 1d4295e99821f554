package signin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// callback is the path that the provider sends the browser back to.
const callback = "/callback"

// Code logs in with a browser on this machine. visit is given the address that
// the person has to open.
func (p *Provider) Code(ctx context.Context, visit func(address string)) (Tokens, error) {
	authorization, err := p.endpoint("authorization_endpoint", p.meta.Authorization)
	if err != nil {
		return Tokens{}, err
	}
	// Providers that say nothing about PKCE may well have it (RFC 8414); those
	// that list other methods alone have not.
	if len(p.meta.Challenges) > 0 && !slices.Contains(p.meta.Challenges, "S256") {
		return Tokens{}, p.failed(0, "it can't do PKCE with S256")
	}
	ctx, cancel := context.WithTimeout(ctx, MaxWait)
	defer cancel()
	// The address and not the name: localhost may resolve to something else
	// (RFC 8252, section 8.3).
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Tokens{}, fmt.Errorf("listen for the browser: %w", err)
	}
	w := &waiting{host: listener.Addr().String(), issuer: p.cfg.Issuer, issRequired: p.meta.IssInAnswer, state: random(), answer: make(chan answer, 1)}
	server := &http.Server{Handler: w, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		IdleTimeout: 5 * time.Second, MaxHeaderBytes: 32 << 10}
	go func() { _ = server.Serve(listener) }()
	defer func() {
		// The browser should get to show its page.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}()
	verifier, nonce := random(), random()
	challenge := sha256.Sum256([]byte(verifier))
	redirect := "http://" + w.host + callback
	visit(withQuery(authorization, p.offline(url.Values{
		"response_type": {"code"}, "client_id": {p.cfg.ClientID}, "redirect_uri": {redirect}, "scope": {p.scope()}, "state": {w.state}, "nonce": {nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	})))
	select {
	case <-ctx.Done():
		return Tokens{}, gaveUp(ctx)
	case a := <-w.answer:
		if a.err != nil {
			return Tokens{}, a.err
		}
		got, err := p.grant(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {a.code}, "redirect_uri": {redirect}, "code_verifier": {verifier}})
		if err != nil {
			return Tokens{}, err
		}
		return p.tokens(got, nonce)
	}
}

func gaveUp(ctx context.Context) error {
	if cause := ctx.Err(); cause == context.Canceled { //nolint:errorlint // the context's own value
		return cause
	}
	return &Error{Message: fmt.Sprintf("nobody logged in within %s", MaxWait)}
}

func withQuery(address string, more url.Values) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // checked by endpoint
	}
	q := u.Query()
	for k, v := range more {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// waiting is the listener that the browser comes back to. It takes one answer,
// and only the one with the state of this login: anything on the machine, and
// any page in the browser, can send it requests.
type waiting struct {
	host, issuer, state string
	issRequired         bool
	answer              chan answer
}

type answer struct {
	code string
	err  error
}

func (w *waiting) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	// A page elsewhere whose name resolves to loopback has another Host.
	if r.Host != w.host || r.URL.Path != callback {
		page(rw, http.StatusNotFound, "Nothing is here.", "")
		return
	}
	if r.Method != http.MethodGet {
		rw.Header().Set("Allow", http.MethodGet)
		page(rw, http.StatusMethodNotAllowed, "That is not how a login ends.", "")
		return
	}
	q := r.URL.Query()
	if subtle.ConstantTimeCompare([]byte(only(q, "state")), []byte(w.state)) != 1 {
		page(rw, http.StatusBadRequest, "This is not the login that bgctl waits for.", "Start again with bgctl login.")
		return
	}
	a := w.read(q)
	select {
	case w.answer <- a:
	default:
		page(rw, http.StatusGone, "This login is over.", "Start again with bgctl login.")
		return
	}
	if a.err != nil {
		page(rw, http.StatusOK, "The login came to nothing.", a.err.Error())
		return
	}
	page(rw, http.StatusOK, "bgctl has what it needs.", "You can close this window and go back to the terminal.")
}

func (w *waiting) read(q url.Values) answer {
	// RFC 9207: with a second provider in play, its answer must not be taken for
	// this one's.
	if iss := only(q, "iss"); iss != w.issuer && (w.issRequired || q.Has("iss")) {
		return answer{err: &Error{Message: "the answer in the browser is from another identity provider"}}
	}
	if q.Has("error") {
		e := &Error{Code: only(q, "error"), Message: "the identity provider refused: " + only(q, "error")}
		if d := only(q, "error_description"); d != "" {
			e.Message += " (" + d + ")"
		}
		return answer{err: e}
	}
	code := only(q, "code")
	if code == "" {
		return answer{err: &Error{Message: "the answer in the browser holds no code"}}
	}
	return answer{code: code}
}

// only is the value of a parameter that is there once.
func only(q url.Values, name string) string {
	if len(q[name]) != 1 {
		return ""
	}
	return q[name][0]
}
