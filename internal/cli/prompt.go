package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

// asker asks questions on a terminal.
type asker struct {
	a     *app
	lines chan line
	ctx   context.Context
}

type line struct {
	text string
	err  error
}

// asker starts reading the terminal. A read can't be interrupted, so it has a
// goroutine of its own and Ctrl-C needn't wait for the next line.
// There is one for the whole run: another would miss what this one has read.
func (a *app) asker(ctx context.Context) *asker {
	if a.questions != nil {
		return a.questions
	}
	q := &asker{a: a, lines: make(chan line), ctx: ctx}
	a.questions = q
	go func() {
		in := bufio.NewReaderSize(a.Stdin, 8<<10)
		for {
			text, err := in.ReadString('\n')
			select {
			case q.lines <- line{strings.TrimRight(text, "\r\n"), err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return q
}

// ask shows a prompt and returns the line that was typed.
func (q *asker) ask(prompt string) (string, error) {
	if _, err := io.WriteString(q.a.Stderr, prompt); err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	select {
	case <-q.ctx.Done():
		_, _ = io.WriteString(q.a.Stderr, "\n")
		return "", q.ctx.Err()
	case l := <-q.lines:
		if l.err != nil && (l.text == "" || !errors.Is(l.err, io.EOF)) {
			_, _ = io.WriteString(q.a.Stderr, "\n")
			return "", usage("Nothing was entered, so nothing was asked for.")
		}
		return l.text, nil
	}
}

func (q *asker) bold(s string) string { return q.a.err.Paint(show.Bold, s) }

// choose asks for one of the options, by number or by name.
func (q *asker) choose(title string, options, notes []string) (string, error) {
	q.a.say("%s", title)
	for i, o := range options {
		note := ""
		if notes[i] != "" {
			note = "  " + q.a.err.Paint(show.Dim, show.Safe(notes[i]))
		}
		_, _ = fmt.Fprintf(q.a.Stderr, "  %2d  %s%s\n", i+1, show.Safe(o), note)
	}
	for {
		text, err := q.ask(q.bold("> "))
		if err != nil {
			return "", err
		}
		text = strings.TrimSpace(text)
		if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(options) {
			return options[n-1], nil
		}
		for _, o := range options {
			if strings.EqualFold(o, text) {
				return o, nil
			}
		}
		q.a.say("Enter a number from 1 to %d, or one of the names.", len(options))
	}
}

// askInvocation asks for what is missing.
func (a *app) askInvocation(ctx context.Context, api *client.Client, f *invokeFlags) error {
	q := a.asker(ctx)
	offers := a.offersFor(ctx, api)
	if f.profile == "" {
		if len(offers) == 0 {
			return usage("Name the profile: there is none that you may invoke now, or the list can't be had.")
		}
		names, notes := make([]string, len(offers)), make([]string, len(offers))
		for i, o := range offers {
			names[i], notes[i] = o.Profile, strings.TrimSpace(o.Region+" up to "+show.Seconds(o.MaxDurationSeconds))
		}
		var err error
		if f.profile, err = q.choose("Which profile?", names, notes); err != nil {
			return err
		}
	}
	if f.invoker == "" && f.key == "" { // a key may stand for that very event
		if err := alreadyActive(ctx, api, f.profile); err != nil {
			return err
		}
	}
	offer := offerOf(offers, f.profile)
	if err := q.askReason(f, offer); err != nil {
		return err
	}
	if f.justification == "" {
		var err error
		if f.justification, err = q.askJustification("What is going on? This is on record and the security team reads it"); err != nil {
			return err
		}
	}
	return q.askTicket(f, offer)
}

// offersFor lists what may be invoked, to make the questions better. They are
// asked all the same when the list can't be had quickly.
func (a *app) offersFor(ctx context.Context, api *client.Client) []client.ProfileOffer {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	offers, err := api.Profiles(ctx)
	if err != nil {
		return nil
	}
	return offers
}

func offerOf(offers []client.ProfileOffer, profile string) client.ProfileOffer {
	for _, o := range offers {
		if o.Profile == profile {
			return o
		}
	}
	return client.ProfileOffer{}
}

func (q *asker) askReason(f *invokeFlags, offer client.ProfileOffer) error {
	if f.reason != "" {
		return nil
	}
	meaning := map[breakglass.ReasonCode]string{
		breakglass.ReasonIncident: "something is broken now", breakglass.ReasonMaintenance: "planned work that can't wait",
		breakglass.ReasonSecurity: "an attack, a leak, a suspicion", breakglass.ReasonRecovery: "restoring data or service",
		breakglass.ReasonOther: "none of these",
	}
	codes := offer.ReasonCodes
	if len(codes) == 0 {
		codes = breakglass.ReasonCodes()
	}
	names, notes := make([]string, len(codes)), make([]string, len(codes))
	for i, c := range codes {
		names[i], notes[i] = string(c), meaning[c]
	}
	var err error
	f.reason, err = q.choose("Why?", names, notes)
	return err
}

// askJustification asks until the text will do. What was typed is kept, so a
// text that is too short is continued, not typed again.
func (q *asker) askJustification(question string) (string, error) {
	q.a.say("%s (%d to %d characters).", question, breakglass.MinJustification, breakglass.MaxJustification)
	text := ""
	for {
		prompt := "> "
		if n := utf8.RuneCountInString(text); n > 0 {
			prompt = fmt.Sprintf("%d more > ", breakglass.MinJustification-n)
		}
		more, err := q.ask(q.bold(prompt))
		if err != nil {
			return "", err
		}
		joined := strings.TrimSpace(text + " " + strings.TrimSpace(more))
		problem := breakglass.CheckJustification(joined)
		if problem == "" {
			return joined, nil
		}
		if n := utf8.RuneCountInString(joined); n < breakglass.MinJustification && breakglass.CheckClosedReason(joined) == "" {
			text = joined
			q.a.say("It %s. Go on: what you type next is added to it.", problem)
			continue
		}
		q.a.say("It %s.", problem)
	}
}

// askWhy asks for the reason of an end, until one will do.
func (q *asker) askWhy(question string) (string, error) {
	for {
		text, err := q.ask(q.bold(question + " > "))
		if err != nil {
			return "", err
		}
		problem := breakglass.CheckClosedReason(text)
		if problem == "" {
			return text, nil
		}
		q.a.say("It %s.", problem)
	}
}

// agrees asks a question that only yes answers.
func (q *asker) agrees(question string) (bool, error) {
	text, err := q.ask(q.bold(question + " [y/N] "))
	if err != nil {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(text))
	return answer == "y" || answer == "yes", nil
}

func (q *asker) askTicket(f *invokeFlags, offer client.ProfileOffer) error {
	if f.ticket != "" || !offer.TicketRequired {
		return nil
	}
	for {
		text, err := q.ask(q.bold("Ticket (policy wants one) > "))
		if err != nil {
			return err
		}
		if f.ticket = strings.TrimSpace(text); f.ticket != "" {
			return nil
		}
	}
}
