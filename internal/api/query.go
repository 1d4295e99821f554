package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// Limits of a page, in items.
const (
	minLimit     = 1
	maxLimit     = 1000
	defaultLimit = 100
)

// maxParameters bounds the work on a query; no call has nearly as many.
const maxParameters = 100

// query is the query of a request: each parameter at most once, unknown ones
// refused.
type query struct {
	known  []string
	values []parameter
	faults *faults
}

type parameter struct{ name, value string }

// query parses the query string.
func (c *call) query(f *faults, known ...string) query {
	return parseQuery(c.r.URL.RawQuery, f, known...)
}

// parseQuery reads name=value pairs as url.ParseQuery does, but without a map:
// polls ask often, and have one or two parameters.
func parseQuery(raw string, f *faults, known ...string) query {
	q := query{known: known, faults: f}
	if strings.Count(raw, "&") >= maxParameters {
		f.add("query", "has too many parameters")
		return q
	}
	repeated := map[string]bool(nil)
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, ok := unescape(pair)
		_, have := q.get(name)
		switch {
		case !ok:
			if !f.has("query") {
				f.add("query", "is not well-formed: percent-encode it")
			}
		case !slices.Contains(known, name):
			f.add(shown(name), "is not a parameter of this call"+hint(known))
		case have && !repeated[name]:
			f.add(name, "must be given once")
			if repeated == nil {
				repeated = map[string]bool{}
			}
			repeated[name] = true
		case !have:
			q.values = append(q.values, parameter{name, value})
		}
	}
	for name := range repeated {
		q.values = slices.DeleteFunc(q.values, func(p parameter) bool { return p.name == name })
	}
	return q
}

// unescape splits a pair; a semicolon is no separator, and refused because it
// once was one.
func unescape(pair string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(pair, "=")
	name, err := url.QueryUnescape(name)
	if err != nil || strings.Contains(pair, ";") {
		return "", "", false
	}
	value, err = url.QueryUnescape(value)
	return name, value, err == nil
}

func (q query) get(name string) (value string, ok bool) {
	for _, p := range q.values {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

func hint(known []string) string {
	if len(known) == 0 {
		return "; it has none"
	}
	return "; it has " + strings.Join(known, ", ")
}

// text returns a parameter that passes the check; empty when it is absent.
func (q query) text(name string, check func(string) string) string {
	v, ok := q.get(name)
	if !ok {
		return ""
	}
	if problem := check(v); problem != "" {
		q.faults.add(name, problem)
		return ""
	}
	return v
}

// person returns the canonical form of a parameter that names a person.
func (q query) person(name string) string {
	return breakglass.Canonical(q.text(name, breakglass.CheckPersonName))
}

// number returns a whole number from lowest to highest.
func (q query) number(name string, absent, lowest, highest int64) int64 {
	v, ok := q.get(name)
	if !ok {
		return absent
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || !isDigits(strings.TrimPrefix(v, "-")) || n < lowest || n > highest {
		q.faults.add(name, "must be a whole number from "+itoa(lowest)+" to "+itoa(highest))
		return absent
	}
	return n
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// flag returns true or false, false when it is absent.
func (q query) flag(name string) bool {
	v, ok := q.get(name)
	if ok && v != "true" && v != "false" {
		q.faults.add(name, "must be true or false")
	}
	return v == "true"
}

// time returns an instant as the stores compare it: in UTC and whole
// microseconds, rounded up. Stored times are whole microseconds, so that keeps
// the meaning of both ≥ and <. Nothing happened before 1970: earlier instants
// mean that one, which unlike the zero time is not taken for "absent".
func (q query) time(name string) time.Time {
	v, ok := q.get(name)
	if !ok {
		return time.Time{}
	}
	t, ok := parseTime(v)
	if !ok {
		q.faults.add(name, "must be a time as in RFC 3339, such as 2026-03-01T02:04:05Z")
		return time.Time{}
	}
	if epoch := time.Unix(0, 0).UTC(); t.Before(epoch) {
		return epoch
	}
	return t.Add(time.Microsecond - time.Nanosecond).Truncate(time.Microsecond)
}

// parseTime reads a time of RFC 3339. time.Parse takes more than that: hours
// of one digit, a comma before the fraction, offsets beyond a day.
func parseTime(s string) (time.Time, bool) {
	const form = "0000-00-00T00:00:00"
	s = strings.ToUpper(s) // t and z mean the same (section 5.6)
	if len(s) < len(form)+1 {
		return time.Time{}, false
	}
	for i := range len(form) {
		if digit := s[i] >= '0' && s[i] <= '9'; digit != (form[i] == '0') {
			return time.Time{}, false
		}
	}
	zone := strings.TrimLeft(s[len(form):], ".0123456789")
	if len(zone) == len("+00:00") && (zone[1:3] > "23" || zone[4:] > "59") || strings.Contains(s, ",") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err == nil
}

// wait returns how long to wait for something new: whole seconds such as 30s,
// from 1s to 60s; zero when it is absent.
func (q query) wait(name string) time.Duration {
	v, ok := q.get(name)
	if !ok {
		return 0
	}
	if v == "1m" || v == "1m0s" { // as Go prints 60s
		v = "60s"
	}
	digits := strings.TrimSuffix(v, "s")
	n, err := strconv.Atoi(digits)
	if digits == v || err != nil || !isDigits(digits) || digits[0] == '0' || n > 60 {
		q.faults.add(name, "must be whole seconds from 1s to 60s, such as 30s")
		return 0
	}
	return time.Duration(n) * time.Second
}

// next is the Link header (RFC 8288) to the page that begins at a cursor: a
// path reference that keeps the other parameters.
func (q query) next(path, cursorName, cursor string) string {
	var b strings.Builder
	b.Grow(128)
	b.WriteByte('<')
	b.WriteString(path)
	b.WriteByte('?')
	for _, name := range q.known {
		if v, ok := q.get(name); ok && name != cursorName {
			b.WriteString(name)
			b.WriteByte('=')
			b.WriteString(url.QueryEscape(v))
			b.WriteByte('&')
		}
	}
	b.WriteString(cursorName)
	b.WriteByte('=')
	b.WriteString(url.QueryEscape(cursor))
	b.WriteString(`>; rel="next"`)
	return b.String()
}

// checkStatus returns what is wrong with a state of an event, or "".
func checkStatus(s string) string { return oneOf(breakglass.Status(s), breakglass.Statuses()) }

// checkRequestStatus returns what is wrong with a state of an access request, or "".
func checkRequestStatus(s string) string {
	return oneOf(breakglass.RequestStatus(s), breakglass.RequestStatuses())
}

// checkEntryType returns what is wrong with a type of audit entry, or "".
func checkEntryType(s string) string { return oneOf(breakglass.EntryType(s), breakglass.EntryTypes()) }

func checkReasonCode(s string) string { return breakglass.CheckReasonCode(breakglass.ReasonCode(s)) }

func oneOf[T ~string](v T, allowed []T) string {
	if slices.Contains(allowed, v) {
		return ""
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return "must be one of " + strings.Join(words, ", ")
}
