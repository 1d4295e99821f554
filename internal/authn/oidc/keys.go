package oidc

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How often an issuer is asked for its keys.
const (
	// refreshEvery is how often keys are confirmed while all is well. A key that
	// the issuer took back stops working here after that time.
	refreshEvery = 5 * time.Minute
	// retryEvery is how often an issuer is asked that doesn't answer, and at most
	// how often tokens with unknown keys make the server ask: anybody can send
	// those.
	retryEvery = 10 * time.Second
	// fetchTimeout bounds one fetch, discovery included.
	fetchTimeout = 10 * time.Second
	// keyPatience is how long a request waits for a fetch.
	keyPatience = 5 * time.Second
)

// Why no key could be found.
var (
	errNoKeys     = errors.New("the keys of the issuer were never fetched, or too long ago")
	errUnknownKey = errors.New("signed with a key that the issuer doesn't publish")
	errBadSign    = errors.New("the signature is wrong")
)

// keySet holds the keys of one issuer. It is safe for concurrent use.
type keySet struct {
	fetch func(ctx context.Context) ([]jose.JSONWebKey, error)
	algs  []jose.SignatureAlgorithm
	kept  time.Duration
	now   func() time.Time
	log   *slog.Logger

	mu       sync.Mutex
	keys     []jose.JSONWebKey
	fetched  time.Time     // when the issuer last confirmed keys
	asked    time.Time     // when it was last asked
	inFlight chan struct{} // closed when the fetch under way is over
	failing  bool
}

// VerifySignature implements go-oidc's KeySet.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, k.algs)
	if err != nil {
		return nil, err
	}
	head := jws.Signatures[0].Header
	candidates, err := k.candidates(ctx, head.KeyID, head.Algorithm)
	if err != nil {
		return nil, err
	}
	for i := range candidates {
		if payload, err := jws.Verify(&candidates[i]); err == nil {
			return payload, nil
		}
	}
	return nil, errBadSign
}

// candidates returns the keys that a token names. When there is none, the
// issuer may have changed its keys: it is asked once, unless it was just now.
func (k *keySet) candidates(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	found, usable := k.known(kid, alg)
	if len(found) == 0 {
		k.ask(ctx)
		found, usable = k.known(kid, alg)
	}
	switch {
	case !usable:
		return nil, errNoKeys
	case len(found) == 0:
		return nil, errUnknownKey
	}
	return found, nil
}

// known returns the kept keys that fit; usable is false when there are no keys
// at all, or none that the issuer confirmed recently enough.
func (k *keySet) known(kid, alg string) (found []jose.JSONWebKey, usable bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) == 0 || k.now().Sub(k.fetched) > k.kept {
		return nil, false
	}
	for _, key := range k.keys {
		if (kid == "" || key.KeyID == kid) && (key.Algorithm == "" || key.Algorithm == alg) {
			found = append(found, key)
		}
	}
	return found, true
}

// ask waits for a fetch: the one under way, or a new one if the last was long
// enough ago.
func (k *keySet) ask(ctx context.Context) {
	k.mu.Lock()
	if k.inFlight == nil {
		if age := k.now().Sub(k.asked); age >= 0 && age < retryEvery {
			k.mu.Unlock()
			return
		}
		k.begin()
	}
	done := k.inFlight
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, keyPatience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// begin starts a fetch. It outlives the request that caused it, because others
// wait for it too. The lock is held.
func (k *keySet) begin() {
	done := make(chan struct{})
	k.inFlight, k.asked = done, k.now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		keys, err := k.fetch(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		defer close(done)
		k.inFlight = nil
		k.note(keys, err)
	}()
}

// note takes over the outcome of a fetch. The lock is held.
func (k *keySet) note(keys []jose.JSONWebKey, err error) {
	if err != nil {
		if !k.failing {
			log := k.log
			if !k.fetched.IsZero() {
				log = log.With("fetched", k.fetched)
			}
			log.Warn("the keys of an issuer can't be fetched", "error", cut(err.Error()))
		}
		k.failing = true
		return
	}
	if k.failing || len(k.keys) == 0 {
		k.log.Info("the keys of an issuer are there", "keys", len(keys))
	}
	k.keys, k.fetched, k.failing = keys, k.now(), false
}

// cut shortens a text that another server may have written.
func cut(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// run keeps the keys fresh until ctx ends, so that an issuer that goes down
// leaves keys that were confirmed a moment ago, whoever used them when.
func (k *keySet) run(ctx context.Context) {
	for {
		k.mu.Lock()
		if k.inFlight == nil {
			k.begin()
		}
		done := k.inFlight
		k.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		wait := min(refreshEvery, k.kept/2)
		k.mu.Lock()
		if k.failing {
			wait = retryEvery
		}
		k.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
