package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"breakglass/internal/breakglass"
)

// Deps is what sinks are built from. Log and Now are required.
type Deps struct {
	Log       *slog.Logger
	Now       func() time.Time
	UserAgent string                                                       // of webhooks; default "breakglassd"
	LookupEnv func(string) (string, bool)                                  // default os.LookupEnv
	AWS       func(ctx context.Context, region string) (aws.Config, error) // default: the SDK's default chain
	Resolver  *net.Resolver                                                // of webhooks; nil: the system's
	RootCAs   *x509.CertPool                                               // of webhooks; nil: the system's
}

// Set is the sinks that are configured. It is safe for concurrent use.
type Set struct {
	opaque
	sinks []*sink
}

type sink struct {
	name     string
	notifier Notifier
	events   []string // empty: all
	profiles []string // empty: all
	close    func()
}

// Build makes the sinks. configs must have passed Validate; what remains to go
// wrong are secrets and AWS settings, and all of that is reported at once. The
// errors hold no secrets.
func Build(ctx context.Context, configs []SinkConfig, deps Deps) (*Set, error) {
	if deps.LookupEnv == nil {
		deps.LookupEnv = os.LookupEnv
	}
	if deps.UserAgent == "" {
		deps.UserAgent = "breakglassd"
	}
	if deps.AWS == nil {
		deps.AWS = func(ctx context.Context, region string) (aws.Config, error) {
			return awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region))
		}
	}
	set := &Set{opaque: "notification sinks"}
	var errs []error
	for i, c := range configs {
		n, err := buildNotifier(ctx, fmt.Sprintf("sinks[%d]", i), c, deps)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set.sinks = append(set.sinks, &sink{
			name: c.Name, notifier: n, close: closerOf(n),
			events: slices.Clone(c.Events), profiles: slices.Clone(c.Profiles),
		})
	}
	if err := errors.Join(errs...); err != nil {
		set.Close()
		return nil, err
	}
	return set, nil
}

func buildNotifier(ctx context.Context, path string, c SinkConfig, deps Deps) (Notifier, error) {
	switch c.Type {
	case TypeSNS:
		arn, err := parseTopicARN(c.TopicARN)
		if err != nil {
			return nil, fmt.Errorf("%s.topic_arn: %w", path, err)
		}
		cfg, err := deps.AWS(ctx, arn.region)
		if err != nil {
			return nil, fmt.Errorf("%s: AWS settings: %w", path, err)
		}
		return newSNS(c, cfg, deps.Now), nil
	case TypeWebhook:
		keys, field, err := readSecrets(c, deps.LookupEnv)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", path, field, err)
		}
		w, err := newWebhook(c, keys, webhookOptions{
			userAgent: deps.UserAgent, now: deps.Now, resolver: deps.Resolver, rootCAs: deps.RootCAs,
		})
		if err != nil {
			return nil, fmt.Errorf("%s.%w", path, err)
		}
		return w, nil
	case TypeLog:
		return NewLog(deps.Log), nil
	case TypeMulti:
		return buildMulti(ctx, path, c, deps)
	case TypeNoop:
		return Noop(), nil
	}
	return nil, fmt.Errorf("%s.type: unknown type %s", path, quote(c.Type))
}

func buildMulti(ctx context.Context, path string, c SinkConfig, deps Deps) (Notifier, error) {
	var members []member
	var errs []error
	for i, m := range c.Sinks {
		n, err := buildNotifier(ctx, fmt.Sprintf("%s.sinks[%d]", path, i), m, deps)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		members = append(members, member{m.Name, n})
	}
	if len(members) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s.sinks: is required", path))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return newMulti(deps.Log, c.Name, members), nil
}

// maxSecretFile bounds a secret file, in bytes.
const maxSecretFile = 4 << 10

// readSecrets returns the signing keys, and the field that says where they are.
func readSecrets(c SinkConfig, lookup func(string) (string, bool)) (keys signingKeys, field string, err error) {
	field, text := "secret_env", ""
	if c.SecretFile != "" {
		field = "secret_file"
		f, err := os.Open(c.SecretFile)
		if err != nil {
			return signingKeys{}, field, err
		}
		defer func() { _ = f.Close() }()
		b, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
		if err != nil {
			return signingKeys{}, field, err
		}
		text = string(b)
	} else {
		var ok bool
		if text, ok = lookup(c.SecretEnv); !ok {
			return signingKeys{}, field, fmt.Errorf("the environment variable %s isn't set", c.SecretEnv)
		}
	}
	keys, err = parseSecrets(text)
	return keys, field, err
}

// CheckSecrets returns what is wrong with the secrets that the sinks need; nil
// for lookup means the environment. Sinks that don't say properly where their
// secret is are passed over: Validate has reported those.
func (c Config) CheckSecrets(lookup func(string) (string, bool)) (problems []Problem) {
	if lookup == nil {
		lookup = os.LookupEnv
	}
	checkSecrets("", c.Sinks, lookup, func(p Problem) { problems = append(problems, p) })
	return problems
}

func checkSecrets(path string, sinks []SinkConfig, lookup func(string) (string, bool), add func(Problem)) {
	for i, s := range sinks {
		at := fmt.Sprintf("%ssinks[%d]", path, i)
		checkSecrets(at+".", s.Sinks, lookup, add)
		if s.Type != TypeWebhook || (s.SecretFile == "") == (s.SecretEnv == "") || s.SecretEnv != "" && !isEnvName(s.SecretEnv) {
			continue
		}
		if _, field, err := readSecrets(s, lookup); err != nil {
			add(Problem{at + "." + field, err.Error()})
		}
	}
}

func closerOf(n Notifier) func() {
	switch n := n.(type) {
	case *webhook:
		return n.close
	case *multi:
		return func() {
			for _, m := range n.members {
				closerOf(m.Notifier)()
			}
		}
	}
	return func() {}
}

// Route names the sinks that want an entry of that type about that profile
// (empty when it is about none). A nil Set wants nothing.
func (s *Set) Route(typ breakglass.EntryType, profile string) []string {
	if s == nil {
		return nil
	}
	var names []string
	for _, k := range s.sinks {
		if (len(k.events) == 0 || slices.Contains(k.events, string(typ))) &&
			(len(k.profiles) == 0 || slices.Contains(k.profiles, profile)) {
			names = append(names, k.name)
		}
	}
	return names
}

// Names lists the sinks in the order of the configuration.
func (s *Set) Names() []string {
	if s == nil {
		return nil
	}
	names := make([]string, len(s.sinks))
	for i, k := range s.sinks {
		names[i] = k.name
	}
	return names
}

// Close gives up idle connections. Deliveries under way aren't touched.
func (s *Set) Close() {
	if s == nil {
		return
	}
	for _, k := range s.sinks {
		k.close()
	}
}
