package cli

import (
	"fmt"
	"time"

	"breakglass/internal/audit"
	"breakglass/internal/cli/show"
	"breakglass/internal/problem"
)

func (a *app) printVerified(r audit.Result, k anchors) error {
	latest := k.latest()
	if a.json() {
		return a.printJSON(struct {
			Verified       int64     `json:"verified"`
			FirstSeq       int64     `json:"first_seq"`
			LastSeq        int64     `json:"last_seq"`
			FirstTimestamp time.Time `json:"first_timestamp,omitzero"`
			LastTimestamp  time.Time `json:"last_timestamp,omitzero"`
			StepsBack      int64     `json:"clock_steps_back"`
			KnownSeq       int64     `json:"known_seq"` // the last entry compared with; 0 for none
			Head           string    `json:"head"`
		}{r.Entries, r.FirstSeq, r.LastSeq, r.FirstTimestamp, r.LastTimestamp, r.StepsBack, latest.Seq, r.Head().String()})
	}
	span, steps, head := "", "", r.Head().String()
	if r.Entries > 0 {
		span = fmt.Sprintf("%d to %d, %s to %s", r.FirstSeq, r.LastSeq, show.Time(r.FirstTimestamp, time.UTC), show.Time(r.LastTimestamp, time.UTC))
	}
	if r.StepsBack > 0 {
		steps = fmt.Sprintf("%d entries are older than the one before, by up to %s (at entry %d): clocks were set", r.StepsBack,
			show.Duration(r.LargestStepBack), r.LargestStepSeq)
	}
	if r.Head().Seq == 0 {
		head = ""
	}
	end := show.Cell{Text: "not compared: entries cut off at the end don't show without a head from before (--head)", Style: show.Warn}
	switch {
	case latest.Seq > 0:
		end = show.Cell{Text: fmt.Sprintf("entry %d is the one known from %s; entries cut off after %d wouldn't show", latest.Seq, k.from(latest), r.Head().Seq)}
	case r.Entries == 0:
		end = show.Cell{}
	}
	return a.print([]byte(show.Fields(a.out.Palette, a.out.columns, []string{"Verified", "Entries", "Before it", "End", "Clock", "Head"}, []show.Cell{
		{Text: k.verdict(r), Style: show.Good}, {Text: span}, {Text: k.before()}, end, {Text: steps, Style: show.Warn}, {Text: head}})))
}

// verdict says what is certain without any knowledge from before.
func (k anchors) verdict(r audit.Result) string {
	switch {
	case r.Entries == 0 && k.After.Seq > 0:
		return fmt.Sprintf("nothing follows entry %d", k.After.Seq)
	case r.Entries == 0:
		return "the trail is empty: there is nothing to verify"
	case r.Entries == 1:
		return "1 entry, not changed"
	}
	return plural(r.Entries, "entry", "entries") + ": none changed or moved, none missing between the first and the last"
}

// before says what --after leaves out.
func (k anchors) before() string {
	if k.After.Seq == 0 {
		return ""
	}
	return fmt.Sprintf("not looked at: --after trusts everything up to entry %d", k.After.Seq)
}

func (k anchors) from(a audit.Anchor) string {
	if k.remembered.Seq == a.Seq {
		return "the run of " + show.Time(k.remembered.At, time.UTC)
	}
	return "--head"
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// brokenTrail says that the trail is not what it claims to be.
type brokenTrail struct {
	bad        *audit.BadEntry
	verified   audit.Result
	remembered rememberedHead // zero Seq when none took part
}

func (e *brokenTrail) Error() string { return e.bad.Error() }

func (e *brokenTrail) explain() explanation {
	ex := local(exitFailure, "audit_trail_broken", "The audit trail is not intact.")
	ex.problem = problem.Problem{Type: "about:blank", Title: ex.what, Detail: e.bad.Error(), Code: "audit_trail_broken"}
	ex.fact("First bad", e.bad.Message)
	if e.bad.Line > 0 {
		ex.fact("Line", fmt.Sprint(e.bad.Line))
	}
	ex.fact("Expected", e.bad.Expected)
	ex.fact("Got", e.bad.Got)
	if r := e.remembered; e.bad.Check == audit.CheckHead && r.Seq > 0 && (e.bad.Expected == r.Hash || e.bad.Expected == r.anchor().String()) {
		ex.fact("Known from", "the run of "+show.Time(r.At, time.UTC)+", which is remembered in "+r.path)
		ex.do("if this server was set up anew on purpose, remove that file; --no-remember goes without it once")
	}
	verified := plural(e.verified.Entries, "entry", "entries")
	if head := e.verified.Head(); head.Seq > 0 {
		verified += ", up to " + head.String()
	}
	ex.fact("Verified", verified)
	ex.do("keep this trail as it is, and compare it with a mirror or an earlier copy")
	return ex
}
