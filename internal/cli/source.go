package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

const (
	// lockPatience is how long to wait for another process that fetches the
	// same credentials.
	lockPatience = 10 * time.Second
	// renewTimeout bounds the attempt to replace credentials that are still
	// good: botocore gives a container endpoint 2 s, and people less.
	renewTimeout = 5 * time.Second
)

// source gets the credentials of one profile or event, from the cache or the
// server.
type source struct {
	api   func() (*client.Client, error) // asked for only when the cache doesn't do
	cache credcache.Cache
	// ref is the profile or event id as the person named it; empty for the only
	// active event.
	ref  string
	now  func() time.Time
	warn func(format string, args ...any)
}

func (a *app) source(ref string, cached bool) *source {
	s := &source{api: a.client, ref: ref, now: a.Now, warn: a.hint}
	if cached {
		s.cache = a.cache()
	}
	return s
}

// get returns usable credentials. Those at hand are returned as they are unless
// it is time for newer ones.
func (s *source) get(ctx context.Context) (credcache.Entry, error) {
	if e, ok := s.cache.Get(s.ref, s.now()); ok && !e.Stale(s.now()) {
		return e, nil
	}
	unlock := s.cache.Lock(ctx, s.ref, lockPatience)
	defer unlock()
	old, ok := s.cache.Get(s.ref, s.now())
	if ok && !old.Stale(s.now()) {
		return old, nil // another process was faster
	}
	return s.renew(ctx, old, ok)
}

// renew fetches credentials. While old ones are good, a server that can't
// answer is no reason to fail; one that refuses is, unless it says that these
// are the last ones of their grant.
func (s *source) renew(ctx context.Context, old credcache.Entry, good bool) (credcache.Entry, error) {
	if !good {
		return s.fetch(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	e, err := s.fetch(limited)
	switch {
	case err == nil:
		return e, nil
	case canWait(err):
		s.warn("These credentials end in %s, and newer ones can't be had at the moment: %s",
			show.Duration(old.Expiration.Sub(s.now())), show.Safe(err.Error()))
		return old, nil
	case exhausted(err, old):
		old.Last = true
		s.keep(old)
		return old, nil
	}
	var refused *breakglass.Error
	if errors.As(err, &refused) {
		_ = s.cache.Forget(s.ref)
		if id := old.EventID; id != "" {
			_ = s.cache.Drop(id, old.Profile)
		}
	}
	return e, err
}

// canWait reports failures that say nothing about the grant.
func canWait(err error) bool {
	var unreachable *client.UnreachableError
	var unexpected *client.ProtocolError
	var refused *breakglass.Error
	switch {
	case errors.As(err, &unreachable), errors.As(err, &unexpected):
		return true
	case errors.As(err, &refused):
		return refused.Temporary
	}
	return false
}

// exhausted reports a refusal that says no more than that the grant of these
// credentials gives no further ones.
func exhausted(err error, old credcache.Entry) bool {
	var refused *breakglass.Error
	if !errors.As(err, &refused) {
		return false
	}
	if refused.Condition == breakglass.ConditionMaxRenewals { // of the event alone
		return refused.EventID == old.EventID
	}
	return slices.ContainsFunc(refused.Links, func(l breakglass.LinkAnswer) bool {
		return l.Outcome == breakglass.OutcomeExhausted && l.Link == old.GrantedBy && l.EventID == old.EventID && l.RequestID == old.RequestID
	})
}

// fetch has the server make credentials and keeps them.
func (s *source) fetch(ctx context.Context) (credcache.Entry, error) {
	c, err := s.ask(ctx)
	if err != nil {
		return credcache.Entry{}, err
	}
	e := credcache.Entry{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Expiration: c.Expiration.UTC(), FetchedAt: s.now().UTC(), GrantedBy: c.GrantedBy, Rule: c.Rule, GrantEnds: c.GrantedUntil.UTC(),
		EventID: c.EventID, RequestID: c.RequestID, Profile: c.Profile, Region: c.Region, RoleARN: c.RoleARN, Issuer: c.Issuer,
	}
	if e.GrantedBy == "" { // a server that knows no other link doesn't say
		e.GrantedBy, e.GrantEnds = breakglass.LinkBreakglass, e.Expiration
	}
	if !e.Usable(s.now()) {
		s.warn("The server's answer ends at %s, which is past by the clock of this machine: is the clock right?", e.Expiration.Format(time.RFC3339))
	}
	s.keep(e)
	return e, nil
}

// ask is the one call to the server: an event gives credentials by itself, a
// profile by whatever link of the chain allows it.
func (s *source) ask(ctx context.Context) (client.Credentials, error) {
	api, err := s.api()
	if err != nil {
		return client.Credentials{}, err
	}
	switch {
	case s.ref == "":
		ev, err := activeEvent(ctx, api, "")
		if err != nil {
			return client.Credentials{}, err
		}
		return api.Credentials(ctx, ev.ID)
	case breakglass.IsID(s.ref):
		return api.Credentials(ctx, s.ref)
	}
	c, err := api.CredentialsFor(ctx, s.ref)
	return c, namingProfiles(ctx, api, s.ref, err)
}

// keep puts credentials into the cache. That it can't be done is no reason to
// withhold them.
func (s *source) keep(e credcache.Entry) {
	if err := s.cache.Put(s.ref, e); err != nil {
		s.warn("The credentials were not kept for the next call: %s", err.Error())
	}
}

// activeEvent finds the caller's active event: by its id, by its profile, or,
// with an empty ref, the only one there is.
func activeEvent(ctx context.Context, api *client.Client, ref string) (breakglass.View, error) {
	if breakglass.IsID(ref) {
		return api.Event(ctx, ref)
	}
	me, err := api.Whoami(ctx)
	if err != nil {
		return breakglass.View{}, err
	}
	events, err := activeEvents(ctx, api, me, ref)
	if err != nil {
		return breakglass.View{}, err
	}
	switch len(events) {
	case 0:
		return breakglass.View{}, missingEvent(ctx, api, me, ref)
	case 1:
		return events[0], nil
	}
	names := make([]string, len(events))
	for i, ev := range events {
		names[i] = ev.Profile
	}
	return breakglass.View{}, usage("You have %d active events: name the profile, one of %s.", len(events), strings.Join(names, ", "))
}

// activeEvents are the caller's active events on a profile, or on all.
func activeEvents(ctx context.Context, api *client.Client, me client.Whoami, profile string) ([]breakglass.View, error) {
	events, _, err := api.Events(ctx, client.EventFilter{Invoker: me.Name, Profile: profile, Status: string(breakglass.StatusActive), Limit: 100})
	return events, err
}
