package app

import (
	"context"
	"errors"
	"fmt"

	"breakglass/internal/api"
	"breakglass/internal/breakglass"
	"breakglass/internal/store/dynamodb"
)

// ready reports what the server needs in order to grant anything. Anybody may
// ask, so paths and causes stay in the log.
func (a *App) ready(ctx context.Context) []api.Check {
	checks := []api.Check{
		withConcern(storeCheck(storeFault(ctx, a.store)), a.store),
		clockCheck(a.service.CheckClock(ctx)),
		trailCheck(a.unexplained),
	}
	if a.sts != nil {
		checks = append(checks, a.sts.check())
	}
	if a.tls != nil {
		checks = append(checks, tlsCheck(a.tls.NotAfter(), a.opts.Now(), a.tls.Status()))
	}
	if a.mirror != nil {
		if head, err := a.store.Head(ctx); err == nil { // else the store's own check says so
			checks = append(checks, a.mirror.check(head))
		}
	}
	return append(checks, a.rules.checks()...)
}

// storeFault also reads the head of the trail: a table that an import fills can
// be written to, and takes no transaction.
func storeFault(ctx context.Context, s Store) error {
	_, err := s.Head(ctx)
	return errors.Join(s.Ping(ctx), err)
}

// storeCheck names the troubles that no waiting mends.
func storeCheck(err error) api.Check {
	c := api.Check{Name: "store", Detail: "can't be written to; see the server's log"}
	switch {
	case errors.Is(err, dynamodb.ErrImporting):
		c.Detail = "is being filled by an import that isn't finished: run breakglassd import again to finish it"
	case errors.Is(err, dynamodb.ErrBehind):
		c.Detail = "can't be written to: " + dynamodb.ErrBehind.Error() + "; see docs/dynamodb.md"
	case err == nil:
		c.OK, c.Detail = true, "reachable and writable"
	}
	return c
}

// withConcern adds what a store has to say although it works.
func withConcern(c api.Check, s Store) api.Check {
	if w, ok := s.(interface{ Concern() string }); ok && c.OK && w.Concern() != "" {
		c.Detail += ", BUT " + w.Concern()
	}
	return c
}

// clockCheck tells a clock that is wrong from a trail that can't be read.
func clockCheck(err error) api.Check {
	c := api.Check{Name: "clock"}
	switch {
	case err == nil:
		c.OK, c.Detail = true, "agrees with the audit trail"
	case errors.Is(err, breakglass.ErrClockBehind):
		c.Detail = "lies behind the audit trail; see the server's log"
	default:
		c.Detail = "can't be compared: the store does not answer"
	}
	return c
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
