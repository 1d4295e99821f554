package sqlite

import (
	"reflect"

	"breakglass/internal/breakglass"
)

// Every issuance of credentials counts one session and changes nothing else of
// its event or access request. Replacing the row would write each of its indexes
// anew, all with what is there.
const (
	sqlCountEvent   = `UPDATE events SET sessions = ? WHERE id = ?`
	sqlCountRequest = `UPDATE access_requests SET sessions = ? WHERE id = ?`
)

// known is what a function has read of the records that it was announced for.
type known struct {
	event   *breakglass.Event
	request *breakglass.AccessRequest
}

// onlyCounts reports whether the event differs from what was read in its count
// of sessions alone. A second write in the same function is no longer compared.
func (k *known) onlyCounts(e breakglass.Event) bool {
	was := k.event
	if k.event = nil; was == nil {
		return false
	}
	was.Sessions = e.Sessions
	return *was == e
}

// onlyCountsRequest is onlyCounts for an access request.
func (k *known) onlyCountsRequest(r breakglass.AccessRequest) bool {
	was := k.request
	if k.request = nil; was == nil {
		return false
	}
	was.Sessions = r.Sessions
	return reflect.DeepEqual(*was, r)
}
