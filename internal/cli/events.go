package cli

import (
	"bytes"
	"context"
	"encoding/json"

	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

// pollWait is how long one request waits for news.
const pollWait = 30 * time.Second

type eventsFlags struct {
	filter client.FeedFilter
	since  string
	limit  int
	follow bool
}

func (a *app) eventsCommand() *cobra.Command {
	var f eventsFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Read the audit trail",
		Long: `Read the audit trail, oldest entry first: who did what, refusals included. Only
auditors and reviewers may. With -o json each line is one entry as it is on
record, which bgctl verify --file can check later.`,
		Example: `  bgctl events --since 24h
  bgctl events --event breakglass.denied --invoker alice@example.com
  bgctl events --follow
  bgctl events -o json > trail.jsonl && bgctl verify --file trail.jsonl`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.events(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.filter.After, "after", 0, "only entries after this `SEQ`")
	flags.IntVar(&f.limit, "limit", 0, "at most this many entries (default all)")
	flags.StringVar(&f.filter.Event, "event", "", "only entries of this `TYPE`, such as breakglass.invoked")
	flags.StringVar(&f.filter.Invoker, "invoker", "", "only entries about this `USER`")
	flags.StringVar(&f.filter.Profile, "profile", "", "only entries about this `PROFILE`")
	flags.StringVar(&f.since, "since", "", "only entries from this `TIME` or age on")
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with new entries as they come, until Ctrl-C")
	var types []string
	for _, t := range breakglass.EntryTypes() {
		types = append(types, string(t))
	}
	completeFlag(cmd, "event", words(types...))
	completeFlag(cmd, "profile", a.completeProfiles)
	return cmd
}

func (a *app) events(ctx context.Context, f eventsFlags) error {
	if err := f.check(a.Now()); err != nil {
		return err
	}
	api, err := a.client()
	if err != nil {
		return err
	}
	header := true
	err = eachPage(ctx, api, a, f, func(items []json.RawMessage) error {
		if a.json() {
			return a.printLines(items)
		}
		text, err := a.entryTable(items, header)
		if err != nil {
			return err
		}
		header = false
		return a.print([]byte(text))
	})
	if f.follow && ctx.Err() != nil {
		return nil // Ctrl-C is how following ends
	}
	if err == nil && header && !a.json() {
		a.hint("No entries.")
	}
	return err
}

func (f *eventsFlags) check(now time.Time) error {
	bad := &usageError{message: "This can't be read."}
	var err error
	if f.filter.Since, err = parseInstant(f.since, now); err != nil {
		bad.faults = append(bad.faults, "--since "+err.Error())
	}
	if f.filter.After < 0 {
		bad.faults = append(bad.faults, "--after must not be negative")
	}
	if f.limit < 0 {
		bad.faults = append(bad.faults, "--limit must not be negative")
	}
	if t := f.filter.Event; t != "" && !slices.Contains(breakglass.EntryTypes(), breakglass.EntryType(t)) {
		var names []string
		for _, t := range breakglass.EntryTypes() {
			names = append(names, string(t))
		}
		bad.faults = append(bad.faults, "--event must be one of "+strings.Join(names, ", "))
	}
	if len(bad.faults) > 0 {
		return bad
	}
	return nil
}

// eachPage hands out the trail page by page, to its end or, when following,
// until ctx is done. An empty page is not handed out.
func eachPage(ctx context.Context, api *client.Client, a *app, f eventsFlags, page func([]json.RawMessage) error) error {
	left := f.limit
	for {
		f.filter.Limit = pageSize
		if f.limit > 0 {
			f.filter.Limit = min(pageSize, left)
		}
		items, next, err := api.Feed(ctx, f.filter)
		if err != nil {
			if !f.follow || !canWait(err) || ctx.Err() != nil {
				return err
			}
			if err := a.pause(ctx, err); err != nil {
				return err
			}
			continue
		}
		if len(items) > 0 {
			if err := page(items); err != nil {
				return err
			}
		}
		left -= len(items)
		atEnd := len(items) == 0 && (next == f.filter.After || f.filter.Wait > 0)
		switch {
		case f.limit > 0 && left <= 0, atEnd && !f.follow:
			return nil
		case atEnd && f.filter.Wait == 0:
			f.filter.Wait = pollWait
		}
		f.filter.After = next
	}
}

// pause waits before the server is asked again, however long it is away:
// whoever follows wants to go on.
func (a *app) pause(ctx context.Context, cause error) error {
	a.hint("%s; trying again", show.Safe(cause.Error()))
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// printLines prints each entry as it came, in one line of its own.
func (a *app) printLines(items []json.RawMessage) error {
	var b bytes.Buffer
	for _, raw := range items {
		var line bytes.Buffer
		if err := json.Compact(&line, raw); err != nil {
			return fmt.Errorf("write an entry: %w", err)
		}
		b.Write(show.JSON(line.Bytes()))
		b.WriteByte('\n')
	}
	return a.print(b.Bytes())
}

func (a *app) entryTable(items []json.RawMessage, header bool) (string, error) {
	head := []show.Column{{Title: "SEQ", Least: 5}, {Title: "TIME (UTC)", Least: 19}, {Title: "EVENT", Least: 18}, {Title: "ACTOR", Shrink: true, Least: 12},
		{Title: "PROFILE", Shrink: true}, {Title: "EVENT ID", Least: 16}, {Title: "DETAIL", Shrink: true}}
	rows := make([][]show.Cell, len(items))
	for i, raw := range items {
		var e breakglass.LogEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return "", fmt.Errorf("entry %d of a page can't be read: %w", i+1, err)
		}
		rows[i] = []show.Cell{
			{Text: fmt.Sprint(e.Seq)}, {Text: e.Timestamp.UTC().Format("2006-01-02 15:04:05")}, {Text: string(e.Event), Style: entryStyle(e.Event)},
			{Text: e.Actor}, {Text: e.Profile}, {Text: e.EventID}, {Text: entryDetail(e)},
		}
	}
	lay := show.Rows
	if header {
		lay = show.Table
	}
	return lay(a.out.Palette, a.out.columns, head, rows), nil
}

func entryStyle(t breakglass.EntryType) show.Style {
	switch t {
	case breakglass.EntryDenied, breakglass.EntryCredentialsDenied, breakglass.EntryMFAFailed, breakglass.EntryMFARemoved:
		return show.Warn
	case breakglass.EntryEscalated:
		return show.Bad
	}
	return show.Plain
}

func entryDetail(e breakglass.LogEntry) string {
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	switch e.Event {
	case breakglass.EntryClosed:
		add(e.ClosedReason)
	case breakglass.EntryRequestDenied, breakglass.EntryRequestCancelled:
		add("request " + e.Detail[breakglass.DetailAccessRequestID])
		add(e.ClosedReason)
	case breakglass.EntryRequestEndorsed, breakglass.EntryRequestApproved:
		add("request " + e.Detail[breakglass.DetailAccessRequestID])
		add(e.Detail[breakglass.DetailApprovals])
		add(e.Detail[breakglass.DetailComment])
	case breakglass.EntryRequestCreated, breakglass.EntryRequestExpired:
		add("request " + e.Detail[breakglass.DetailAccessRequestID])
		add(e.Justification)
	case breakglass.EntryDenied, breakglass.EntryCredentialsDenied, breakglass.EntryMFAFailed:
		add(e.Reason)
		add(e.Detail[breakglass.DetailMessage])
		if n := e.Detail[breakglass.DetailSuppressed]; n != "" {
			add("(and " + n + " more)")
		}
	case breakglass.EntryCredentialsIssued:
		add(e.Detail[breakglass.DetailAccessKeyID])
		if by := e.Detail[breakglass.DetailGrantedBy]; by != string(breakglass.LinkBreakglass) {
			add(by)
		}
	default:
		add(string(e.ReasonCode))
		add(e.Justification)
	}
	if e.Invoker != e.Actor && e.Invoker != "" && e.Event != breakglass.EntryExpired {
		add("for " + e.Invoker)
	}
	return strings.Join(parts, ": ")
}
