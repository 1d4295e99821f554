package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

const (
	// completionTimeout bounds what pressing the tab key may take.
	completionTimeout = time.Second
	// completionAge is how long the names found are offered again without asking.
	completionAge = 30 * time.Second
)

type completion = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// strictCompletion lets cobra make the completion command and has it refuse a
// shell that it doesn't know. By itself it would print its help and succeed.
func (a *app) strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd(a.Args...)
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Args = nil
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return &usageError{message: "There is no completion for " + quote(args[0]) + ": name bash, zsh, fish or powershell.",
				now: []string{"source <(bgctl completion bash)"}}
		}
	}
}

// words completes to fixed words.
func words(list ...string) completion {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return startingWith(list, prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

func completeFlag(cmd *cobra.Command, flag string, c completion) {
	if err := cmd.RegisterFlagCompletionFunc(flag, c); err != nil {
		panic(err) // the flag doesn't exist: a mistake in this package
	}
}

// startingWith picks the candidates with the prefix. A candidate may carry a
// description behind a tab. Names that a shell could take for something else
// are left out: they come from the server, and end up on a command line.
func startingWith(list []string, prefix string) (out []string) {
	for _, s := range list {
		name, _, _ := strings.Cut(s, "\t")
		if strings.HasPrefix(name, prefix) && quote(name) == name {
			out = append(out, s)
		}
	}
	return out
}

// known is what completion keeps between two presses of the tab key.
type known struct {
	At    time.Time
	Names []string
}

// remembered returns names from the cache, or from ask when they are too old.
// Whatever goes wrong means that there is nothing to offer.
func (a *app) remembered(ctx context.Context, what string, ask func(context.Context, *client.Client) ([]string, error)) []string {
	cache := a.cache()
	var k known
	if cache.Load("completion", what, &k) {
		if age := a.Now().Sub(k.At); age >= 0 && age < completionAge {
			return k.Names
		}
	}
	api, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	names, err := ask(ctx, api)
	if err != nil {
		return nil
	}
	_ = cache.Save("completion", what, known{At: a.Now(), Names: names})
	return names
}

func (a *app) completeProfiles(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && (cmd.Name() == "invoke" || cmd.Name() == "request") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := a.remembered(cmd.Context(), "profiles", func(ctx context.Context, api *client.Client) ([]string, error) {
		offers, err := api.Profiles(ctx)
		var names []string
		for _, o := range offers {
			names = append(names, describe(o.Profile, o.Region+" up to "+show.Seconds(o.MaxDurationSeconds)))
		}
		return names, err
	})
	return startingWith(names, prefix), cobra.ShellCompDirectiveNoFileComp
}

// completeActive offers the caller's active events, by profile and by id.
func (a *app) completeActive(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := a.remembered(cmd.Context(), "active", func(ctx context.Context, api *client.Client) ([]string, error) {
		me, err := api.Whoami(ctx)
		if err != nil {
			return nil, err
		}
		names, ids, err := activeNames(ctx, api, me)
		return slices.Concat(names, ids), err
	})
	return startingWith(names, prefix), cobra.ShellCompDirectiveNoFileComp
}

func activeNames(ctx context.Context, api *client.Client, me client.Whoami) (profiles, ids []string, err error) {
	events, err := activeEvents(ctx, api, me, "")
	for _, ev := range events {
		left := show.Seconds(ev.RemainingSeconds) + " left"
		profiles, ids = append(profiles, describe(ev.Profile, left)), append(ids, describe(ev.ID, ev.Profile+", "+left))
	}
	return profiles, ids, err
}

// completeAccess offers what may give credentials: the profiles of active events
// and approved requests first, then those that can be invoked, and the ids of
// the events. After -- it leaves the command to the shell.
func (a *app) completeAccess(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		if cmd.Name() == "exec" {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := a.remembered(cmd.Context(), "access", func(ctx context.Context, api *client.Client) ([]string, error) {
		me, err := api.Whoami(ctx)
		if err != nil {
			return nil, err
		}
		names, ids, err := activeNames(ctx, api, me)
		if err != nil {
			return nil, err
		}
		approved, _, err := api.Requests(ctx, client.RequestFilter{Requester: me.Name, Status: string(breakglass.RequestApproved), Limit: 100})
		if err != nil {
			return nil, err
		}
		for _, r := range approved {
			names = append(names, describe(r.Profile, "approved, "+show.Seconds(r.RemainingSeconds)+" left"))
		}
		offers, err := api.Profiles(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range offers {
			names = append(names, describe(o.Profile, o.Region))
		}
		return slices.Concat(oncePerName(names), ids), nil
	})
	return startingWith(names, prefix), cobra.ShellCompDirectiveNoFileComp
}

// oncePerName keeps the first candidate of each name.
func oncePerName(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		name, _, _ := strings.Cut(s, "\t")
		if !seen[name] {
			out = append(out, s)
		}
		seen[name] = true
	}
	return out
}

// completeRequests offers the ids of access requests that match.
func (a *app) completeRequests(f client.RequestFilter) completion {
	what := "requests"
	if f.Decidable {
		what = "decidable"
	}
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := a.remembered(cmd.Context(), what, func(ctx context.Context, api *client.Client) ([]string, error) {
			f.Limit = 100
			return requestNames(ctx, api, f)
		})
		return startingWith(names, prefix), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeMyRequests offers the ids of the caller's open requests.
func (a *app) completeMyRequests(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := a.remembered(cmd.Context(), "my requests", func(ctx context.Context, api *client.Client) ([]string, error) {
		me, err := api.Whoami(ctx)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, status := range []breakglass.RequestStatus{breakglass.RequestPending, breakglass.RequestApproved} {
			some, err := requestNames(ctx, api, client.RequestFilter{Requester: me.Name, Status: string(status), Limit: 100})
			if err != nil {
				return nil, err
			}
			names = append(names, some...)
		}
		return names, nil
	})
	return startingWith(names, prefix), cobra.ShellCompDirectiveNoFileComp
}

func requestNames(ctx context.Context, api *client.Client, f client.RequestFilter) ([]string, error) {
	list, _, err := api.Requests(ctx, f)
	var names []string
	for _, r := range list {
		names = append(names, describe(r.ID, r.Requester+" on "+r.Profile+", "+string(r.Status)))
	}
	return names, err
}

// describe adds a description to a candidate, in the form that cobra reads.
func describe(name, description string) string {
	return show.Safe(name) + "\t" + show.Safe(strings.TrimSpace(description))
}
