package e2e

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // to get at the file behind the server's back

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// forger has the database file of a server that doesn't run, and can write to it.
type forger struct {
	t  *testing.T
	db *sql.DB
}

func (f forger) exec(query string, args ...any) {
	f.t.Helper()
	_, err := f.db.Exec(query, args...)
	require.NoError(f.t, err, query)
}

// entry reads a row of the trail.
func (f forger) entry(seq int64) breakglass.LogEntry {
	f.t.Helper()
	var body, hash string
	require.NoError(f.t, f.db.QueryRow(`SELECT body, hash FROM entries WHERE seq = ?`, seq).Scan(&body, &hash))
	var e breakglass.LogEntry
	require.NoError(f.t, json.Unmarshal([]byte(body), &e))
	e.Hash = hash
	return e
}

// put writes a row of the trail as the server would.
func (f forger) put(e breakglass.LogEntry) {
	f.t.Helper()
	us := e.Timestamp.UnixMicro()
	f.exec(`INSERT INTO entries (seq, event, invoker, profile, recorded_at, high_water, body, hash) VALUES (?,?,?,?,?,?,?,?)
		ON CONFLICT (seq) DO UPDATE SET event = excluded.event, invoker = excluded.invoker, profile = excluded.profile, body = excluded.body, hash = excluded.hash`,
		e.Seq, string(e.Event), e.Invoker, e.Profile, us, us, string(audit.Canonical(e)), e.Hash)
}

// shift moves the rows from seq on by n places, and leaves what is in them.
func (f forger) shift(from, n int64) {
	f.exec(`UPDATE entries SET seq = -(seq + ?) WHERE seq >= ?`, n, from)
	f.exec(`UPDATE entries SET seq = -seq WHERE seq < 0`)
}

// sealEnd gives the newest row the seq of its place and a hash that fits,
// because a server doesn't start with an end that is damaged.
func (f forger) sealEnd() {
	f.t.Helper()
	var last int64
	require.NoError(f.t, f.db.QueryRow(`SELECT max(seq) FROM entries`).Scan(&last))
	e := f.entry(last)
	e.Seq = last
	audit.Seal(&e, e.PrevHash)
	f.put(e)
}

// lie changes what an entry says.
func lie(e breakglass.LogEntry) breakglass.LogEntry {
	e.Actor, e.Justification = "mallory", "It was not me, it was the cat"
	return e
}

// forgeries are what can be done to the fifth entry of ten. found is what
// bgctl has to say; with the head that was known before it says more.
func forgeries() []struct {
	name            string
	forge           func(f forger)
	found, withHead string
} {
	const k, n = 5, 10
	return []struct {
		name            string
		forge           func(f forger)
		found, withHead string
	}{
		{name: "untouched", forge: func(forger) {}},
		{name: "changed", found: "entry 5 has been changed", forge: func(f forger) { f.put(lie(f.entry(k))) }},
		{name: "changed in one byte", found: "entry 5 has been changed", forge: func(f forger) {
			f.exec(`UPDATE entries SET body = replace(body, 'INC-4711', 'INC-4712') WHERE seq = ?`, k)
		}},
		{name: "another hash", found: "entry 5 has been changed", forge: func(f forger) {
			f.exec(`UPDATE entries SET hash = ? WHERE seq = ?`, strings.Repeat("0", 64), k)
		}},
		{name: "changed and hashed again", found: "entry 6 doesn't follow entry 5", forge: func(f forger) {
			e := lie(f.entry(k))
			audit.Seal(&e, e.PrevHash)
			f.put(e)
		}},
		{name: "dropped", found: "entry 5 is missing", forge: func(f forger) { f.exec(`DELETE FROM entries WHERE seq = ?`, k) }},
		{name: "dropped, the others moved up", found: "entry 5 is missing", forge: func(f forger) {
			f.exec(`DELETE FROM entries WHERE seq = ?`, k)
			f.shift(k+1, -1)
			f.sealEnd()
		}},
		{name: "dropped, the others numbered anew", found: "entry 5 has been changed", forge: func(f forger) {
			for seq := int64(k); seq < n; seq++ {
				e := f.entry(seq + 1)
				e.Seq = seq
				f.put(e)
			}
			f.exec(`DELETE FROM entries WHERE seq = ?`, n)
			f.sealEnd()
		}},
		{name: "swapped", found: "entry 5 is missing", forge: func(f forger) {
			f.exec(`UPDATE entries SET seq = -1 WHERE seq = ?`, k)
			f.exec(`UPDATE entries SET seq = ? WHERE seq = ?`, k, k+1)
			f.exec(`UPDATE entries SET seq = ? WHERE seq = -1`, k+1)
		}},
		{name: "inserted", found: "entry 7 is due here: entry 6 was inserted, repeated or moved", forge: func(f forger) {
			f.shift(k+1, 1)
			f.sealEnd()
			e := lie(f.entry(k))
			e.Seq = k + 1
			audit.Seal(&e, f.entry(k).Hash)
			f.put(e)
		}},
		{name: "repeated", found: "entry 6 is due here: entry 5 was inserted, repeated or moved", forge: func(f forger) {
			f.shift(k+1, 1)
			f.sealEnd()
			f.exec(`INSERT INTO entries SELECT ?, event, invoker, profile, recorded_at, high_water, body, hash FROM entries WHERE seq = ?`, k+1, k)
		}},
		{name: "the end cut off", withHead: "the end of the trail is cut off after entry 9", forge: func(f forger) {
			f.exec(`DELETE FROM entries WHERE seq = ?`, n)
		}},
		{name: "everything after it written anew", withHead: "entry 10 is not the one that is known", forge: func(f forger) {
			prev := f.entry(k - 1).Hash
			for seq := int64(k); seq <= n; seq++ {
				e := f.entry(seq)
				if seq == k {
					e = lie(e)
				}
				audit.Seal(&e, prev)
				f.put(e)
				prev = e.Hash
			}
		}},
	}
}

// forged is a copy of a database after somebody has been at it.
func forged(t *testing.T, database []byte, forge func(f forger)) site {
	t.Helper()
	s := site{dir: t.TempDir()}
	require.NoError(t, os.WriteFile(s.database(), database, 0o600))
	db, err := sql.Open("sqlite", s.database())
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	forge(forger{t, db})
	require.NoError(t, db.Close())
	return s
}

// tenEntries is the database that a real server leaves after ten entries.
func tenEntries(t *testing.T) []byte {
	t.Helper()
	s := site{dir: t.TempDir()}
	p := s.start(t)
	for _, profile := range profileNames[:3] {
		ev := decode[breakglass.View](t, p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation(profile, 3600)))
		p.http.must(t, 200, user(0), http.MethodPost, "/v1/breakglass/"+ev.ID+"/credentials", "")
		p.http.must(t, 200, "sam", http.MethodPost, "/v1/breakglass/"+ev.ID+"/close", `{"reason":"over"}`)
	}
	p.http.must(t, 404, user(0), http.MethodPost, "/v1/breakglass", invocation("unknown", 3600))
	require.Len(t, p.http.feed(t, "0"), 10)
	require.Zero(t, p.terminate(t))
	database, err := os.ReadFile(s.database())
	require.NoError(t, err)
	require.NoFileExists(t, s.database()+"-wal", "not everything is in the file")
	return database
}

func TestPromise09TheTrailIsTamperEvident(t *testing.T) {
	database := tenEntries(t)
	head := ""
	for _, tc := range forgeries() { // the first one is untouched and gives the head
		t.Run(tc.name, func(t *testing.T) {
			sam := newCtl(t, forged(t, database, tc.forge).start(t).http, "sam")
			code, out, errs := sam.run(t, "verify", "-o", "json")
			if tc.found == "" {
				assert.Zero(t, code, "%s", errs)
				if head == "" {
					var v struct{ Head string }
					require.NoError(t, json.Unmarshal([]byte(out), &v))
					head = v.Head
				}
			} else {
				assert.Equal(t, 1, code)
				assert.Contains(t, errs, tc.found)
				assert.NotContains(t, out, `"head"`, "a head of a broken trail must not be kept")
			}
			code, _, errs = sam.run(t, "verify", "--head", head)
			if tc.found == "" && tc.withHead == "" {
				assert.Zero(t, code, "%s", errs)
				return
			}
			assert.Equal(t, 1, code)
			assert.Contains(t, strings.Join(strings.Fields(errs), " "), tc.found+tc.withHead)
		})
	}
}

// A server chains nothing to an end that was tampered with.
func TestPromise09AServerDoesNotContinueADamagedTrail(t *testing.T) {
	database := tenEntries(t)
	for name, forge := range map[string]func(f forger){
		"changed":     func(f forger) { f.put(lie(f.entry(10))) },
		"another seq": func(f forger) { f.exec(`UPDATE entries SET seq = 11 WHERE seq = 10`) },
		"no JSON":     func(f forger) { f.exec(`UPDATE entries SET body = 'x' WHERE seq = 10`) },
	} {
		t.Run(name, func(t *testing.T) {
			s := forged(t, database, forge)
			p := s.spawn(t)
			assert.Equal(t, 1, p.wait(t))
			assert.Contains(t, p.logs.String(), "audit")
			assert.NoFileExists(t, filepath.Join(s.dir, "addr"), "it has listened")
		})
	}
}
