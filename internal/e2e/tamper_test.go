package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

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
			changed := f.row(k)
			changed.body = strings.Replace(changed.body, "INC-4711", "INC-4712", 1)
			f.write(k, changed)
		}},
		{name: "another hash", found: "entry 5 has been changed", forge: func(f forger) {
			f.write(k, row{f.row(k).body, strings.Repeat("0", 64)})
		}},
		{name: "changed and hashed again", found: "entry 6 doesn't follow entry 5", forge: func(f forger) {
			e := lie(f.entry(k))
			audit.Seal(&e, e.PrevHash)
			f.put(e)
		}},
		{name: "dropped", found: "entry 5 is missing", forge: func(f forger) { f.drop(k) }},
		{name: "dropped, the others moved up", found: "entry 5 is missing", forge: func(f forger) {
			f.drop(k)
			f.shift(k+1, -1)
			f.sealEnd()
		}},
		{name: "dropped, the others numbered anew", found: "entry 5 has been changed", forge: func(f forger) {
			for seq := int64(k); seq < n; seq++ {
				e := f.entry(seq + 1)
				e.Seq = seq
				f.put(e)
			}
			f.drop(n)
			f.sealEnd()
		}},
		{name: "swapped", found: "entry 5 is missing", forge: func(f forger) {
			a, b := f.row(k), f.row(k+1)
			f.write(k, b)
			f.write(k+1, a)
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
			f.write(k+1, f.row(k))
		}},
		{name: "the end cut off", withHead: "the end of the trail is cut off after entry 9", forge: func(f forger) {
			f.drop(n)
			f.end(n-1, f.row(n-1).hash)
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
			f.end(n, prev)
		}},
	}
}

// tenEntries is what a real server leaves after ten entries.
func tenEntries(t *testing.T) kept {
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
	return keep(t, s)
}

func TestPromise09TheTrailIsTamperEvident(t *testing.T) {
	left := tenEntries(t)
	head := ""
	for _, tc := range forgeries() { // the first one is untouched and gives the head
		t.Run(tc.name, func(t *testing.T) {
			sam := newCtl(t, forged(t, left, tc.forge).start(t).http, "sam")
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
	testenv.OnlySQLite(t, "the end of a table is an item of its own; the trail goes on from that, and verify finds what was changed")
	left := tenEntries(t)
	for name, forge := range map[string]func(f forger){
		"changed":     func(f forger) { f.put(lie(f.entry(10))) },
		"another seq": func(f forger) { f.shift(10, 1) },
		"no JSON":     func(f forger) { f.write(10, row{"x", f.row(10).hash}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := forged(t, left, forge)
			p := s.spawn(t)
			assert.Equal(t, 1, p.wait(t))
			assert.Contains(t, p.logs.String(), "audit")
			assert.NoFileExists(t, filepath.Join(s.dir, "addr"), "it has listened")
		})
	}
}
