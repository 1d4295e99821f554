package app

import (
	"context"
	"log/slog"
	"sync"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/policy"
	"breakglass/internal/ratelimit"
	"breakglass/internal/reload"
)

// rules are the policy and the rate limits in force.
type rules struct {
	policy *reload.File[*policy.Policy]
	limits *reload.File[*ratelimit.Policy] // nil: no rate limits are configured
}

func newRules(cfg config.Config, log *slog.Logger, m *metrics) *rules {
	r := &rules{policy: reload.Open(cfg.PolicyFile, policy.Parse, onReload("policy", cfg.PolicyFile, log, m))}
	if cfg.RateLimitFile != "" {
		r.limits = reload.Open(cfg.RateLimitFile, ratelimit.Parse, onReload("rate_limits", cfg.RateLimitFile, log, m))
	}
	return r
}

// onReload makes every change of a rules file visible.
func onReload(name, path string, log *slog.Logger, m *metrics) func(reload.Change) {
	return func(c reload.Change) {
		m.reloaded(name, c.Err == nil)
		switch {
		case c.Err == nil:
			log.Info("rules in force", "file", name, "path", path, "sha256", c.New, "before", c.Old)
		case c.Old == "":
			log.Error("rules can't be read and there are none in force: nothing is granted", "file", name, "path", path, "error", c.Err)
		default:
			log.Error("rules can't be read: the last good ones stay in force", "file", name, "path", path, "sha256", c.Old, "error", c.Err)
		}
	}
}

func (r *rules) currentPolicy() (breakglass.Policy, error) {
	p, err := r.policy.Current()
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (r *rules) currentLimits() (breakglass.RateLimiter, error) {
	if r.limits == nil {
		return ratelimit.None{}, nil
	}
	l, err := r.limits.Current()
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (r *rules) reload() {
	r.policy.Reload()
	if r.limits != nil {
		r.limits.Reload()
	}
}

func (r *rules) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { r.policy.Run(ctx) })
	if r.limits != nil {
		wg.Go(func() { r.limits.Run(ctx) })
	}
	wg.Wait()
}
