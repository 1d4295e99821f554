package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/audit"
	"breakglass/internal/cli/show"
	"breakglass/internal/problem"
)

type verifyFlags struct {
	file  string
	heads []string
	after string
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that the audit trail is complete and unchanged",
		Long: `Check the whole audit trail: that no entry was changed, dropped, inserted or moved.
It is read from the server, or from a file of JSON lines such as bgctl events -o
json writes and the server's mirror holds. Ends with 1 and names the first bad
entry when something is wrong.

The chain alone doesn't show that its end was cut off. Keep the head that this
command prints, somewhere else, and give it to the next run with --head.`,
		Example: `  bgctl verify
  bgctl verify --head 4711:1c9f…
  bgctl verify --file trail.jsonl
  bgctl events -o json | bgctl verify --file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.verify(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.file, "file", "", "read the trail from `FILE`, - for standard input, and not from the server")
	cmd.Flags().StringArrayVar(&f.heads, "head", nil, "an entry known from before, as `SEQ:HASH`; may be given several times")
	cmd.Flags().StringVar(&f.after, "after", "", "verify only what follows this trusted entry, as `SEQ:HASH`")
	return cmd
}

func (a *app) verify(ctx context.Context, f verifyFlags) error {
	if _, err := a.verifyFormat(f); err != nil {
		return err
	}
	var o audit.Options
	for _, h := range f.heads {
		anchor, err := audit.ParseAnchor(h)
		if err != nil {
			return usage("--head: %s", err.Error())
		}
		o.Heads = append(o.Heads, anchor)
	}
	if f.after != "" {
		anchor, err := audit.ParseAnchor(f.after)
		if err != nil {
			return usage("--after: %s", err.Error())
		}
		o.After = anchor
	}
	res, err := a.verifyTrail(ctx, f.file, o)
	var bad *audit.BadEntry
	if errors.As(err, &bad) {
		return &brokenTrail{bad: bad, verified: res}
	}
	if err != nil {
		return err
	}
	return a.printVerified(res)
}

// verifyFormat finds the format out; a file is verified without a set-up.
func (a *app) verifyFormat(f verifyFlags) (string, error) {
	if f.file != "" && a.flagOutput == "" {
		return "", nil
	}
	return a.format()
}

func (a *app) verifyTrail(ctx context.Context, file string, o audit.Options) (audit.Result, error) {
	switch file {
	case "":
		return a.verifyServer(ctx, o)
	case "-":
		return audit.VerifyStream(a.Stdin, o)
	}
	f, err := os.Open(file)
	if err != nil {
		return audit.Result{}, usage("--file: %s", err.Error())
	}
	defer func() { _ = f.Close() }()
	return audit.VerifyStream(f, o)
}

func (a *app) verifyServer(ctx context.Context, o audit.Options) (audit.Result, error) {
	api, err := a.client()
	if err != nil {
		return audit.Result{}, err
	}
	v := audit.NewVerifier(o)
	var f eventsFlags
	f.filter.After = o.After.Seq
	shown := a.Now()
	err = eachPage(ctx, api, a, f, func(items []json.RawMessage) error {
		for _, raw := range items {
			if err := v.AddJSON(raw); err != nil {
				return err
			}
		}
		if a.err.is && a.Now().Sub(shown) > time.Second {
			shown = a.Now()
			_, _ = fmt.Fprintf(a.Stderr, "\r%d entries", v.Result().Entries)
		}
		return nil
	})
	if a.err.is && v.Result().Entries > 0 {
		_, _ = io.WriteString(a.Stderr, "\r\x1b[K")
	}
	if err != nil {
		return v.Result(), err
	}
	return v.Finish()
}

func (a *app) printVerified(r audit.Result) error {
	if a.json() {
		return a.printJSON(struct {
			Verified       int64     `json:"verified"`
			FirstSeq       int64     `json:"first_seq"`
			LastSeq        int64     `json:"last_seq"`
			FirstTimestamp time.Time `json:"first_timestamp,omitzero"`
			LastTimestamp  time.Time `json:"last_timestamp,omitzero"`
			StepsBack      int64     `json:"clock_steps_back"`
			Head           string    `json:"head"`
		}{r.Entries, r.FirstSeq, r.LastSeq, r.FirstTimestamp, r.LastTimestamp, r.StepsBack, r.Head().String()})
	}
	span, steps := "", ""
	if r.Entries > 0 {
		span = fmt.Sprintf("%d to %d, %s to %s", r.FirstSeq, r.LastSeq, show.Time(r.FirstTimestamp, time.UTC), show.Time(r.LastTimestamp, time.UTC))
	}
	if r.StepsBack > 0 {
		steps = fmt.Sprintf("%d entries are older than the one before, by up to %s (at entry %d): clocks were set", r.StepsBack,
			show.Duration(r.LargestStepBack), r.LargestStepSeq)
	}
	return a.print([]byte(show.Fields(a.out.Palette, a.out.columns, []string{"Verified", "Entries", "Clock", "Head"}, []show.Cell{
		{Text: plural(r.Entries, "entry", "entries") + ", none changed, missing or moved", Style: show.Good}, {Text: span},
		{Text: steps, Style: show.Warn}, {Text: r.Head().String()}})))
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// brokenTrail says that the trail is not what it claims to be.
type brokenTrail struct {
	bad      *audit.BadEntry
	verified audit.Result
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
	ex.fact("Verified", fmt.Sprintf("%s before it, up to %s", plural(e.verified.Entries, "entry", "entries"), e.verified.Head()))
	ex.do("keep this trail as it is, and compare it with a mirror or an earlier copy")
	return ex
}
