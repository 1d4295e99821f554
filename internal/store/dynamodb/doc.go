// Package dynamodb keeps everything in one DynamoDB table that any number of
// servers share.
//
// # Items
//
//	pk                    sk                        what
//	event#ID              event                     an event
//	request#ID            request                   an access request
//	pair#INVOKER          PROFILE                   guard: the active and the newest event of the pair
//	user#INVOKER          history                   guard: when the user's newest events were created
//	user#INVOKER          page#N                    older of these instants; never changes
//	profile#PROFILE       history, page#N           the same for a profile
//	requests#PERSON       PROFILE                   guard: the pending and the approved request of the pair
//	active                DUE_AT#ID                 one for each stored-active event: what the sweeper reads
//	active                EXPIRES_AT#request#ID     one for each stored-open access request
//	journal               head                      guard: seq and hash of the newest entry, latest timestamp of any
//	journal#BUCKET        SEQ                       an audit entry, 1,000 to a bucket
//	delivery#SINK         STATE#DUE#SEQ             a notification that waits (p) or is dead (d), by when it is due
//	idempotency           SHA-256 of caller and key guard: an idempotency record
//	factor                NAME                      guard: a second factor; empty when it was removed
//	meta                  schema                    the version of this layout
//	meta                  sink#SINK                 the sink has, or once had, notifications
//
// Only events and access requests have the attributes of the indexes. What a
// request has there begins with " request ", which no name, profile or state of
// an event does, so that a listing of either kind never meets the other.
//
// "latest timestamp" is the attribute high of entries and head. The hash of an
// entry does not cover it: it only finds beginning and end of a search by time, and
// shows a clock that lies behind. Who changes it in the table can hide entries
// from a search by time, and from nobody who reads or verifies the trail.
//
// While an import fills the table the head carries the attribute "import_run" and
// nothing else: no transaction can be made, and no server starts.
//
// # Transactions
//
// Update reads the guards that the keys name in one BatchGetItem, runs the
// function over them, and writes everything in one TransactWriteItems. Each
// guard has a revision; the write is conditional on every revision that was
// read, so whatever a decision rests on is checked again as it takes effect.
// Index queries, which lag, serve listings alone. A guard that isn't there has
// revision 0 and its absence is the condition.
//
// Callers that wait at the same time share one transaction (group commit),
// within DynamoDB's limit of 100 actions. When another server was faster the
// whole group runs again over fresh guards; when only the trail has grown its
// entries are sealed again behind the new head and tried at once. A server that
// keeps losing there asks for a turn (turn.go), so that one whose calls take
// longer isn't left behind.
//
// A function that writes nothing, such as one that refuses, is not checked by a
// write. If it looked at more than one guard, these are read a second time:
// nothing changed between the reads, so there was an instant at which all of
// them were as seen.
//
// A write whose answer is lost is sent again under the same ClientRequestToken,
// which DynamoDB recognises; and the audit entry that it would have written
// tells for certain.
package dynamodb
