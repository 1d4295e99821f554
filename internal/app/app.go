// Package app puts the server together: it alone knows every implementation.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	spec "breakglass"
	"breakglass/internal/api"
	"breakglass/internal/audit"
	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/issuer"
	"breakglass/internal/notify"
	"breakglass/internal/tlsfiles"
	"breakglass/internal/version"
)

// Options are what a configuration file doesn't hold.
type Options struct {
	Log      *slog.Logger
	AuditOut io.Writer // where the mirror of the audit trail goes when it is switched on
	Now      func() time.Time
	// AcceptClock works on although the clock lies behind the audit trail.
	AcceptClock bool
	// NotifySchedule replaces the schedule of notification retries.
	NotifySchedule []time.Duration
	// GaugesKept replaces how long scrapes get the same answers of the store.
	GaugesKept time.Duration
}

// App is a server: New opens everything, Start serves, Stop ends.
type App struct {
	cfg        config.Config
	opts       Options
	store      Store
	rules      *rules
	metrics    *metrics
	service    *breakglass.Service
	dispatcher *notify.Dispatcher
	follower   *audit.Follower
	mirror     *watchedMirror
	sts        *stsWatch        // nil in development mode
	tls        *tlsfiles.Keeper // nil: plain HTTP
	// unexplained is how many events the trail didn't explain at start.
	unexplained int
	handler     *api.Handler
	servers     []*http.Server
	addr        net.Addr
	failed      chan error

	serving      sync.WaitGroup
	stopWork     func()
	stopFollower func()
	// closers undo what New opened, the last one first.
	closers []closer
}

type closer struct {
	name  string
	close func() error
}

// New opens the store, the rules, the sinks and the issuer. When it fails,
// everything that it opened is closed again.
func New(ctx context.Context, cfg config.Config, opts Options) (_ *App, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	for _, w := range warn(cfg, opts.Now()) {
		opts.Log.Warn("the configuration needs a look", "what", w.String())
	}
	for _, w := range exposed(cfg) {
		opts.Log.Warn("a file of the server is not private", "what", w.String())
	}
	a := &App{cfg: cfg, opts: opts, metrics: newMetrics(), failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.store, err = OpenStore(ctx, cfg.Store, opts.Log, opts.Now); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	a.onClose("store", a.store.Close)
	if err := a.checkTrail(ctx); err != nil {
		opts.Log.Error("the audit trail was not checked", "error", err)
	}
	a.rules = newRules(cfg, opts.Log, a.metrics)
	if err := a.openTLS(); err != nil {
		return nil, err
	}

	static, err := authn.NewAt(cfg.Auth.Tokens, cfg.RoleMembers(), opts.Now, cfg.Auth.Denied...)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	jwt, err := a.newOIDC(ctx)
	if err != nil {
		return nil, err
	}
	aws, err := a.newAWSLogin()
	if err != nil {
		return nil, fmt.Errorf("auth.aws: %w", err)
	}
	auth := authn.NewChain(static, authn.Ways{JWT: jwt, Session: sessions(aws)})
	factors, err := secondFactors(cfg.Auth)
	if err != nil {
		return nil, err
	}
	sinks, err := a.newSinks(ctx)
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	keys, err := newIssuer(ctx, cfg.STS, opts.Log)
	if err != nil {
		return nil, fmt.Errorf("sts: %w", err)
	}
	if own, ok := keys.(*issuer.AWS); ok {
		a.sts = &stsWatch{find: own.FindCredentials}
	}
	a.service = breakglass.New(breakglass.Config{
		Store: a.store, Journal: a.store, Profiles: profiles(cfg), Issuer: keys, Directory: auth,
		Policy: a.rules.currentPolicy, Limits: a.rules.currentLimits,
		Access: a.rules.standing(), Approvals: a.rules.approving(), Sinks: sinks.Route,
		Now: opts.Now, Log: opts.Log, AcceptClock: opts.AcceptClock, SweepEvery: sweepEvery(cfg.Store), MFA: factors,
	})
	if err := a.newFollower(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	a.metrics.registry.MustRegister(&storeGauges{store: a.store, kept: cmp.Or(opts.GaugesKept, gaugesKept(cfg.Store)), mirror: a.mirror, sinks: sinks.Names(), now: opts.Now, log: opts.Log})
	a.handler, err = api.New(api.Config{
		Service: a.service, Authenticator: auth, Ready: a.ready, Reload: a.reload, Metrics: a.metrics.registry,
		LoginOIDC: loginOIDC(cfg), AWSLogin: awsLogin(aws), AdminListener: cfg.AdminListen != "", Spec: spec.OpenAPI(), Log: opts.Log,
		Proxies: cfg.Proxies(), RequestsPerCaller: cfg.Limits.RequestsPerCaller, EmergencyCallsPerCaller: cfg.Limits.EmergencyCallsPerCaller,
		Version: api.Version{Version: version.Version, Commit: version.Commit, Go: version.Go()},
	})
	return a, err
}

func (a *App) onClose(name string, f func() error) {
	a.closers = append(a.closers, closer{name, f})
}

func (a *App) close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		if err := a.closers[i].close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", a.closers[i].name, err))
		}
	}
	a.closers = nil
	return errors.Join(errs...)
}

func (a *App) newSinks(ctx context.Context) (*notify.Set, error) {
	sinks, err := notify.Build(ctx, a.cfg.Notify.Sinks, notify.Deps{Log: a.opts.Log, Now: a.opts.Now,
		UserAgent: "breakglassd/" + version.Version})
	if err != nil {
		return nil, err
	}
	a.onClose("sinks", func() error { sinks.Close(); return nil })
	a.dispatcher = notify.NewDispatcher(notify.Options{Queue: a.store, Journal: a.store, Set: sinks,
		Log: a.opts.Log, Now: a.opts.Now, Observer: a.metrics, Schedule: a.opts.NotifySchedule})
	return sinks, nil
}

func newIssuer(ctx context.Context, c config.STS, log *slog.Logger) (breakglass.Issuer, error) {
	if c.Issuer == "dev" {
		return issuer.Dev{}, nil
	}
	return issuer.NewAWS(ctx, issuer.AWSOptions{Region: c.Region, Endpoint: c.Endpoint, Log: log})
}

func profiles(cfg config.Config) []breakglass.Profile {
	var out []breakglass.Profile
	for name, p := range cfg.Profiles {
		out = append(out, breakglass.Profile{
			Name: name, RoleARN: p.RoleARN, Region: p.Region, ExternalID: p.ExternalID,
			MaxDuration: time.Duration(p.MaxDuration), MaxSession: time.Duration(p.MaxSession),
			SourceIdentity: p.SourceIdentity == nil || *p.SourceIdentity,
			SessionTags:    p.SessionTags == nil || *p.SessionTags,
		})
	}
	return out
}
