package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/cli/signin"
	"breakglass/internal/client"
	"breakglass/internal/problem"
)

// The exit codes of bgctl. Programs rely on them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotAllowed  = 3
	exitConflict    = 4
	exitRateLimited = 5
	exitNotFound    = 6
	exitUnreachable = 7
	exitInterrupted = 130
)

// Codes of problems that arise here and never on the server.
const (
	codeUsage       breakglass.Code = "usage"
	codeUnreachable breakglass.Code = "unreachable"
	codeUnexpected  breakglass.Code = "unexpected_answer"
	codeInterrupted breakglass.Code = "interrupted"
	codeFailed      breakglass.Code = "failed"
)

// usageError is a command line or set-up that can't be used.
type usageError struct {
	message string
	faults  []string // each fault on its own
	now     []string // what to do
}

func (e *usageError) Error() string {
	return strings.Join(append([]string{e.message}, e.faults...), " ")
}

func usage(format string, args ...any) *usageError {
	return &usageError{message: fmt.Sprintf(format, args...)}
}

// notLoggedIn says that there is no token for the server.
type notLoggedIn struct {
	server     string
	emptyToken bool // BGCTL_TOKEN is there, with nothing in it
}

func (e *notLoggedIn) Error() string { return "you are not logged in to " + e.server }

// explanation is an error as a half-awake person needs it: what happened, why,
// what to do now.
type explanation struct {
	exit  int
	what  string
	facts []fact
	now   []string
	// problem is the same for programs.
	problem problem.Problem
}

type fact struct{ name, value string }

func (e *explanation) fact(name, value string) {
	if value != "" {
		e.facts = append(e.facts, fact{name, value})
	}
}

func (e *explanation) do(format string, args ...any) {
	e.now = append(e.now, fmt.Sprintf(format, args...))
}

// explain finds the words and the exit code for an error.
func (a *app) explain(err error) explanation {
	var use *usageError
	var login *notLoggedIn
	var none *noActiveEvent
	var refused *breakglass.Error
	var unreachable *client.UnreachableError
	var unexpected *client.ProtocolError
	var broken *brokenTrail
	var ended *loginEnded
	var provider *signin.Error
	var noAWS *noAWSCredentials
	var awsNo *awsRefused
	var waiting *undecided
	var nothing *notGranted
	switch {
	case errors.As(err, &waiting):
		return waiting.explain()
	case errors.As(err, &nothing):
		return nothing.explain()
	case errors.As(err, &ended):
		e := local(exitNotAllowed, breakglass.CodeUnauthenticated, "Your login to "+ended.server+" has ended.")
		e.fact("Why", ended.why.Error())
		e.do("bgctl login --server %s%s", ended.server, cmp.Or(ended.flags, " --oidc"))
		return e
	case errors.As(err, &noAWS):
		return noAWS.explain()
	case errors.As(err, &awsNo) && errors.As(err, &refused):
		return a.explainAWSRefused(awsNo, refused)
	case errors.As(err, &provider):
		return explainProvider(provider)
	case errors.As(err, &broken):
		return broken.explain()
	case errors.As(err, &use):
		return explainUsage(use)
	case errors.As(err, &login):
		e := local(exitNotAllowed, breakglass.CodeUnauthenticated, "You are not logged in to "+login.server+".")
		if login.emptyToken {
			e.fact("Why", "BGCTL_TOKEN is set but empty: what should have filled it gave nothing")
		}
		e.do("bgctl login --server %s", login.server)
		return e
	case errors.As(err, &none):
		return a.explainNoEvent(none)
	case errors.As(err, &unreachable):
		return explainUnreachable(unreachable)
	case errors.As(err, &unexpected):
		return explainUnexpected(unexpected)
	case errors.As(err, &refused):
		return a.explainRefusal(err, refused)
	case errors.Is(err, context.Canceled):
		return local(exitInterrupted, codeInterrupted, "Interrupted.")
	}
	return local(exitFailure, codeFailed, sentence(err.Error()))
}

func local(exit int, code breakglass.Code, what string) explanation {
	return explanation{exit: exit, what: what, problem: problem.Problem{Type: "about:blank", Title: what, Detail: what, Code: code}}
}

func explainUsage(e *usageError) explanation {
	ex := local(exitUsage, codeUsage, sentence(e.message))
	for _, f := range e.faults {
		ex.fact("", f)
		ex.problem.Detail += " " + f
	}
	ex.now = e.now
	return ex
}

// explainProvider is for failures of an identity provider.
func explainProvider(e *signin.Error) explanation {
	if e.Unreachable {
		ex := local(exitUnreachable, codeUnreachable, sentence(e.Message))
		ex.do("check your network and VPN, and try again shortly")
		ex.do("other ways to log in work without it: `bgctl login --help`")
		return ex
	}
	exit, code := exitFailure, codeFailed
	if e.Code == "access_denied" {
		exit, code = exitNotAllowed, breakglass.CodeUnauthenticated
	}
	ex := local(exit, code, sentence(e.Message))
	if e.Code == "invalid_client" || e.Code == "unauthorized_client" { // RFC 6749, section 5.2
		ex.do("tell whoever runs the server: the provider doesn't take auth.oidc's login.client_id as a public client, one without a secret")
		ex.do("`bgctl login --help` shows the other ways to log in")
	}
	return ex
}

func explainUnreachable(e *client.UnreachableError) explanation {
	ex := local(exitUnreachable, codeUnreachable, "No answer from "+e.Server+".")
	ex.problem.Detail = e.Error()
	ex.fact("Why", e.Why)
	if e.Sent && e.Changes {
		ex.fact("Mind", "the request may have reached the server; `bgctl list` shows what came of it")
	}
	ex.do("check the address (BGCTL_SERVER, --server), your network and VPN")
	ex.do("`curl %s/healthz` answers while the server runs", e.Server)
	return ex
}

func explainUnexpected(e *client.ProtocolError) explanation {
	ex := local(exitFailure, codeUnexpected, "The answer from "+e.Server+" is not breakglassd's.")
	ex.problem.Detail, ex.problem.Status, ex.problem.RequestID = e.Error(), e.Status, e.RequestID
	ex.fact("Why", e.What)
	ex.fact("Request id", e.RequestID)
	if e.Gateway {
		ex.exit = exitUnreachable
		ex.do("something between here and the server (a proxy or load balancer) can't reach it; try again shortly")
		return ex
	}
	ex.do("check the address of the server (BGCTL_SERVER, --server)")
	return ex
}

// report writes the error to standard error: words for a person, or with -o
// json the problem document in one line.
func (a *app) report(e explanation) {
	if a.json() {
		if b, err := json.Marshal(e.problem); err == nil {
			_, err = a.Stderr.Write(append(show.JSON(b), '\n'))
			_ = err // nowhere is left to report it
			return
		}
	}
	columns := a.err.columns
	text := a.err.Paint(show.Bad, "Error:") + " "
	indent := "  "
	lines := []string{show.Safe(e.what)}
	if columns > 20 {
		lines = show.Wrap(lines[0], columns-len("Error: "))
	}
	text += strings.Join(lines, "\n"+indent) + "\n"
	names, values := make([]string, 0, len(e.facts)+1), make([]show.Cell, 0, len(e.facts)+1)
	for _, f := range e.facts {
		names, values = append(names, f.name), append(values, show.Cell{Text: f.value})
	}
	for i, now := range e.now {
		name := ""
		if i == 0 {
			name = "What now"
		}
		names, values = append(names, name), append(values, show.Cell{Text: now})
	}
	for line := range strings.Lines(show.Fields(a.err.Palette, max(columns-len(indent), 0), names, values)) {
		text += indent + strings.TrimRight(line, " \n") + "\n"
	}
	_, err := a.Stderr.Write([]byte(text))
	_ = err // nowhere is left to report it
}

// sentence makes a sentence of an error's text.
func sentence(s string) string {
	if s == "" {
		return "Something failed."
	}
	first, _, _ := strings.Cut(s, " ")
	if c := s[0]; c >= 'a' && c <= 'z' && first != "bgctl" && !strings.Contains(first, "://") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "!") && !strings.HasSuffix(s, "?") {
		s += "."
	}
	return s
}
