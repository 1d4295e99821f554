package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// accessRequest is an access request by its id.
type accessRequest struct {
	guard
	value breakglass.AccessRequest
}

func (r *accessRequest) encode() item { return encodeRequest(r.value) }

func (r *accessRequest) decode(it item) (err error) {
	if it != nil {
		r.value, err = decodeRequest(it)
	}
	return err
}

// revisedRequest is a request inside the guard of its pair, with the revision
// that the request's own item has: both change together.
type revisedRequest struct {
	breakglass.AccessRequest
	rev int64
}

// copy keeps callers away from the guard's own request.
func (r *revisedRequest) copy() *breakglass.AccessRequest {
	if r == nil {
		return nil
	}
	out := exactRequest(r.AccessRequest)
	return &out
}

// openRequests guards that a person has one pending and one approved request
// for a profile at most. It holds the requests themselves so that a decision
// needs no second read.
type openRequests struct {
	guard
	pending, approved *revisedRequest
}

func (o *openRequests) encode() item {
	it := item{}
	for name, r := range map[string]*revisedRequest{"pending": o.pending, "approved": o.approved} {
		if r != nil {
			it[name] = &types.AttributeValueMemberM{Value: merge(encodeRequest(r.AccessRequest), item{attrRev: number(r.rev)})}
		}
	}
	return it
}

func (o *openRequests) decode(it item) error {
	get := func(name string) (*revisedRequest, error) {
		m, ok := it[name].(*types.AttributeValueMemberM)
		if !ok {
			return nil, nil
		}
		r, err := decodeRequest(m.Value)
		return &revisedRequest{r, num(m.Value[attrRev])}, err
	}
	var err1, err2 error
	o.pending, err1 = get("pending")
	o.approved, err2 = get("approved")
	return errors.Join(err1, err2)
}

// known returns the pair's request of that id as far as the guard holds it.
func (o *openRequests) known(id string) *revisedRequest {
	for _, r := range []*revisedRequest{o.pending, o.approved} {
		if r != nil && r.ID == id {
			return r
		}
	}
	return nil
}

// note takes a request's new state into the guard. One that isn't open leaves no
// trace here.
func (o *openRequests) note(r revisedRequest) error {
	pending, approved := o.pending, o.approved
	for _, at := range []**revisedRequest{&pending, &approved} {
		if *at != nil && (*at).ID == r.ID {
			*at = nil
		}
	}
	place := map[breakglass.RequestStatus]**revisedRequest{breakglass.RequestPending: &pending, breakglass.RequestApproved: &approved}[r.Status]
	if place != nil {
		if *place != nil {
			return fmt.Errorf("%w: the pair already has the %s request %s", errBroken, r.Status, (*place).ID)
		}
		*place = &r
	}
	o.dirty = o.dirty || pending != o.pending || approved != o.approved
	o.pending, o.approved = pending, approved
	return nil
}

func (v *view) accessRequest(id string) *accessRequest {
	return guardOf(v, requestKey(id), func(g guard) *accessRequest { return &accessRequest{guard: g} })
}

func (v *view) openRequests(p breakglass.Pair) *openRequests {
	return guardOf(v, requestsKey(p), func(g guard) *openRequests { return &openRequests{guard: g} })
}

func pairOf(r breakglass.AccessRequest) breakglass.Pair {
	return breakglass.Pair{Person: r.Requester, Profile: r.Profile}
}

// AccessRequest implements breakglass.Tx.
func (t *tx) AccessRequest(id string) (breakglass.AccessRequest, error) {
	if err := t.lookup("access request "+id, id == t.keys.RequestID && id != ""); err != nil {
		return breakglass.AccessRequest{}, err
	}
	r, err := use(t, t.v.accessRequest(id))
	if err != nil {
		return breakglass.AccessRequest{}, err
	}
	if r.rev == 0 && !r.dirty {
		return breakglass.AccessRequest{}, breakglass.ErrNotFound
	}
	return exactRequest(r.value), nil
}

// requests reports whether the open requests of the pair were announced.
func (t *tx) requests(p breakglass.Pair) bool {
	return p.Person != "" && p.Profile != "" && p == t.keys.Requests
}

// FindOpenRequests implements breakglass.Tx.
func (t *tx) FindOpenRequests(p breakglass.Pair) (breakglass.OpenRequests, error) {
	if err := t.lookup("the open requests of "+p.Person+" on "+p.Profile, t.requests(p)); err != nil {
		return breakglass.OpenRequests{}, err
	}
	o, err := use(t, t.v.openRequests(p))
	if err != nil {
		return breakglass.OpenRequests{}, err
	}
	return breakglass.OpenRequests{Pending: o.pending.copy(), Approved: o.approved.copy()}, nil
}

// PutAccessRequest implements breakglass.Tx.
func (t *tx) PutAccessRequest(r breakglass.AccessRequest) error {
	known := r.ID != "" && (r.ID == t.keys.RequestID || t.requests(pairOf(r)))
	if err := t.lookup("access request "+r.ID, known); err != nil {
		return err
	}
	r = exactRequest(r)
	t.writes = append(t.writes, write{request: &r})
	return nil
}

// putRequest inserts or replaces a request and keeps its guards in step, as
// putEvent does.
func (v *view) putRequest(ctx context.Context, r breakglass.AccessRequest) error {
	o, own := v.openRequests(pairOf(r)), v.accessRequest(r.ID)
	if own.rev == unloaded {
		if known := o.known(r.ID); known != nil {
			own.rev, own.value = known.rev, known.AccessRequest
		} else if o.rev != unloaded && !v.existing[own.key] {
			own.rev = 0
		}
	}
	if err := v.load(ctx); err != nil { // the pair of a request that was named by its id alone
		return err
	}
	if err := sound(own, o); err != nil {
		return err
	}
	var before []key
	if known := o.known(r.ID); known != nil {
		before = append(before, dueRequest(known.AccessRequest))
	}
	if own.rev > 0 && own.value.Status.Open() { // its pair may not know it
		before = append(before, dueRequest(own.value))
	}
	v.reschedule(before, dueRequest(r), r.Status.Open())
	own.value, own.dirty = r, true
	return o.note(revisedRequest{r, own.rev + 1})
}
