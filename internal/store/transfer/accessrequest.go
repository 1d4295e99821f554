package transfer

import (
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// checkRequest wants exactly one access request with each entry that began one.
func checkRequest(e Entry) error {
	r, seq := e.Request, e.Log.Seq
	began := e.Log.Event == breakglass.EntryRequestCreated
	switch {
	case !began && r == nil:
		return nil
	case !began:
		return fmt.Errorf("access request %q stands with entry %d, which didn't begin it", r.ID, seq)
	case r == nil:
		return fmt.Errorf("entry %d began access request %q, but the request is missing", seq, requestID(e.Log))
	case r.ID != requestID(e.Log) || r.Requester != e.Log.Actor || r.Profile != e.Log.Profile ||
		r.DurationSeconds != e.Log.DurationSeconds || r.Justification != e.Log.Justification:
		return fmt.Errorf("access request %q is not the one that entry %d began", r.ID, seq)
	}
	return validRequest(*r)
}

func validRequest(r breakglass.AccessRequest) error {
	good := breakglass.IsID(r.ID) && r.Requester != "" && r.Profile != "" && r.Status.IsValid() && r.Sessions >= 0 && r.ApprovalsRequired >= 0 &&
		storable(r.CreatedAt) && storable(r.UpdatedAt) && storable(r.ExpiresAt)
	for _, t := range []time.Time{r.ApprovedAt, r.EndedAt} {
		good = good && (t.IsZero() || storable(t))
	}
	for _, a := range r.Approvals {
		good = good && a.By != "" && storable(a.At)
	}
	if !good {
		return fmt.Errorf("access request %q is damaged", r.ID)
	}
	return nil
}
