package awsiam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"breakglass/internal/authn"
	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
)

// Deps are what a Login works with. All but Log, Denied and Timeout are required.
type Deps struct {
	Keys  *session.Keys
	Store Store
	Now   func() time.Time
	Log   *slog.Logger
	// Denied are names that nobody gets a session for.
	Denied authn.Denied
	// Timeout of one question to STS; zero means DefaultTimeout.
	Timeout time.Duration
}

var _ authn.Verifier = (*Login)(nil)

// Login is the way in for AWS identities. It is safe for concurrent use.
type Login struct {
	cfg   Config
	deps  Deps
	asker *asker
	asked spent
}

// New expects a configuration that passed Validate. It asks nobody anything.
func New(c Config, d Deps) (*Login, error) {
	a, err := newAsker(c, d.Timeout)
	if err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &Login{cfg: c, deps: d, asker: a}, nil
}

// Close ends idle connections to STS.
func (l *Login) Close() { l.asker.transport.CloseIdleConnections() }

// Challenge is what a caller signs.
type Challenge struct {
	Nonce   string
	Expires time.Time
	// Regions are those whose STS may be named in the signature.
	Regions []string
}

// Challenge returns a new nonce. Nothing is kept of it.
func (l *Login) Challenge() Challenge {
	now := l.deps.Now()
	return Challenge{Nonce: newNonce(l.deps.Keys, now), Expires: now.Add(NonceLife).UTC().Truncate(time.Second), Regions: l.cfg.Regions}
}

// Session is a login that succeeded. Token is secret.
type Session struct {
	Token    string
	Name     string
	Groups   []string
	Identity Identity
	Expires  time.Time
}

// Login exchanges a proof for a session. Its errors are *breakglass.Error:
// CodeInvalidRequest for a proof in the wrong form, CodeUnauthenticated for one
// that proves nothing, CodeForbidden for an identity that no rule names, and
// CodeUnavailable when STS or the store can't be asked.
func (l *Login) Login(ctx context.Context, p Proof) (Session, error) {
	s, err := p.read()
	if err != nil {
		return Session{}, err
	}
	now := l.deps.Now()
	if err := l.check(s, now); err != nil {
		return Session{}, err
	}
	if !l.asked.take(s.nonce, now) {
		return Session{}, replayed()
	}
	id, err := l.asker.ask(ctx, s)
	if err != nil {
		if no := (*refusedError)(nil); !errors.As(err, &no) && !errors.Is(err, errUnsupported) {
			l.asked.giveBack(s.nonce)
		}
		return Session{}, l.refused(ctx, id, err)
	}
	if id.Partition != partitionOf(s.region) {
		return Session{}, unavailable(fmt.Errorf("STS of %s names an identity of the partition %s", s.region, id.Partition))
	}
	name, groups, ok := resolve(l.cfg.Rules, id)
	if !ok {
		return Session{}, unknown(id.ARN)
	}
	if l.deps.Denied.Has(name) {
		return Session{}, &breakglass.Error{Code: breakglass.CodeForbidden, Message: authn.DeniedMessage}
	}
	// Last, so that nobody who proved nothing can make records; the replay that
	// gets as far as this is the one that loses.
	first, err := use(ctx, l.deps.Store, s.nonce, now)
	if err != nil {
		return Session{}, breakglass.AsError(err)
	}
	if !first {
		return Session{}, replayed()
	}
	return l.session(name, groups, id, s.server, now)
}

var errReplayed = errors.New("the nonce was used before")

func replayed() error {
	return refuse(errReplayed, "This nonce was used before. Ask for a new challenge, and sign that.")
}

// check is what can be said without STS.
func (l *Login) check(s signed, now time.Time) error {
	if !slices.Contains(l.cfg.ServerNames, s.server) {
		return refuse(errors.New("signed for another server"),
			"The login was signed for another server than this one: "+quoted(s.server)+" is not among its names (auth.aws.server_names).")
	}
	if err := checkNonce(l.deps.Keys, s.nonce, now); err != nil {
		return refuse(err, "This server doesn't know the nonce, or it is older than a minute. Ask for a new challenge, and sign that.")
	}
	if skew := now.Sub(s.at); skew > MaxSkew || skew < -MaxSkew {
		return refuse(errors.New("the signature is too old or from the future"),
			fmt.Sprintf("The request was signed at %s, and it is %s here: more than %s apart. Set the clock of the machine that signs.",
				s.at.Format(time.RFC3339), now.UTC().Format(time.RFC3339), MaxSkew))
	}
	if !slices.Contains(l.cfg.Regions, s.region) {
		return refuse(errors.New("signed for another Region"),
			fmt.Sprintf("The request was signed for STS in %s, and this server asks only %s.", quoted(s.region), quoted(l.cfg.Regions...)))
	}
	return nil
}

// refused turns STS's no, or its silence, into an answer.
func (l *Login) refused(ctx context.Context, id Identity, err error) error {
	var no *refusedError
	switch {
	case errors.As(err, &no):
		return refuse(err, "AWS STS doesn't take the signature ("+no.code+"). Are the AWS credentials still valid, and is the machine's clock right?")
	case errors.Is(err, errUnsupported):
		return unknown(id.ARN)
	}
	if !errors.Is(err, errBusy) && ctx.Err() == nil {
		l.deps.Log.WarnContext(ctx, "AWS STS can't be asked who a caller is; other ways in are not affected", "error", err)
	}
	return unavailable(err)
}

func (l *Login) session(name string, groups []string, id Identity, server string, now time.Time) (Session, error) {
	issued := now.UTC().Truncate(time.Second)
	s := Session{Name: name, Groups: groups, Identity: id, Expires: issued.Add(l.cfg.sessionFor())}
	var err error
	s.Token, err = l.deps.Keys.Token(session.Session{Name: name, Via: string(breakglass.MethodAWS), Subject: id.ARN, Server: server, Issued: issued, Expires: s.Expires})
	return s, err
}

// Verify implements authn.Verifier for the tokens of sessions. The name and
// groups are those that the rules give to the identity now: a rule that was
// removed, or gives another name, ends the sessions that it had made.
func (l *Login) Verify(_ *http.Request, token string) (authn.Identity, error) {
	now := l.deps.Now()
	s, err := l.deps.Keys.Read(token, now)
	// A duration that was shortened holds for the sessions that are out, too.
	ends := s.Expires
	if shorter := s.Issued.Add(l.cfg.sessionFor()); err == nil && shorter.Before(ends) {
		if ends = shorter; !now.Before(ends) {
			err = session.ErrExpired
		}
	}
	switch {
	case errors.Is(err, session.ErrExpired):
		return authn.Identity{}, authn.InvalidBecause("This login ended at "+ends.Format(time.RFC3339)+". Log in again.", err)
	case err != nil:
		return authn.Identity{}, authn.Invalid(err)
	}
	name, groups, ok := l.current(s)
	if !ok {
		return authn.Identity{}, authn.InvalidBecause("The rules that this login was made by have changed. Log in again.", errChanged)
	}
	return authn.Identity{Name: name, Groups: groups, Via: breakglass.Via{Method: breakglass.MethodAWS, Source: s.Subject}}, nil
}

var errChanged = errors.New("no rule gives this name to the identity any more")

func (l *Login) current(s session.Session) (name string, groups []string, ok bool) {
	if s.Via != string(breakglass.MethodAWS) || !slices.Contains(l.cfg.ServerNames, s.Server) || s.Expires.Sub(s.Issued) > MaxSession {
		return "", nil, false
	}
	id, err := parseARN(s.Subject)
	if err != nil {
		return "", nil, false
	}
	name, groups, ok = resolve(l.cfg.Rules, id)
	return name, groups, ok && name == s.Name
}

func refuse(cause error, message string) error { return authn.InvalidBecause(message, cause) }

func unavailable(cause error) error {
	return authn.Unavailable("AWS STS can't be asked right now who signed, so logging in with an AWS identity doesn't work at the moment. "+
		"Try again, or use another way in.", 5*time.Second, cause)
}

// unknown tells the caller, who has proved to be just that, how AWS sees them.
func unknown(arn string) error {
	return &breakglass.Error{Code: breakglass.CodeForbidden,
		Message: "AWS says that you are " + quoted(arn) + ", and no rule of this server (auth.aws.rules) names that identity. Is it the right profile?"}
}

// quoted makes texts safe to repeat.
func quoted(texts ...string) string {
	out := ""
	for i, t := range texts {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%+q", shortened(t))
	}
	return out
}

func shortened(s string) string {
	if len(s) > 700 {
		return s[:700] + "…"
	}
	return s
}
