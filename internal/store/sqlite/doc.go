// Package sqlite keeps events, the audit trail, notifications to send and
// idempotency records in one SQLite file.
//
// # One writer, group commit
//
// A durable commit waits for the disk, so transactions are committed in groups:
// one goroutine owns the only writing connection, takes whatever transactions
// wait (at most Options.MaxGroup), runs them one after the other inside one
// BEGIN IMMEDIATE … COMMIT, and answers all of them when the COMMIT has
// returned. What a transaction writes is held back until its function returns
// nil, so one that fails needs no savepoint: its writes are simply dropped.
// Later transactions of a group see what earlier ones wrote.
//
// When a write or the COMMIT fails, the whole group is rolled back and each of
// its transactions runs again alone. So one that can't be written (or a disk
// that has room for some) doesn't fail the others, and no transaction is
// answered on the strength of another one's writes that were rolled back.
//
// # Durability
//
// Write-ahead log with synchronous=FULL: a commit returns when the log is on
// stable storage. Readers have connections of their own, see committed
// transactions only and never wait for the writer.
//
// # One server per file
//
// The writer knows the head of the audit trail by heart, so a second server on
// the same file would break the hash chain. A lock file beside the database
// keeps it out. It holds on local disks; don't put the file on a network share.
package sqlite
