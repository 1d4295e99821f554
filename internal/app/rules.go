package app

import (
	"context"
	"log/slog"
	"sync"

	"breakglass/internal/access"
	"breakglass/internal/api"
	"breakglass/internal/approval"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/policy"
	"breakglass/internal/ratelimit"
	"breakglass/internal/reload"
)

// rules are the files of rules in force. All but the policy are nil where none
// is configured.
type rules struct {
	policy    *reload.File[*policy.Policy]
	limits    *reload.File[*ratelimit.Policy]
	access    *reload.File[*access.Policy]
	approvals *reload.File[*approval.Policy]
	all       []rulesFile // those that are configured
}

// rulesFile is one of them, whatever is in it.
type rulesFile struct {
	name string // in metrics, the log and answers
	file interface {
		Reload()
		Run(ctx context.Context)
		Status() reload.Status
	}
	// without is what follows from there never having been a readable one.
	without string
	// needed says that the server isn't ready then.
	needed bool
}

func newRules(cfg config.Config, log *slog.Logger, m *metrics) *rules {
	r := &rules{}
	notify := func(f rulesFile, path string) func(reload.Change) { return onReload(f, path, log, m) }
	r.policy = openRules(r, rulesFile{name: "policy", without: "nothing is granted", needed: true}, cfg.PolicyFile, policy.Parse, notify)
	r.limits = openRules(r, rulesFile{name: "rate_limits", without: "nothing is granted", needed: true}, cfg.RateLimitFile, ratelimit.Parse, notify)
	r.access = openRules(r, rulesFile{name: "access", without: "nobody has standing access"}, cfg.AccessFile, access.Parse, notify)
	r.approvals = openRules(r, rulesFile{name: "approvals", without: "no access request is taken, approved or used"}, cfg.ApprovalsFile, approval.Parse, notify)
	return r
}

// openRules adds a file to r; nil where the configuration names none.
func openRules[T any](r *rules, as rulesFile, path string, parse func(name string, data []byte) (T, error),
	notify func(rulesFile, string) func(reload.Change)) *reload.File[T] {
	if path == "" {
		return nil
	}
	f := reload.Open(path, parse, notify(as, path))
	as.file = f
	r.all = append(r.all, as)
	return f
}

// onReload makes every change of a rules file visible.
func onReload(f rulesFile, path string, log *slog.Logger, m *metrics) func(reload.Change) {
	return func(c reload.Change) {
		m.reloaded(f.name, c.Err == nil)
		switch {
		case c.Err == nil:
			log.Info("rules in force", "file", f.name, "path", path, "sha256", c.New, "before", c.Old)
		case c.Old == "":
			log.Error("rules can't be read and there are none in force: "+f.without, "file", f.name, "path", path, "error", c.Err)
		default:
			log.Error("rules can't be read: the last good ones stay in force", "file", f.name, "path", path, "sha256", c.Old, "error", c.Err)
		}
	}
}

// current is what a file holds, as the domain knows it.
func current[T, D any](f *reload.File[T], as func(T) D) (D, error) {
	v, err := f.Current()
	if err != nil {
		var none D
		return none, err
	}
	return as(v), nil
}

func (r *rules) currentPolicy() (breakglass.Policy, error) {
	return current(r.policy, func(p *policy.Policy) breakglass.Policy { return p })
}

func (r *rules) currentLimits() (breakglass.RateLimiter, error) {
	if r.limits == nil {
		return ratelimit.None{}, nil
	}
	return current(r.limits, func(p *ratelimit.Policy) breakglass.RateLimiter { return p })
}

// standing returns what gives the standing policy in force; nil when none is configured.
func (r *rules) standing() func() (breakglass.StandingPolicy, error) {
	if r.access == nil {
		return nil
	}
	return func() (breakglass.StandingPolicy, error) {
		return current(r.access, func(p *access.Policy) breakglass.StandingPolicy { return p })
	}
}

// approving does the same for the approval rules.
func (r *rules) approving() func() (breakglass.ApprovalPolicy, error) {
	if r.approvals == nil {
		return nil
	}
	return func() (breakglass.ApprovalPolicy, error) {
		return current(r.approvals, func(p *approval.Policy) breakglass.ApprovalPolicy { return p })
	}
}

func (r *rules) reload() {
	for _, f := range r.all {
		f.file.Reload()
	}
}

func (r *rules) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, f := range r.all {
		wg.Go(func() { f.file.Run(ctx) })
	}
	wg.Wait()
}

// check is green while any good rules are in force, and says when they aren't
// those of the file. Without the files of the milder links it is green too: who
// is sent elsewhere by /readyz could not break the glass here.
func (f rulesFile) check() api.Check {
	s := f.file.Status()
	switch {
	case s.SHA256 == "":
		return api.Check{Name: f.name, OK: !f.needed, Detail: "was never readable: " + f.without + "; see the server's log"}
	case s.Err != nil:
		return api.Check{Name: f.name, OK: true, Detail: "in force: sha256 " + s.SHA256 + "; the file on disk is broken, see the server's log"}
	}
	return api.Check{Name: f.name, OK: true, Detail: "in force: sha256 " + s.SHA256}
}

// checks are those of all the files.
func (r *rules) checks() []api.Check {
	var checks []api.Check
	for _, f := range r.all {
		checks = append(checks, f.check())
	}
	none := func(name string, configured bool) {
		if !configured {
			checks = append(checks, api.Check{Name: name, OK: true, Detail: "none are configured"})
		}
	}
	none("rate_limits", r.limits != nil)
	none("access", r.access != nil)
	none("approvals", r.approvals != nil)
	return checks
}

// reloaded says what is in force after a reading.
func (r *rules) reloaded() []api.Reloaded {
	var out []api.Reloaded
	for _, f := range r.all {
		s := f.file.Status()
		out = append(out, api.Reloaded{File: f.name, OK: s.Err == nil, SHA256: s.SHA256, Detail: f.check().Detail})
	}
	return out
}
