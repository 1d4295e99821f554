package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/awsproof"
	"breakglass/internal/cli/settings"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

// awsFlags are the flags of a login with an AWS identity.
type awsFlags struct {
	aws             bool
	profile, region string
}

func (f awsFlags) asked() bool { return f.aws || f.profile != "" || f.region != "" }

// credentialsPatience bounds how long AWS credentials may take. Where there are
// none at all the SDK asks for those of an instance before it gives up.
const credentialsPatience = 45 * time.Second

// noAWSCredentials says that AWS's own tools would find no identity either.
type noAWSCredentials struct {
	profile string
	cause   error
}

func (e *noAWSCredentials) Error() string { return e.cause.Error() }

func (e *noAWSCredentials) Unwrap() error { return e.cause }

func (e *noAWSCredentials) explain() explanation {
	ex := local(exitFailure, codeFailed, "There are no AWS credentials to log in with.")
	ex.problem.Detail = sentence(e.Error())
	ex.fact("Why", e.Error())
	ex.do("aws sso login%s, where the profile uses single sign-on", profileFlag(e.profile))
	ex.do("`aws sts get-caller-identity%s` shows who AWS takes you for", profileFlag(e.profile))
	return ex
}

// awsRefused says that the server didn't take the AWS identity. It is no matter
// of a token.
type awsRefused struct {
	profile string
	again   string // the flags of this login
	cause   error
}

func (e *awsRefused) Error() string { return e.cause.Error() }

func (e *awsRefused) Unwrap() error { return e.cause }

func (a *app) explainAWSRefused(e *awsRefused, refused *breakglass.Error) explanation {
	ex := a.explainRefusal(e.cause, refused)
	ex.facts, ex.now = nil, nil
	s, err := a.settings()
	if err != nil {
		return ex
	}
	// The server's sentence names the setting; another identity wouldn't help.
	if strings.Contains(refused.Message, "auth.aws.server_names") {
		ex.do("bgctl login --server https://NAME%s, with the name by which the server knows itself", e.again)
		ex.do("if this is one of its names, whoever runs the server can add it to auth.aws.server_names: %s", hostOf(s.Server))
		return ex
	}
	ex.do("`aws sts get-caller-identity%s` shows who AWS takes you for", profileFlag(e.profile))
	ex.do("bgctl login --server %s --aws --profile NAME, with another profile", s.Server)
	ex.do("%s", otherWays)
	return ex
}

func profileFlag(profile string) string {
	if profile == "" {
		return ""
	}
	return " --profile " + quote(profile)
}

// loginAWS proves an AWS identity and keeps the session that the server gives
// for it.
func (a *app) loginAWS(ctx context.Context, s settings.Settings, f awsFlags) (client.Whoami, error) {
	login := settings.AWS{ID: client.NewIdempotencyKey(), Profile: f.profile, Region: f.region}
	if login.Profile == "" && a.getenv("AWS_ACCESS_KEY_ID") == "" {
		login.Profile = a.getenv("AWS_PROFILE") // so that it can be renewed from another shell
	}
	// Before anybody is asked for an MFA code that would be for nothing.
	open, err := a.newClient(s, "")
	if err != nil {
		return client.Whoami{}, err
	}
	if _, err := challengeAWS(ctx, open); err != nil {
		return client.Whoami{}, err
	}
	got, err := a.proveAWS(ctx, s, login)
	if err != nil {
		return client.Whoami{}, err
	}
	api, err := a.newClient(s, got.Token)
	if err != nil {
		return client.Whoami{}, err
	}
	me, err := api.Whoami(ctx)
	if err != nil {
		return client.Whoami{}, err
	}
	login.Token, login.Expires = got.Token, got.ExpiresAt
	a.hint("This login lasts until %s; bgctl renews it while your AWS credentials are valid.", a.when(got.ExpiresAt))
	return me, a.storeLogin(ctx, s, settings.Login{Name: me.Name, AWS: &login})
}

// proveAWS is the exchange itself. The credentials come first: getting them may
// take longer than a nonce lives.
func (a *app) proveAWS(ctx context.Context, s settings.Settings, login settings.AWS) (client.Session, error) {
	api, err := a.newClient(s, "")
	if err != nil {
		return client.Session{}, err
	}
	limited, cancel := context.WithTimeout(ctx, credentialsPatience)
	defer cancel()
	id, err := awsproof.Find(limited, login.Profile, a.askMFA)
	if err != nil {
		if ctx.Err() != nil {
			return client.Session{}, ctx.Err()
		}
		return client.Session{}, &noAWSCredentials{login.Profile, err}
	}
	ch, err := challengeAWS(ctx, api)
	if err != nil {
		return client.Session{}, err
	}
	region, err := id.Region(login.Region, ch.Regions)
	if err != nil {
		return client.Session{}, usage("%s", sentence(show.Safe(err.Error())))
	}
	proof, err := id.Prove(ctx, api.Host(), ch.Nonce, region, a.Now())
	if err != nil {
		return client.Session{}, err
	}
	got, err := api.LoginAWS(ctx, proof)
	var refused *breakglass.Error
	if errors.As(err, &refused) && (refused.Code == breakglass.CodeUnauthenticated || refused.Code == breakglass.CodeForbidden) {
		return client.Session{}, &awsRefused{login.Profile, awsAgain(login), err}
	}
	return got, err
}

// challengeAWS asks the server what to sign.
func challengeAWS(ctx context.Context, api *client.Client) (client.AWSChallenge, error) {
	ch, err := api.AWSChallenge(ctx)
	var refused *breakglass.Error
	if errors.As(err, &refused) && refused.Code == breakglass.CodeNotFound {
		return ch, &usageError{message: api.Server() + " has no login with AWS identities.", now: []string{otherWays}}
	}
	return ch, err
}

// askMFA asks for the code that a profile with mfa_serial needs.
func (a *app) askMFA() (string, error) {
	if !a.canAsk() {
		return "", errors.New("the AWS profile needs an MFA code, and there is no terminal to ask for it")
	}
	_, _ = io.WriteString(a.Stderr, "MFA code of the AWS profile: ")
	line, err := bufio.NewReader(io.LimitReader(a.Stdin, 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

// awsSession gives the token of a login with an AWS identity, and a new one
// when that one ends.
type awsSession struct {
	a *app
	s settings.Settings

	mu   sync.Mutex
	have settings.AWS
}

func (x *awsSession) lasts(l settings.AWS, d time.Duration) bool {
	return x.a.Now().Add(d).Before(l.Expires)
}

// token is the token for a call that is made now.
func (x *awsSession) token(ctx context.Context) (string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lasts(x.have, refreshBefore) {
		return x.have.Token, nil
	}
	if err := x.renew(ctx); err != nil {
		return "", err
	}
	return x.have.Token, nil
}

// renew logs in again, alone among all processes of this person. While the old
// session still holds, a failure is no reason to fail.
func (x *awsSession) renew(ctx context.Context) error {
	err := settings.UpdateLogins(ctx, x.s.LoginFile, func(l *settings.Logins) error {
		login := l.ByServer[x.s.Server]
		if login.AWS == nil || login.AWS.ID != x.have.ID {
			return &notLoggedIn{server: x.s.Server}
		}
		if x.have = *login.AWS; x.lasts(x.have, refreshBefore) {
			return errFresh
		}
		got, err := x.a.proveAWS(ctx, x.s, x.have)
		if err != nil {
			return err
		}
		// The credentials that are found today can be another's: those of an event
		// in a shell of `bgctl exec`, or of another profile.
		if got.Name != login.Name {
			return &usageError{message: fmt.Sprintf("The login of %s has ended, and the AWS credentials here are those of %s (%s).",
				login.Name, got.Name, got.AuthenticatedBy), now: []string{"bgctl login --server " + x.s.Server + " --aws, with the profile that you mean"}}
		}
		x.have.Token, x.have.Expires = got.Token, got.ExpiresAt
		renewed := x.have
		login.AWS = &renewed
		l.ByServer[x.s.Server] = login
		return nil
	})
	var none *noAWSCredentials
	var refused *breakglass.Error
	switch {
	case err == nil, errors.Is(err, errFresh):
		return nil
	case x.lasts(x.have, 0) && !errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &none), errors.As(err, &refused) && !refused.Temporary:
		return &loginEnded{server: x.s.Server, flags: awsAgain(x.have), why: fmt.Errorf("it was valid until %s, and can't be renewed: %w",
			x.a.when(x.have.Expires), err)}
	}
	return err
}
