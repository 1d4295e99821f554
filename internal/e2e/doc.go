// Package e2e holds the tests of what the service promises, through the whole
// server: in-process over real HTTP and SQLite where that is enough, and as
// real processes that are really killed where it isn't. There is no other code
// here.
package e2e
