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
	"breakglass/internal/breakglass"
	"breakglass/internal/client"
)

type verifyFlags struct {
	file       string
	heads      []string
	after      string
	noRemember bool
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that the audit trail is unchanged and has no gaps",
		Long: `Check the whole audit trail: that no entry was changed, dropped, inserted or moved.
It is read from the server, or from a file of JSON lines such as bgctl events -o
json writes and the server's mirror holds. Ends with 1 and names the first bad
entry when something is wrong.

The chain alone doesn't show that its end was cut off: that takes an entry known
from before. bgctl remembers the head of each server that it verified and the
next run compares the trail with it. Better still, keep the head that is printed
on another machine, and give it to the next run with --head.`,
		Example: `  bgctl verify
  bgctl verify --head 4711:1c9f…
  bgctl verify --after 4711:1c9f…
  bgctl verify --file trail.jsonl
  bgctl events -o json | bgctl verify --file -`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.verify(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.file, "file", "", "read the trail from `FILE`, - for standard input, and not from the server")
	cmd.Flags().StringArrayVar(&f.heads, "head", nil, "an entry known from before, as `SEQ:HASH`; may be given several times")
	cmd.Flags().StringVar(&f.after, "after", "", "verify only what follows this trusted entry, as `SEQ:HASH`")
	cmd.Flags().BoolVar(&f.noRemember, "no-remember", false, "neither compare with the head of the last run nor remember this one")
	return cmd
}

// known are the entries with which a trail is compared, and where from.
type anchors struct {
	audit.Options
	remembered rememberedHead // zero Seq when none takes part
}

// latest is the last entry with which the trail is compared; zero when none.
func (k anchors) latest() (latest audit.Anchor) {
	for _, h := range k.Heads {
		if h.Seq > latest.Seq {
			latest = h
		}
	}
	return latest
}

func (a *app) verify(ctx context.Context, f verifyFlags) error {
	if _, err := a.verifyFormat(f); err != nil {
		return err
	}
	k, err := f.known()
	if err != nil {
		return err
	}
	if f.file != "" {
		return a.verifyFile(f.file, k)
	}
	api, err := a.client()
	if err != nil {
		return err
	}
	s, err := a.settings()
	if err != nil {
		return err
	}
	var memory rememberedHead
	if !f.noRemember && s.StateDir != "" {
		if memory, err = recallHead(s.StateDir, s.Server); err != nil {
			return err
		}
		if memory.Seq > 0 && memory.Seq >= k.After.Seq {
			k.remembered, k.Heads = memory, append(k.Heads, memory.anchor())
		}
	}
	res, err := a.verifyServer(ctx, api, k.Options)
	if err := a.judged(k, res, err); err != nil {
		return err
	}
	if memory.path != "" && res.Head().Seq > 0 {
		if err := memory.keep(res.Head(), a.Now()); err != nil {
			a.hint("The next run can't compare with this one: %s", err.Error())
		}
	}
	return a.printVerified(res, k)
}

// known reads the anchors that were given.
func (f verifyFlags) known() (k anchors, err error) {
	for _, h := range f.heads {
		anchor, err := audit.ParseAnchor(h)
		if err != nil {
			return k, usage("--head: %s", err.Error())
		}
		k.Heads = append(k.Heads, anchor)
	}
	if f.after != "" {
		if k.After, err = audit.ParseAnchor(f.after); err != nil {
			return k, usage("--after: %s", err.Error())
		}
	}
	return k, nil
}

// judged makes words of what a verification found; nil when the trail is good.
func (a *app) judged(k anchors, res audit.Result, err error) error {
	var bad *audit.BadEntry
	if errors.As(err, &bad) {
		return &brokenTrail{bad: bad, verified: res, remembered: k.remembered}
	}
	return err
}

// verifyFormat finds the format out; a file is verified without a set-up.
func (a *app) verifyFormat(f verifyFlags) (string, error) {
	if f.file != "" && a.flagOutput == "" {
		return "", nil
	}
	return a.format()
}

func (a *app) verifyFile(file string, k anchors) error {
	in := a.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return usage("--file: %s", err.Error())
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	res, err := audit.VerifyStream(in, k.Options)
	if err := a.judged(k, res, err); err != nil {
		return err
	}
	if res.Entries == 0 && k.After.Seq == 0 {
		return errors.New("nothing was verified: the input holds no entries")
	}
	return a.printVerified(res, k)
}

func (a *app) verifyServer(ctx context.Context, api *client.Client, o audit.Options) (audit.Result, error) {
	v := audit.NewVerifier(o)
	if o.After.Seq > 0 {
		if err := confirm(ctx, api, o.After); err != nil {
			return v.Result(), err
		}
	}
	var f eventsFlags
	f.filter.After = o.After.Seq
	shown := a.Now()
	err := eachPage(ctx, api, a, f, func(items []json.RawMessage) error {
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

// confirm checks that a trusted entry is in the server's trail: what follows
// it says nothing when nothing follows.
func confirm(ctx context.Context, api *client.Client, trusted audit.Anchor) error {
	cutOff := &audit.BadEntry{Check: audit.CheckHead, Seq: trusted.Seq, Expected: trusted.String(), Got: "the end of the trail",
		Message: fmt.Sprintf("the end of the trail is cut off before entry %d, which is known to exist", trusted.Seq)}
	items, _, err := api.Feed(ctx, client.FeedFilter{After: trusted.Seq - 1, Limit: 1})
	var refused *breakglass.Error
	if errors.As(err, &refused) && refused.Code == breakglass.CodeInvalidRequest {
		return cutOff // the server has fewer entries still
	}
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return cutOff
	}
	v := audit.NewVerifier(audit.Options{Part: true, Heads: []audit.Anchor{trusted}})
	if err := v.AddJSON(items[0]); err != nil {
		return err
	}
	_, err = v.Finish()
	return err
}
