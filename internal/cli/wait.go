package cli

import (
	"context"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

const (
	// waitFirst and waitMost are the pauses between two looks at a request: short
	// at first, because a rule or a colleague may be quick.
	waitFirst = 500 * time.Millisecond
	waitMost  = 5 * time.Second
	// waitBeyond is how long after the end of a request a server that is away is
	// still asked what became of it.
	waitBeyond = time.Minute
)

// undecided says that somebody stopped waiting for a request.
type undecided struct{ request breakglass.RequestView }

func (e *undecided) Error() string { return "nobody has decided on request " + e.request.ID + " yet" }

func (e *undecided) explain() explanation {
	r := e.request
	ex := local(exitInterrupted, codeInterrupted, "Stopped waiting. Request "+r.ID+" stays pending.")
	ex.problem.AccessRequestID = r.ID
	ex.do("`bgctl requests %s` shows what becomes of it", r.ID)
	ex.do("`bgctl cancel %s` withdraws it", r.ID)
	return ex
}

// notGranted says that a request came to nothing.
type notGranted struct{ request breakglass.RequestView }

func (e *notGranted) Error() string {
	return fmt.Sprintf("request %s is %s", e.request.ID, e.request.Status)
}

func (e *notGranted) explain() explanation {
	r := e.request
	again := fmt.Sprintf("bgctl request %s --justification \"…\"", quote(r.Profile))
	if r.Status == breakglass.RequestExpired {
		ex := local(exitFailure, codeFailed, "Nobody decided on request "+r.ID+" in time.")
		ex.problem.AccessRequestID = r.ID
		ex.do("%s", again)
		return ex
	}
	ex := local(exitNotAllowed, breakglass.CodeRequestDenied, fmt.Sprintf("Request %s was %s by %s.", r.ID, r.Status, r.EndedBy))
	ex.problem.AccessRequestID = r.ID
	ex.fact("Because", r.EndedReason)
	return ex
}

// waitFor stays until the request is decided, and prints it as it is then. A
// server that is away for a while is no reason to give up.
func (a *app) waitFor(ctx context.Context, api *client.Client, r breakglass.RequestView) error {
	if r.Status == breakglass.RequestPending {
		a.hint("Request %s on %s waits until %s. An approver runs:\n  bgctl approve %s", r.ID, show.Safe(r.Profile), a.when(r.ExpiresAt), r.ID)
	}
	away := false
	for pause := waitFirst; r.Status == breakglass.RequestPending; pause = min(2*pause, waitMost) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return &undecided{r}
		case <-timer.C:
		}
		now, err := api.AccessRequest(ctx, r.ID)
		switch {
		case ctx.Err() != nil:
			return &undecided{r}
		case err != nil && (!canWait(err) || a.Now().After(r.ExpiresAt.Add(waitBeyond))):
			return err
		case err != nil:
			if !away {
				a.hint("%s; trying again until it works", show.Safe(err.Error()))
			}
			away = true
			continue
		}
		away = false
		if len(now.Approvals) > len(r.Approvals) && now.Status == breakglass.RequestPending {
			a.hint("%s", show.Safe("Approvals: "+progress(now)))
			pause = waitFirst
		}
		r = now
	}
	if err := a.printRequest(r); err != nil || r.Status == breakglass.RequestApproved {
		return err
	}
	return &notGranted{r}
}
