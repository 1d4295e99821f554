package breakglass_test

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
	"breakglass/internal/mfa"
	"breakglass/internal/mfa/mfatest"
	"breakglass/internal/store/dynamodb"
	"breakglass/internal/store/sqlite"
	"breakglass/internal/testenv"
)

// strict is a server whose only policy rule asks for a second factor. What it
// keeps survives restart, and twin is another server on the same data; nil where
// the engine has only one.
type strict struct {
	*breakglass.Service
	store   testStore
	now     time.Time
	need    breakglass.MFARequirement
	keys    []string
	invited bool
	open    func() testStore
	shared  bool
	limits  func() breakglass.LimitDecision
}

type testStore interface {
	breakglass.Store
	breakglass.Journal
	Close() error
}

func key(seed byte) string {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = seed + byte(i)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func (s *strict) Decide(breakglass.PolicyRequest) breakglass.PolicyDecision {
	return breakglass.PolicyDecision{Permit: true, Rule: "strict", MaxDuration: time.Hour, MFA: s.need}
}
func (s *strict) Offer(breakglass.Subject, string, time.Time) (breakglass.Offer, bool) {
	return breakglass.Offer{}, false
}
func (s *strict) Terms(breakglass.Subject, string) (breakglass.Terms, bool) {
	return breakglass.Terms{Rule: "strict", MaxDuration: time.Hour, MaxExtensions: 1}, true
}
func (s *strict) Who(string) breakglass.People { return breakglass.People{} }
func (s *strict) SHA256() string               { return "sha" }
func (s *strict) CheckRateLimit(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error) {
	if s.limits != nil {
		return s.limits(), nil
	}
	return breakglass.LimitDecision{Permit: true}, nil
}
func (s *strict) Lookup(name string) (breakglass.Principal, bool) {
	return breakglass.Principal{Name: name}, true
}

// service is a server over the store as it is.
func (s *strict) service(t *testing.T, store testStore) *breakglass.Service {
	t.Helper()
	c := breakglass.Config{
		Store: store, Journal: store, Directory: s,
		Profiles: []breakglass.Profile{{Name: "prod"}, {Name: "staging"}},
		Policy:   func() (breakglass.Policy, error) { return s, nil },
		Limits:   func() (breakglass.RateLimiter, error) { return s, nil },
		Sinks:    func(breakglass.EntryType, string) []string { return nil },
		Now:      func() time.Time { return s.now },
	}
	if len(s.keys) > 0 {
		mc := mfa.Config{}
		for i := range s.keys {
			mc.Keys = append(mc.Keys, session.KeySource{Env: fmt.Sprint(i)})
		}
		factors, err := mfa.New(mc, func(name string) (string, bool) { return s.keys[int(name[0]-'0')], true })
		require.NoError(t, err)
		c.MFA = &breakglass.MFA{Factors: factors, InvitationOnly: s.invited}
	}
	return breakglass.New(c)
}

func (s *strict) restart(t *testing.T) {
	t.Helper()
	if s.store != nil {
		require.NoError(t, s.store.Close())
	}
	s.store = s.open()
	s.Service = s.service(t, s.store)
}

// onBothEngines runs a test over SQLite and DynamoDB.
func onBothEngines(t *testing.T, run func(t *testing.T, s *strict)) {
	t.Helper()
	fresh := func() *strict {
		return &strict{now: t0, need: breakglass.MFARequirement{Required: true}, keys: []string{key(1)}}
	}
	t.Run("sqlite", func(t *testing.T) {
		s := fresh()
		path := filepath.Join(t.TempDir(), "b.db")
		s.open = func() testStore {
			st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			require.NoError(t, err)
			return st
		}
		s.restart(t)
		defer func() { require.NoError(t, s.store.Close()) }()
		run(t, s)
	})
	t.Run("dynamodb", func(t *testing.T) {
		s := fresh()
		s.shared = true
		cfg := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}
		o := dynamodb.Options{Table: "mfa-" + breakglass.NewID(), Endpoint: testenv.SharedDynamoDB(t), PollEvery: 20 * time.Millisecond,
			CallTimeout: 20 * time.Second, Patience: 60 * time.Second}
		_, err := dynamodb.Init(t.Context(), cfg, o)
		require.NoError(t, err)
		s.open = func() testStore {
			st, err := dynamodb.Open(t.Context(), cfg, o)
			require.NoError(t, err)
			return st
		}
		s.restart(t)
		defer func() { require.NoError(t, s.store.Close()) }()
		run(t, s)
	})
}

// authenticator is a person's app.
type authenticator []byte

func (a authenticator) at(t time.Time) breakglass.TOTPCode {
	return breakglass.TOTPCode(mfatest.Code(a, t))
}

// wrong is a code that isn't good at that time or near it.
func (a authenticator) wrong(at time.Time, n int) breakglass.TOTPCode {
	for i := n * 1000; ; i++ {
		c := breakglass.TOTPCode(fmt.Sprintf("%06d", i))
		if !slices.Contains([]breakglass.TOTPCode{a.at(at.Add(-30 * time.Second)), a.at(at), a.at(at.Add(30 * time.Second))}, c) {
			return c
		}
	}
}

// enrol gives a person an authenticator, confirmed two minutes ago.
func (s *strict) enrol(t *testing.T, who breakglass.Principal) authenticator {
	t.Helper()
	made, err := s.EnrolMFA(t.Context(), who, "", "r")
	require.NoError(t, err)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(made.Secret)
	require.NoError(t, err)
	a := authenticator(secret)
	require.NoError(t, s.ConfirmMFA(t.Context(), who, a.at(s.now), "r"))
	s.now = s.now.Add(2 * time.Minute)
	return a
}

func (s *strict) try(t *testing.T, who breakglass.Principal, profile string, code breakglass.TOTPCode) (breakglass.Invoked, error) {
	in := request(profile)
	in.TOTP = code
	return s.Invoke(t.Context(), who, in)
}

func (s *strict) trail(t *testing.T) []breakglass.LogEntry {
	t.Helper()
	entries, _, err := s.store.Entries(t.Context(), breakglass.EntryQuery{Limit: 1000})
	require.NoError(t, err)
	return entries
}

func (s *strict) types(t *testing.T) (out []string) {
	t.Helper()
	for _, e := range s.trail(t) {
		out = append(out, strings.TrimSpace(string(e.Event)+" "+e.Reason))
	}
	return out
}

func TestARuleWithMFAWantsACodeOfThisMinuteOnce(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		_, err := s.try(t, who, "prod", "")
		e := requireCode(t, breakglass.CodeMFARequired, err)
		assert.Equal(t, &breakglass.MFAWanted{Accepts: []string{"totp"}}, e.MFA)
		assert.Equal(t, "strict", e.Rule)
		_, err = s.try(t, who, "prod", "123456")
		_ = requireCode(t, breakglass.CodeMFARequired, err) // there is nothing to compare it with

		app := s.enrol(t, who)
		_, err = s.try(t, who, "prod", "")
		e = requireCode(t, breakglass.CodeMFARequired, err)
		assert.True(t, e.MFA.Enrolled)
		code := app.at(s.now)
		got, err := s.try(t, who, "prod", code)
		require.NoError(t, err)
		_, err = s.try(t, who, "staging", code)
		_ = requireCode(t, breakglass.CodeMFAInvalid, err) // replayed
		s.restart(t)
		_, err = s.try(t, who, "staging", code)
		_ = requireCode(t, breakglass.CodeMFAInvalid, err) // replayed after a restart
		if s.shared {
			other := s.open()
			in := request("staging")
			in.TOTP = code
			_, err = s.service(t, other).Invoke(t.Context(), who, in)
			_ = requireCode(t, breakglass.CodeMFAInvalid, err) // replayed on another replica
			require.NoError(t, other.Close())
		}
		_, err = s.try(t, who, "staging", app.at(s.now.Add(-30*time.Second)))
		_ = requireCode(t, breakglass.CodeMFAInvalid, err) // an older one, seen over a shoulder
		s.now = s.now.Add(30 * time.Second)
		_, err = s.try(t, who, "staging", app.at(s.now))
		require.NoError(t, err)

		for _, entry := range s.trail(t) {
			if entry.Event == breakglass.EntryInvoked {
				assert.Equal(t, "totp", entry.Detail[breakglass.DetailMFA])
			}
			if entry.Event == breakglass.EntryInvoked && entry.EventID == got.ID {
				text, err := json.Marshal(entry)
				require.NoError(t, err)
				assert.NotContains(t, string(text), string(code))
			}
		}
	})
}

func TestWithoutARuleThatWantsItACodeIsNotLookedAt(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		app := s.enrol(t, person("alice"))
		s.need = breakglass.MFARequirement{}
		got, err := s.try(t, person("alice"), "prod", app.wrong(s.now, 1))
		require.NoError(t, err)
		entries := s.trail(t)
		last := entries[len(entries)-1]
		assert.Equal(t, got.ID, last.EventID)
		assert.Equal(t, "none", last.Detail[breakglass.DetailMFA])
	})
}

func TestASecondPersonsCodeDoesntWork(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		alice, bob := person("alice"), person("bob")
		_ = s.enrol(t, alice)
		bobs := s.enrol(t, bob)
		_, err := s.try(t, alice, "prod", bobs.at(s.now))
		_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		_, err = s.try(t, bob, "prod", bobs.at(s.now))
		require.NoError(t, err, "it isn't used up by it, and still good for its owner")
	})
}

func TestADelegateCantGiveAnothersSecondFactor(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		alice, bot := person("alice"), person("bot", breakglass.RoleDelegate)
		alices := s.enrol(t, alice)
		bots := s.enrol(t, bot)
		for _, code := range []breakglass.TOTPCode{"", alices.at(s.now), bots.at(s.now)} {
			in := request("prod")
			in.Invoker, in.TOTP = "alice", code
			_, err := s.Invoke(t.Context(), bot, in)
			e := requireCode(t, breakglass.CodeMFARequired, err)
			assert.Empty(t, e.MFA.Accepts)
			assert.Contains(t, e.Message, "alice has to invoke")
		}
		_, err := s.try(t, alice, "prod", alices.at(s.now))
		require.NoError(t, err, "the code wasn't used up")
	})
}

func TestSixtyFourTriesWithOneCodeMakeOneGrant(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		code := app.at(s.now)
		services := []*breakglass.Service{s.Service}
		if s.shared {
			other := s.open()
			defer func() { require.NoError(t, other.Close()) }()
			services = append(services, s.service(t, other))
		}
		errs := make([]error, 64)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				in := request([]string{"prod", "staging"}[i/2%2])
				in.TOTP = code
				_, errs[i] = services[i%len(services)].Invoke(t.Context(), who, in)
			})
		}
		wg.Wait()
		granted := 0
		for _, err := range errs {
			if err == nil {
				granted++
				continue
			}
			_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		}
		assert.Equal(t, 1, granted)
	})
}

func TestGuessesAreCountedExactlyAndThenNoneIsLookedAt(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		errs := make([]error, 40)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.try(t, who, "prod", app.wrong(s.now, i+1)) })
		}
		wg.Wait()
		looked := 0
		for _, err := range errs {
			var e *breakglass.Error
			require.ErrorAs(t, err, &e)
			if e.Code == breakglass.CodeMFAInvalid {
				looked++
				continue
			}
			require.Equal(t, breakglass.CodeRateLimited, e.Code)
			require.Equal(t, breakglass.LimitMFAAttempts, e.Limit)
			require.Equal(t, breakglass.WrongCodeWait, e.RetryAfter)
		}
		require.Equal(t, breakglass.MaxWrongCodes, looked, "not one guess more")
		var recorded []string
		for _, e := range s.trail(t) {
			if e.Event == breakglass.EntryMFAFailed {
				recorded = append(recorded, e.Detail[breakglass.DetailMFAFailures])
			}
		}
		assert.Equal(t, []string{"1", "2", "3", "4", "5"}, recorded)

		s.restart(t)
		_, err := s.try(t, who, "prod", app.at(s.now))
		_ = requireCode(t, breakglass.CodeRateLimited, err) // the right one neither, after a restart neither
		s.now = s.now.Add(breakglass.WrongCodeWait - time.Microsecond)
		_, err = s.try(t, who, "prod", app.at(s.now))
		_ = requireCode(t, breakglass.CodeRateLimited, err)
		s.now = s.now.Add(time.Microsecond)
		_, err = s.try(t, who, "prod", app.wrong(s.now, 1))
		_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		_, err = s.try(t, who, "prod", app.at(s.now))
		_ = requireCode(t, breakglass.CodeRateLimited, err) // one more wrong code, one more wait
		s.now = s.now.Add(breakglass.WrongCodeWait)
		_, err = s.try(t, who, "prod", app.at(s.now))
		require.NoError(t, err, "the right person gets in")
		for i := range breakglass.MaxWrongCodes - 1 {
			_, err = s.try(t, who, "staging", app.wrong(s.now, i+1))
			_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		}
		s.now = s.now.Add(30 * time.Second)
		_, err = s.try(t, who, "staging", app.at(s.now))
		require.NoError(t, err, "the right code has set the count back")
	})
}

func TestWrongCodesAreForgottenAfterAnHour(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		for range 3 {
			for i := range breakglass.MaxWrongCodes - 1 {
				_, err := s.try(t, who, "prod", app.wrong(s.now, i+1))
				_ = requireCode(t, breakglass.CodeMFAInvalid, err)
			}
			s.now = s.now.Add(time.Hour + time.Second)
		}
	})
}

func TestACodeThatLedToNothingIsUsedUpAllTheSame(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		_, err := s.try(t, who, "prod", app.at(s.now))
		require.NoError(t, err)
		s.now = s.now.Add(30 * time.Second)
		code := app.at(s.now)
		_, err = s.try(t, who, "prod", code)
		_ = requireCode(t, breakglass.CodeAlreadyActive, err)
		_, err = s.try(t, who, "staging", code)
		_ = requireCode(t, breakglass.CodeMFAInvalid, err)
	})
}

// twice runs every transaction two times, as an engine does after a conflict.
type twice struct{ testStore }

func (s twice) Update(ctx context.Context, keys breakglass.Keys, fn func(breakglass.Tx) error) error {
	return s.testStore.Update(ctx, keys, func(tx breakglass.Tx) error {
		_ = fn(forgetful{tx})
		return fn(tx)
	})
}

// forgetful drops what is written, so that the second run starts as the first.
type forgetful struct{ breakglass.Tx }

func (forgetful) PutEvent(breakglass.Event) error                               { return nil }
func (forgetful) PutFactor(breakglass.Factor) error                             { return nil }
func (forgetful) Append(breakglass.LogEntry, *breakglass.Event, []string) error { return nil }

func TestARefusalOfARunThatDidntCountIsForgotten(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		runs := 0
		s.limits = func() breakglass.LimitDecision {
			runs++
			return breakglass.LimitDecision{Permit: runs > 1, Limit: breakglass.LimitCooldown}
		}
		in := request("prod")
		in.TOTP = app.at(s.now)
		_, err := s.service(t, twice{s.store}).Invoke(t.Context(), who, in)
		require.NoError(t, err)
		require.Equal(t, 2, runs)
	})
}

func TestARepeatedCallNeedsNoNewCode(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		in := request("prod")
		in.IdempotencyKey, in.TOTP = "k1", app.at(s.now)
		first, err := s.Invoke(t.Context(), who, in)
		require.NoError(t, err)
		for _, code := range []breakglass.TOTPCode{in.TOTP, "", app.wrong(s.now, 1)} {
			in.TOTP = code
			again, err := s.Invoke(t.Context(), who, in)
			require.NoError(t, err, "the code is no part of what was asked for")
			assert.True(t, again.Replayed)
			assert.Equal(t, first.ID, again.ID)
		}
	})
}

func TestADryRunTellsNothingAboutACode(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		in := request("prod")
		in.DryRun = true
		_, err := s.Invoke(t.Context(), who, in)
		_ = requireCode(t, breakglass.CodeMFARequired, err)
		app := s.enrol(t, who)
		before := s.types(t)
		for i := range 2 * breakglass.MaxWrongCodes {
			for _, code := range []breakglass.TOTPCode{"", app.wrong(s.now, i+1), app.at(s.now)} {
				in.TOTP = code
				out, err := s.Invoke(t.Context(), who, in)
				require.NoError(t, err)
				assert.Equal(t, "totp", out.MFA)
			}
		}
		assert.Equal(t, before, s.types(t))
		_, err = s.try(t, who, "prod", app.at(s.now))
		require.NoError(t, err, "nothing was counted or used up")
	})
}

func TestTheProvidersOwnSecondFactor(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		login := func(factor string, at time.Time) breakglass.Principal {
			p := person("alice")
			p.Via = breakglass.Via{Method: breakglass.MethodOIDC, Source: "https://login.example.com"}
			p.Assurance = breakglass.Assurance{Methods: []string{"pwd", "otp"}, At: at, Factor: factor}
			return p
		}
		long := s.now.Add(-8 * time.Hour)
		_, err := s.try(t, login("", s.now), "prod", "")
		e := requireCode(t, breakglass.CodeMFARequired, err) // the configuration doesn't take amr for one
		assert.Equal(t, []string{"totp", "oidc"}, e.MFA.Accepts)
		s.need.MaxAge = 15 * time.Minute
		for name, at := range map[string]time.Time{"long ago": long, "not said": {}, "in the future": s.now.Add(2 * time.Minute),
			"just too long ago": s.now.Add(-15*time.Minute - time.Microsecond)} {
			_, err = s.try(t, login("otp", at), "prod", "")
			e = requireCode(t, breakglass.CodeMFARequired, err)
			assert.EqualValues(t, 900, e.MFA.MaxAgeSeconds, name)
		}
		_, err = s.try(t, login("otp", s.now.Add(-15*time.Minute)), "prod", "")
		require.NoError(t, err)
		s.need.MaxAge = 0
		_, err = s.try(t, login("otp", long), "staging", "")
		require.NoError(t, err)
		for _, entry := range s.trail(t) {
			if entry.Event == breakglass.EntryInvoked {
				assert.Equal(t, "oidc:otp", entry.Detail[breakglass.DetailMFA])
			}
		}
		app := s.enrol(t, person("alice"))
		_, err = s.try(t, login("otp", s.now), "prod", app.wrong(s.now, 1))
		_ = requireCode(t, breakglass.CodeMFAInvalid, err) // a code that is sent is judged
	})
}

func TestWithoutKeysOnlyTheProviderDoes(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		s.keys = nil
		s.restart(t)
		_, err := s.try(t, person("alice"), "prod", "123456")
		e := requireCode(t, breakglass.CodeMFARequired, err)
		assert.Empty(t, e.MFA.Accepts)
		p := person("alice")
		p.Assurance.Factor = "hwk"
		_, err = s.try(t, p, "prod", "")
		require.NoError(t, err)
	})
}

func TestAFactorSurvivesTheRotationOfKeysAndNotTheirLoss(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		s.keys = []string{key(50)}
		s.restart(t)
		_, err := s.try(t, who, "prod", app.at(s.now))
		_ = requireCode(t, breakglass.CodeUnavailable, err)
		s.keys = []string{key(50), key(1)}
		s.restart(t)
		_, err = s.try(t, who, "prod", app.at(s.now))
		require.NoError(t, err, "the wrong key has used up nothing")
		s.keys = []string{key(50)}
		s.restart(t)
		s.now = s.now.Add(time.Minute)
		_, err = s.try(t, who, "staging", app.at(s.now))
		require.NoError(t, err, "its use has sealed it under the new key")
	})
}

func TestAConfirmedFactorIsReplacedWithACodeOrByAnotherPersonAlone(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who, admin := person("alice"), person("root", breakglass.RoleAdmin)
		app := s.enrol(t, who)
		_, err := s.EnrolMFA(t.Context(), who, "", "r")
		_ = requireCode(t, breakglass.CodeMFAEnrolled, err)
		err = s.ConfirmMFA(t.Context(), who, app.at(s.now), "r")
		_ = requireCode(t, breakglass.CodeMFAEnrolled, err)
		err = s.RemoveMFA(t.Context(), who, app.wrong(s.now, 1), "r")
		_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		err = s.ResetMFA(t.Context(), who, "alice", "r")
		_ = requireCode(t, breakglass.CodeForbidden, err)
		err = s.ResetMFA(t.Context(), person("bob"), "alice", "r")
		_ = requireCode(t, breakglass.CodeForbidden, err)
		require.NoError(t, s.RemoveMFA(t.Context(), who, app.at(s.now), "r"))
		_, err = s.try(t, who, "prod", app.at(s.now.Add(30*time.Second)))
		_ = requireCode(t, breakglass.CodeMFARequired, err)

		again := s.enrol(t, who)
		_, err = s.try(t, who, "prod", app.at(s.now))
		_ = requireCode(t, breakglass.CodeMFAInvalid, err) // the old authenticator
		require.NoError(t, s.ResetMFA(t.Context(), admin, "ALICE", "r"))
		_, err = s.try(t, who, "prod", again.at(s.now))
		_ = requireCode(t, breakglass.CodeMFARequired, err)
		err = s.ResetMFA(t.Context(), admin, "alice", "r")
		_ = requireCode(t, breakglass.CodeMFANotEnrolled, err)

		_ = s.enrol(t, admin)
		err = s.ResetMFA(t.Context(), admin, "root", "r")
		_ = requireCode(t, breakglass.CodeForbidden, err)
		entries := s.trail(t)
		i := slices.IndexFunc(entries, func(e breakglass.LogEntry) bool { return e.Event == breakglass.EntryMFARemoved && e.Actor == "root" })
		require.GreaterOrEqual(t, i, 0)
		assert.Equal(t, "alice", entries[i].Invoker)
	})
}

func TestGuessesAtRemovingCountToo(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		for i := range breakglass.MaxWrongCodes {
			err := s.RemoveMFA(t.Context(), who, app.wrong(s.now, i+1), "r")
			_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		}
		err := s.RemoveMFA(t.Context(), who, app.at(s.now), "r")
		_ = requireCode(t, breakglass.CodeRateLimited, err)
		_, err = s.try(t, who, "prod", app.at(s.now))
		_ = requireCode(t, breakglass.CodeRateLimited, err)
		status, err := s.MFAStatus(t.Context(), who)
		require.NoError(t, err)
		assert.Equal(t, breakglass.MFAStatus{Enrolled: true, ConfirmedAt: t0, LockedUntil: s.now.Add(breakglass.WrongCodeWait)}, status)
	})
}

func TestAnEnrolmentCountsFromItsFirstCodeOn(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		err := s.ConfirmMFA(t.Context(), who, "123456", "r")
		_ = requireCode(t, breakglass.CodeMFANotEnrolled, err)
		made, err := s.EnrolMFA(t.Context(), who, "", "r")
		require.NoError(t, err)
		secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(made.Secret)
		require.NoError(t, err)
		first := authenticator(secret)
		_, err = s.try(t, who, "prod", first.at(s.now))
		_ = requireCode(t, breakglass.CodeMFARequired, err)
		err = s.ConfirmMFA(t.Context(), who, first.wrong(s.now, 1), "r")
		_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		second := s.enrol(t, who) // begun anew: the first secret is gone
		_, err = s.try(t, who, "prod", first.at(s.now))
		_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		_, err = s.try(t, who, "prod", second.at(t0)) // the code that confirmed it
		_ = requireCode(t, breakglass.CodeMFAInvalid, err)
		assert.Equal(t, []string{"mfa.failed mfa_not_enrolled", "mfa.enrolling", "breakglass.denied mfa_required", "mfa.failed mfa_invalid",
			"mfa.enrolling", "mfa.enrolled"}, s.types(t)[:6])
	})
}

func TestEnrollingInALoopIsBounded(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		refused := 0
		for range 20 {
			if _, err := s.EnrolMFA(t.Context(), person("alice"), "", "r"); err != nil {
				e := requireCode(t, breakglass.CodeRateLimited, err)
				require.NotZero(t, e.RetryAfter)
				refused++
			}
		}
		assert.Equal(t, 15, refused)
	})
}

func TestWhereAdminsInviteATokenAloneEnrolsNothing(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		s.invited = true
		s.restart(t)
		who, admin := person("alice"), person("root", breakglass.RoleAdmin)
		_, err := s.EnrolMFA(t.Context(), who, "", "r")
		_ = requireCode(t, breakglass.CodeForbidden, err)
		_, err = s.InviteMFA(t.Context(), who, "bob", "r")
		_ = requireCode(t, breakglass.CodeForbidden, err)
		_, err = s.InviteMFA(t.Context(), admin, "root", "r")
		_ = requireCode(t, breakglass.CodeForbidden, err)
		invitation, err := s.InviteMFA(t.Context(), admin, "Alice", "r")
		require.NoError(t, err)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", invitation, invitation, invitation), invitation.Code)
		for name, try := range map[string]func() error{
			"another person": func() error { _, err := s.EnrolMFA(t.Context(), person("bob"), invitation.Code, "r"); return err },
			"another code":   func() error { _, err := s.EnrolMFA(t.Context(), who, invitation.Code+"A", "r"); return err },
			"its hash": func() error {
				var f *breakglass.Factor
				err := s.store.Update(t.Context(), breakglass.Keys{Factor: "alice"}, func(tx breakglass.Tx) (err error) {
					f, err = tx.FindFactor("alice")
					return err
				})
				if err == nil {
					_, err = s.EnrolMFA(t.Context(), who, f.Invitation, "r")
				}
				return err
			},
		} {
			e := requireCode(t, breakglass.CodeForbidden, try())
			assert.NotEmpty(t, e.Message, name)
		}
		s.now = s.now.Add(breakglass.InvitationLifetime)
		_, err = s.EnrolMFA(t.Context(), who, invitation.Code, "r")
		_ = requireCode(t, breakglass.CodeForbidden, err) // a day later
		invitation, err = s.InviteMFA(t.Context(), admin, "alice", "r")
		require.NoError(t, err)
		s.restart(t)
		s.now = s.now.Add(breakglass.InvitationLifetime - time.Microsecond)
		made, err := s.EnrolMFA(t.Context(), who, invitation.Code, "r")
		require.NoError(t, err)
		secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(made.Secret)
		require.NoError(t, err)
		require.NoError(t, s.ConfirmMFA(t.Context(), who, authenticator(secret).at(s.now), "r"))
		_, err = s.InviteMFA(t.Context(), admin, "alice", "r")
		_ = requireCode(t, breakglass.CodeMFAEnrolled, err)
		s.now = s.now.Add(time.Minute)
		require.NoError(t, s.RemoveMFA(t.Context(), who, authenticator(secret).at(s.now), "r"))
		_, err = s.EnrolMFA(t.Context(), who, invitation.Code, "r")
		_ = requireCode(t, breakglass.CodeForbidden, err) // it was good for one
	})
}

// A code that another program makes is taken: both follow the standard.
func TestCodesOfAnotherProgramAreTaken(t *testing.T) {
	tool, err := exec.LookPath("oathtool")
	if err != nil {
		t.Skip("oathtool is not installed")
	}
	onBothEngines(t, func(t *testing.T, s *strict) {
		made, err := s.EnrolMFA(t.Context(), person("alice"), "", "r")
		require.NoError(t, err)
		out, err := exec.CommandContext(t.Context(), tool, "--totp", "-b", "--now", s.now.Format("2006-01-02 15:04:05 UTC"), made.Secret).Output()
		require.NoError(t, err)
		require.NoError(t, s.ConfirmMFA(t.Context(), person("alice"), breakglass.TOTPCode(strings.TrimSpace(string(out))), "r"))
	})
}
