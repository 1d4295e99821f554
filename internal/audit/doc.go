// Package audit makes the trail tamper-evident and carries it on: Seal chains
// each entry to the one before, Verifier checks a trail as anybody received
// it, and Follower feeds the committed entries to mirrors beside the store.
//
// The canonical bytes that are hashed are specified in docs/verify.md, so that
// the trail can be verified without this program.
package audit
