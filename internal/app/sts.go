package app

import (
	"context"
	"sync/atomic"
	"time"

	"breakglass/internal/api"
)

const (
	// stsTimeout bounds one look for the server's own AWS credentials: an
	// instance's metadata service that isn't there is slow to say so.
	stsTimeout = 15 * time.Second
	// stsAgain is how often they are looked for.
	stsAgain = time.Minute
)

// stsWatch knows whether the server has AWS credentials of its own. Without
// them it grants and records, and hands out nothing.
type stsWatch struct {
	find func(ctx context.Context) error // asks nobody whether they are good for anything

	state atomic.Pointer[error] // of the last look; nil: not looked yet
}

// run looks again and again, and says once when there are none, and once when
// there are some again.
func (w *stsWatch) run(a *App) func(context.Context) {
	return func(ctx context.Context) {
		missing := false
		tick := time.NewTicker(stsAgain)
		defer tick.Stop()
		for {
			limited, cancel := context.WithTimeout(ctx, stsTimeout)
			err := w.find(limited)
			cancel()
			if ctx.Err() != nil {
				return
			}
			w.state.Store(&err)
			if err != nil && !missing {
				a.opts.Log.Warn("the server has no AWS credentials of its own: it grants and records, but can't hand out keys", "error", err)
			} else if err == nil && missing {
				a.opts.Log.Info("the server has AWS credentials of its own now")
			}
			missing = err != nil
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// check is green either way: without keys the server still decides, records and
// alerts, and another replica wouldn't do better.
func (w *stsWatch) check() api.Check {
	c := api.Check{Name: "sts", OK: true, Detail: "the server has AWS credentials of its own"}
	switch err := w.state.Load(); {
	case err == nil:
		c.Detail = "not known yet"
	case *err != nil:
		c.Detail = "NO AWS CREDENTIALS: the server can't hand out keys; see its log"
	}
	return c
}
