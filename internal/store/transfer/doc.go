// Package transfer is the form in which a whole store moves to another engine:
// events, access requests, audit trail, deliveries that wait or were given up,
// idempotency records and second factors.
//
// An export is JSON lines. Each line has exactly one form, the one that Writer
// writes; Reader refuses every other.
//
//	{"kind":"header","format":2,"source":"sqlite","head":"SEQ:HASH","counts":{…}}
//	{"kind":"entry","hash":…,"event":…,"request":…,"deliveries":[…],"snapshot":…,"body":…}  by seq
//	{"kind":"idempotency","caller":…,"key":…,"fingerprint":…,"event_id":…,"created_at":…}  by caller and key
//	{"kind":"factor","name":…,"sealed":…,"key_id":…,"created_at":…,…}                by name
//	{"kind":"trailer","counts":{…},"sha256":"…"}                                     of all bytes before it
//
// An entry's body is the canonical bytes that its hash covers. What belongs to
// an entry stands on its line: the event, as it is now, with the
// breakglass.invoked entry that began it, and likewise the access request with
// its request.created entry, which names it in its detail (access_request_id);
// what the sinks have not taken yet; and the event as it was right after the
// change, for those deliveries. So events and requests come in the order in
// which they began, open or ended.
//
// Format 1, which is read too, has no access requests, and events without
// sessions, extensions and warn_at.
//
// Both sides verify the trail, the counts and the head as they go. Writer makes
// the same checks as Reader, so that whatever is exported can be imported.
// Neither holds more than one line.
package transfer
