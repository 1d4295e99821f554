package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"breakglass/internal/authn"
)

// Deps are what a Provider works with.
type Deps struct {
	Now func() time.Time
	Log *slog.Logger
}

var _ authn.Verifier = (*Provider)(nil)

// Provider is the way in by tokens of OpenID Connect issuers. It is safe for
// concurrent use.
type Provider struct {
	issuers map[string]*issuer
	deps    Deps
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// issuer is one configured issuer at work.
type issuer struct {
	cfg    Config
	keys   *keySet
	verify *gooidc.Config
}

// New starts to fetch the keys of every issuer and returns without waiting for
// them: an issuer that is down keeps nothing else from working. The fetching
// goes on until ctx ends or Close is called. Errors are faults of the
// configuration.
func New(ctx context.Context, list []Config, deps Deps) (*Provider, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	var errs []error
	for _, p := range Validate(list) {
		errs = append(errs, fmt.Errorf("auth.oidc%s: %s", p.Path, p.Message))
	}
	p := &Provider{issuers: map[string]*issuer{}, deps: deps}
	for _, c := range list {
		client, err := newClient(c.CAFile)
		if err != nil {
			continue // CheckFiles says so
		}
		p.issuers[c.Issuer] = newIssuer(c, client, deps)
	}
	if err := errors.Join(append(errs, CheckFiles(list))...); err != nil {
		return nil, err
	}
	ctx, p.stop = context.WithCancel(ctx)
	for _, is := range p.issuers {
		p.work.Go(func() { is.keys.run(ctx) })
	}
	return p, nil
}

func newIssuer(c Config, client *http.Client, deps Deps) *issuer {
	f := &fetcher{issuer: c.Issuer, client: client}
	keys := &keySet{fetch: f.keys, kept: c.kept(), now: deps.Now, log: deps.Log.With("issuer", c.Issuer)}
	for _, alg := range c.algorithms() {
		keys.algs = append(keys.algs, jose.SignatureAlgorithm(alg))
	}
	return &issuer{cfg: c, keys: keys, verify: &gooidc.Config{
		SupportedSigningAlgs: c.algorithms(),
		// Checked here, with several audiences and the configured skew.
		SkipClientIDCheck: true, SkipExpiryCheck: true, Now: deps.Now,
	}}
}

// Close ends the fetching of keys.
func (p *Provider) Close() error {
	p.stop()
	p.work.Wait()
	return nil
}

// Verify implements authn.Verifier.
func (p *Provider) Verify(r *http.Request, token string) (authn.Identity, error) {
	name, err := open(token)
	if err != nil {
		return authn.Identity{}, authn.Invalid(err)
	}
	is, ok := p.issuers[name]
	if !ok {
		return authn.Identity{}, authn.Invalid(errors.New("the issuer is none of those configured"))
	}
	id, err := is.identify(r.Context(), token, p.deps.Now())
	var refused *refusal
	switch {
	case errors.Is(err, errNoKeys):
		return authn.Identity{}, authn.Unavailable("Tokens of this issuer can't be checked at the moment: its keys can't be fetched. Other ways to log in work.", retryEvery, err)
	case errors.As(err, &refused):
		return authn.Identity{}, authn.InvalidBecause(refused.message, err)
	case err != nil:
		return authn.Identity{}, authn.Invalid(err)
	}
	return id, nil
}

// identify checks everything about a token of this issuer.
func (is *issuer) identify(ctx context.Context, token string, now time.Time) (authn.Identity, error) {
	keys := &remembering{keys: is.keys}
	verified, err := gooidc.NewVerifier(is.cfg.Issuer, keys, is.verify).Verify(ctx, token)
	if err != nil {
		return authn.Identity{}, errors.Join(keys.err, err)
	}
	var payload rawPayload
	if err := verified.Claims(&payload); err != nil {
		return authn.Identity{}, err
	}
	cl, err := decodeClaims(payload)
	if err != nil {
		return authn.Identity{}, err
	}
	return is.cfg.accept(cl, now)
}

// remembering keeps the error of a key set: the verifier passes on its text alone.
type remembering struct {
	keys *keySet
	err  error
}

func (r *remembering) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := r.keys.VerifySignature(ctx, token)
	r.err = err
	return payload, err
}

// rawPayload takes the bytes of the claims as they were signed.
type rawPayload []byte

func (p *rawPayload) UnmarshalJSON(b []byte) error {
	*p = append((*p)[:0], b...)
	return nil
}
