// Package credcache keeps credentials between calls of bgctl, in files that
// their owner alone can read, and never beyond the end of what granted them.
package credcache

import (
	"time"

	"breakglass/internal/breakglass"
)

// Entry are credentials together with what decides how long they may be used.
type Entry struct {
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	SessionToken    string    `json:"session_token"`
	Expiration      time.Time `json:"expiration"`
	FetchedAt       time.Time `json:"fetched_at"`
	// GrantedBy is the link of the chain that gave them, and Rule what it rests on.
	GrantedBy breakglass.Link `json:"granted_by"`
	Rule      string          `json:"rule"`
	// GrantEnds is when the grant is over; zero: it doesn't end.
	GrantEnds time.Time `json:"grant_ends,omitzero"`
	EventID   string    `json:"event_id,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	// Last says that this grant gives none after them.
	Last    bool   `json:"last,omitempty"`
	Profile string `json:"profile"`
	Region  string `json:"region"`
	RoleARN string `json:"role_arn"`
	Issuer  string `json:"issuer"`
}

// String keeps the secrets out of errors and logs.
func (e Entry) String() string { return "credentials " + e.AccessKeyID }

// GoString hides the secrets from %#v.
func (e Entry) GoString() string { return e.String() }

const (
	// refreshMargin is how long before their end credentials are replaced when
	// the grant lasts longer. botocore asks a credential_process again on every
	// request once less than 15 minutes are left, so those must be new ones:
	// answering with the old would have it start a process for every request.
	refreshMargin = 15*time.Minute + 30*time.Second
	// minGain is how much later than the credentials the grant must end for new
	// ones to be worth fetching.
	minGain = time.Minute
	// clockTolerance is how far the clock may have been set back since the
	// entry was written. Beyond it the entry's times mean nothing.
	clockTolerance = 5 * time.Second
)

// Usable reports whether the credentials may be handed out at now: not at or
// after their end, and not at or after the end of their grant.
func (e Entry) Usable(now time.Time) bool {
	return e.complete() && now.Before(e.Expiration) && (e.GrantEnds.IsZero() || now.Before(e.GrantEnds)) &&
		!now.Before(e.FetchedAt.Add(-clockTolerance))
}

// complete refuses also what an earlier version kept: it doesn't say what
// granted it.
func (e Entry) complete() bool {
	return e.AccessKeyID != "" && e.SecretAccessKey != "" && e.SessionToken != "" && e.GrantedBy != "" && e.Profile != ""
}

// SameGrant reports whether both rest on the same event, the same access request,
// or standing policy.
func (e Entry) SameGrant(o Entry) bool {
	return e.GrantedBy == o.GrantedBy && e.EventID == o.EventID && e.RequestID == o.RequestID && e.Profile == o.Profile
}

// AccessEnds is when access ends as far as these credentials know, whatever is
// renewed before; zero: not at all.
func (e Entry) AccessEnds() time.Time {
	if e.Last {
		return e.Expiration
	}
	return e.GrantEnds
}

// Stale reports whether newer credentials should be fetched although these are
// usable: they end soon, and the grant gives longer ones.
func (e Entry) Stale(now time.Time) bool {
	if e.Last || !e.GrantEnds.IsZero() && e.GrantEnds.Sub(e.Expiration) < minGain {
		return false
	}
	// Half the lifetime, so that an issuer of short credentials isn't asked at
	// every call.
	margin := min(refreshMargin, e.Expiration.Sub(e.FetchedAt)/2)
	return e.Expiration.Sub(now) < margin
}
