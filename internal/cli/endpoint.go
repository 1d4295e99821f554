package cli

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/show"
)

const credentialsPath = "/credentials"

// endpoint hands credentials to the AWS SDKs of a child process, as a container
// platform would (the "container credential provider" of the AWS SDKs and
// Tools Reference Guide). Other users of the machine can reach a loopback port
// too, and so can a web page through DNS rebinding: the token keeps out the
// first, the check of the Host header the second.
type endpoint struct {
	url   string
	token string

	server *http.Server
	host   string
	source *source

	kept bool // the cache works

	mu      sync.Mutex
	have    credcache.Entry
	failure error         // why there is nothing better than have
	busy    chan struct{} // closed when the renewal under way is done
}

// answerWithin is how long a caller waits for a renewal while the credentials
// at hand are still good. botocore gives up after 2 s.
const answerWithin = 1500 * time.Millisecond

// startEndpoint serves the credentials on a free loopback port until Close.
func startEndpoint(s *source, first credcache.Entry) (*endpoint, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: crypto/rand aborts the program instead
	e := &endpoint{
		host: l.Addr().String(), token: base64.RawURLEncoding.EncodeToString(secret), source: s, have: first,
	}
	_, e.kept = s.cache.Get(s.ref, s.now())
	e.url = "http://" + e.host + credentialsPath
	e.server = &http.Server{
		Handler: e, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	go func() { _ = e.server.Serve(l) }() // ends with Close
	return e, nil
}

// Close stops serving at once.
func (e *endpoint) Close() error { return e.server.Close() }

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.Host != e.host:
		e.refuse(w, http.StatusForbidden, "wrong_host", "This endpoint answers to its own address alone.")
	case subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(e.token)) != 1:
		e.refuse(w, http.StatusUnauthorized, "wrong_token", "The authorization token is missing or wrong.")
	case r.URL.Path != credentialsPath:
		e.refuse(w, http.StatusNotFound, "not_found", "There is nothing here.")
	case r.Method != http.MethodGet:
		e.refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "Only GET works here.")
	default:
		e.answer(w, r)
	}
}

func (e *endpoint) answer(w http.ResponseWriter, r *http.Request) {
	c, err := e.current(r.Context())
	if err != nil {
		code, message := "failed", err.Error()
		var refused *breakglass.Error
		if errors.As(err, &refused) {
			code, message = string(refused.Code), refused.Message
		}
		// SDKs print it as it is.
		e.refuse(w, http.StatusServiceUnavailable, show.Safe(code), "bgctl: "+show.Safe(message))
		return
	}
	writeJSON(w, http.StatusOK, struct {
		AccessKeyId     string //nolint:revive // the name is AWS's
		SecretAccessKey string
		Token           string
		Expiration      string
		RoleArn         string
	}{c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.Expiration.UTC().Format(time.RFC3339), c.RoleARN})
}

// current returns usable credentials. While the ones at hand are good, nobody
// waits long for newer ones.
func (e *endpoint) current(ctx context.Context) (credcache.Entry, error) {
	e.mu.Lock()
	now := e.source.now()
	kept := e.catchUp(now)
	have, good := e.have, e.have.Usable(now) && kept
	if good && !have.Stale(now) {
		e.mu.Unlock()
		return have, nil
	}
	if e.busy == nil {
		e.busy = make(chan struct{})
		go e.renew(e.busy)
	}
	busy := e.busy
	e.mu.Unlock()

	var enough <-chan time.Time
	if good {
		timer := time.NewTimer(answerWithin)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-busy:
	case <-enough:
		return have, nil
	case <-ctx.Done():
		return have, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.have.Usable(e.source.now()) {
		return e.have, nil
	}
	return credcache.Entry{}, e.failure
}

// catchUp reports whether the cache has these credentials too, and learns from
// it that their grant ends later. Closing the event in another terminal removes
// them there, and that must end their use here. Where nothing could be kept to
// begin with, it tells nothing. e.mu is held.
func (e *endpoint) catchUp(now time.Time) bool {
	if !e.kept {
		return true
	}
	c, ok := e.source.cache.Get(e.source.ref, now)
	if !ok || !c.SameGrant(e.have) {
		return false
	}
	e.have.GrantEnds = c.GrantEnds
	return true
}

// latest is what the endpoint has; nothing when that was taken from it.
func (e *endpoint) latest() credcache.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.source.now()
	if !e.catchUp(now) && e.have.Usable(now) {
		return credcache.Entry{}
	}
	return e.have
}

// move notes that the grant of the credentials at hand ends at another time.
func (e *endpoint) move(c credcache.Entry, ends time.Time) {
	_ = e.source.cache.Move(c.EventID, c.Profile, ends)
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.SameGrant(e.have) {
		e.have.GrantEnds = ends
	}
}

// renew runs apart from the request that asked for it: its result serves all.
func (e *endpoint) renew(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := e.source.get(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.have, e.failure = c, errors.New("the credentials are over")
	case canWait(err):
		e.failure = err
	default: // access is over, whatever the times say
		e.have, e.failure = credcache.Entry{}, err
	}
	e.busy = nil
	close(done)
}

func (e *endpoint) refuse(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]string{"code": code, "message": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
