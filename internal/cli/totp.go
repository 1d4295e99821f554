package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
)

// maxCodeTries is how often a person is asked again for a code.
const maxCodeTries = 3

// codeFlag is where a script has the code: on standard input, or in BGCTL_TOTP.
// There is no flag for the code itself: command lines can be seen by everybody
// on a machine.
const codeFlag = "totp-stdin"

// givenCode returns the code that a script gives; "" when it gives none.
func (a *app) givenCode(stdin bool) (string, error) {
	text := a.getenv("BGCTL_TOTP")
	if stdin {
		line, err := bufio.NewReader(io.LimitReader(a.Stdin, 64)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		text = line
		if strings.TrimSpace(text) == "" {
			return "", usage("--%s: there is no code on standard input.", codeFlag)
		}
	}
	code := plainCode(text)
	if code == "" {
		return "", nil
	}
	if problem := breakglass.CheckTOTP(code); problem != "" {
		return "", usage("The code of the second factor %s.", problem)
	}
	return code, nil
}

// plainCode drops the white space with which apps show codes.
func plainCode(text string) string { return strings.Join(strings.Fields(text), "") }

// withCode does something that may need a code: with the one that a script
// gives, or asking for one as soon as the server wants it.
func (a *app) withCode(ctx context.Context, stdin bool, do func(code string) error) error {
	code, err := a.givenCode(stdin)
	if err != nil {
		return err
	}
	err = do(code)
	for range maxCodeTries {
		why, wanted := wantsCode(err)
		if !wanted || stdin || !a.canAsk() {
			return err
		}
		if why != "" {
			a.say("%s", show.Safe(why))
		}
		if code, err = a.askCode(ctx); err != nil {
			return err
		}
		err = do(code)
	}
	return err
}

// wantsCode reports whether another code from the caller's authenticator would
// help, and what was wrong with the one before.
func wantsCode(err error) (why string, wanted bool) {
	var e *breakglass.Error
	if !errors.As(err, &e) {
		return "", false
	}
	switch e.Code {
	case breakglass.CodeMFAInvalid:
		return e.Message, true
	case breakglass.CodeMFARequired:
		return "", e.MFA != nil && e.MFA.Enrolled && slices.Contains(e.MFA.Accepts, breakglass.MFAByTOTP)
	}
	return "", false
}

// askCode asks until what is typed has the form of a code.
func (a *app) askCode(ctx context.Context) (string, error) {
	q := a.asker(ctx)
	for {
		text, err := q.ask(q.bold("Code from your authenticator > "))
		if err != nil {
			return "", err
		}
		code := plainCode(text)
		if breakglass.CheckTOTP(code) == "" {
			return code, nil
		}
		a.say("A code has 6 digits.")
	}
}

// explainMFA says what to do about a second factor that is missing.
func (a *app) explainMFA(ex *explanation, e *breakglass.Error) {
	ex.fact("Rule", e.Rule)
	if e.MFA == nil {
		return
	}
	for _, way := range e.MFA.Accepts {
		switch {
		case way == breakglass.MFAByTOTP && !e.MFA.Enrolled:
			ex.do("bgctl mfa enrol")
		case way == breakglass.MFAByTOTP:
			ex.do("on a terminal bgctl asks for the code; a script gives it with --%s or BGCTL_TOTP", codeFlag)
		case way == breakglass.MFAByOIDC:
			ex.do("bgctl login --oidc, with a second factor there, does as well where this server takes its word")
		}
	}
}
