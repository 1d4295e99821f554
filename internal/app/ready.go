package app

import (
	"context"
	"errors"
	"fmt"

	"breakglass/internal/api"
	"breakglass/internal/reload"
	"breakglass/internal/store/dynamodb"
)

// ready reports what the server needs in order to grant anything. Anybody may
// ask, so paths and causes stay in the log.
func (a *App) ready(ctx context.Context) []api.Check {
	checks := []api.Check{
		storeCheck(a.store.Ping(ctx)),
		check("clock", a.service.CheckClock(ctx), "agrees with the audit trail", "lies behind the audit trail; see the server's log"),
		rulesCheck("policy", a.rules.policy.Status()),
		trailCheck(a.unexplained),
	}
	if a.sts != nil {
		checks = append(checks, a.sts.check())
	}
	if a.mirror != nil {
		if head, err := a.store.Head(ctx); err == nil { // else the store's own check says so
			checks = append(checks, a.mirror.check(head))
		}
	}
	if a.rules.limits == nil {
		return append(checks, api.Check{Name: "rate_limits", OK: true, Detail: "none are configured"})
	}
	return append(checks, rulesCheck("rate_limits", a.rules.limits.Status()))
}

func check(name string, err error, good, bad string) api.Check {
	if err != nil {
		return api.Check{Name: name, Detail: bad}
	}
	return api.Check{Name: name, OK: true, Detail: good}
}

// storeCheck names the one trouble that no waiting mends.
func storeCheck(err error) api.Check {
	if errors.Is(err, dynamodb.ErrBehind) {
		return check("store", err, "", "can't be written to: "+dynamodb.ErrBehind.Error()+"; see docs/dynamodb.md")
	}
	return check("store", err, "reachable and writable", "can't be written to; see the server's log")
}

// trailCheck is green either way: whoever changed the database must not be able
// to stop emergency access with it.
func trailCheck(unexplained int) api.Check {
	c := api.Check{Name: "audit_trail", OK: true, Detail: "explains the newest events, as of the start"}
	if unexplained > 0 {
		c.Detail = fmt.Sprintf("DOES NOT EXPLAIN %d of the newest events: the database was changed by something else than this server; see its log", unexplained)
	}
	return c
}

// rulesCheck is green while any good rules are in force, and says when they
// aren't those of the file.
func rulesCheck(name string, s reload.Status) api.Check {
	switch {
	case s.SHA256 == "":
		return api.Check{Name: name, Detail: "was never readable: nothing is granted; see the server's log"}
	case s.Err != nil:
		return api.Check{Name: name, OK: true, Detail: "in force: sha256 " + s.SHA256 + "; the file on disk is broken, see the server's log"}
	}
	return api.Check{Name: name, OK: true, Detail: "in force: sha256 " + s.SHA256}
}

// reloaded says what is in force after a reading.
func (r *rules) reloaded() []api.Reloaded {
	out := []api.Reloaded{reloaded("policy", r.policy.Status())}
	if r.limits != nil {
		out = append(out, reloaded("rate_limits", r.limits.Status()))
	}
	return out
}

func reloaded(name string, s reload.Status) api.Reloaded {
	return api.Reloaded{File: name, OK: s.Err == nil, SHA256: s.SHA256, Detail: rulesCheck(name, s).Detail}
}
