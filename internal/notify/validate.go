package notify

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"breakglass/internal/breakglass"
	"breakglass/internal/notify/netguard"
)

// Problem is one thing that is wrong with a configuration. Path leads to it,
// as in sinks[0].url. Message never repeats a URL or a secret.
type Problem struct {
	Path    string
	Message string
}

func (p Problem) String() string { return p.Path + ": " + p.Message }

var (
	sinkName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	region   = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+$`)
)

// isEnvName reports a name that is not the secret itself.
func isEnvName(s string) bool { return envName.MatchString(s) && !strings.HasPrefix(s, "whsec_") }

// Validate returns everything that is wrong with c; it looks at nothing outside
// c. profiles are the profiles that exist; nil skips that check.
func (c Config) Validate(profiles []string) []Problem {
	v := validator{profiles: profiles, names: map[string]string{}}
	for i, s := range c.Sinks {
		v.sink(fmt.Sprintf("sinks[%d]", i), s, false)
	}
	return v.problems
}

type validator struct {
	problems []Problem
	profiles []string
	names    map[string]string // sink name → path where it was first seen
}

func (v *validator) add(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (v *validator) sink(path string, s SinkConfig, isMember bool) {
	v.name(path+".name", s.Name)
	if isMember {
		if len(s.Events) > 0 {
			v.add(path+".events", "belongs to the multi sink, not to its members")
		}
		if len(s.Profiles) > 0 {
			v.add(path+".profiles", "belongs to the multi sink, not to its members")
		}
	} else {
		v.selection(path, s)
	}
	allowed, known := fieldsOf[s.Type]
	switch {
	case s.Type == "":
		v.add(path+".type", "is required: sns, webhook, log, multi or noop")
		return
	case !known:
		v.add(path+".type", "unknown type %s: must be sns, webhook, log, multi or noop", quote(s.Type))
		return
	case isMember && s.Type == TypeMulti:
		v.add(path+".type", "a multi sink can't be a member of another")
		return
	}
	for _, f := range s.set() {
		if !slices.Contains(allowed, f) {
			v.add(path+"."+f, "doesn't apply to a sink of type %s", s.Type)
		}
	}
	switch s.Type {
	case TypeSNS:
		v.sns(path, s)
	case TypeWebhook:
		v.webhook(path, s)
	case TypeMulti:
		v.multi(path, s)
	}
}

// fieldsOf names the fields of each type beside name, type, events, profiles.
var fieldsOf = map[string][]string{
	TypeSNS:     {"topic_arn", "region", "endpoint", "allow_http"},
	TypeWebhook: {"url", "secret_env", "secret_file", "allow_http", "allow_private"},
	TypeLog:     {},
	TypeMulti:   {"sinks"},
	TypeNoop:    {},
}

// set lists the type-specific fields that have a value.
func (s SinkConfig) set() []string {
	var out []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"topic_arn", s.TopicARN != ""}, {"region", s.Region != ""}, {"endpoint", s.Endpoint != ""},
		{"url", s.URL != ""}, {"secret_env", s.SecretEnv != ""}, {"secret_file", s.SecretFile != ""},
		{"allow_http", s.AllowHTTP}, {"allow_private", len(s.AllowPrivate) > 0}, {"sinks", len(s.Sinks) > 0},
	} {
		if f.set {
			out = append(out, f.name)
		}
	}
	return out
}

func (v *validator) name(path, name string) {
	switch first, dup := v.names[name]; {
	case name == "":
		v.add(path, "is required")
	case !sinkName.MatchString(name):
		v.add(path, "must be 1 to 64 letters, digits, dots, hyphens or underscores, beginning with a letter or digit")
	case dup:
		v.add(path, "%s is already the name of %s", quote(name), strings.TrimSuffix(first, ".name"))
	default:
		v.names[name] = path
	}
}

func (v *validator) selection(path string, s SinkConfig) {
	known := breakglass.EntryTypes()
	for i, e := range s.Events {
		p := fmt.Sprintf("%s.events[%d]", path, i)
		if !slices.Contains(known, breakglass.EntryType(e)) {
			v.add(p, "unknown event type %s; known are %s", quote(e), joinTypes(known))
		} else if slices.Contains(s.Events[:i], e) {
			v.add(p, "%s is listed twice", quote(e))
		}
	}
	for i, profile := range s.Profiles {
		p := fmt.Sprintf("%s.profiles[%d]", path, i)
		if msg := breakglass.CheckName(profile); msg != "" {
			v.add(p, "%s", msg)
		} else if v.profiles != nil && !slices.Contains(v.profiles, profile) {
			v.add(p, "no profile is called %s", quote(profile))
		}
	}
}

func (v *validator) sns(path string, s SinkConfig) {
	arn, err := parseTopicARN(s.TopicARN)
	switch {
	case s.TopicARN == "":
		v.add(path+".topic_arn", "is required")
	case err != nil:
		v.add(path+".topic_arn", "%s", err)
	case s.Region != "" && s.Region != arn.region:
		v.add(path+".region", "must be %s, the topic's own region, or absent", arn.region)
	case !region.MatchString(arn.region):
		v.add(path+".topic_arn", "must name an AWS region")
	}
	if s.Endpoint == "" {
		return
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		v.add(path+".endpoint", "must be an http or https URL without user, query and fragment")
	} else if u.Scheme == "http" && !s.AllowHTTP && !loopback(u.Hostname()) {
		v.add(path+".endpoint", "has no TLS: who breaks the glass and why would cross the network in the clear. Use https, or say allow_http: true")
	}
}

// loopback reports a host that can't be another machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (v *validator) webhook(path string, s SinkConfig) {
	guard, err := netguard.New(s.AllowPrivate, nil, 0)
	if err != nil {
		for i, a := range s.AllowPrivate {
			if err := netguard.CheckEntry(a); err != nil {
				v.add(fmt.Sprintf("%s.allow_private[%d]", path, i), "%s", err)
			}
		}
	}
	v.url(path+".url", s, guard)
	switch {
	case s.SecretEnv == "" && s.SecretFile == "":
		v.add(path+".secret_env", "is required (or secret_file): the name of the environment variable that holds the signing secret")
	case s.SecretEnv != "" && s.SecretFile != "":
		v.add(path+".secret_file", "can't be given together with secret_env")
	case s.SecretEnv != "" && !isEnvName(s.SecretEnv):
		// Not quoted: the likeliest mistake is the secret itself.
		v.add(path+".secret_env", "must be the name of an environment variable, not the secret")
	}
}

// url checks the target. guard is nil when allow_private itself is broken.
func (v *validator) url(path string, s SinkConfig, guard *netguard.Guard) {
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "":
		v.add(path, "is required")
		return
	case err != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		v.add(path, "must be an https URL")
		return
	case u.Hostname() == "":
		v.add(path, "must name a host")
		return
	case u.Fragment != "":
		v.add(path, "must not have a fragment")
	}
	if u.Scheme == "http" && !s.AllowHTTP {
		v.add(path, "must be https; plain http needs allow_http: true")
	}
	if msg := netguard.CheckHost(u.Hostname()); msg != "" {
		v.add(path, "%s", msg)
	} else if guard != nil {
		if err := guard.CheckLiteral(u.Hostname(), portOf(u)); err != nil {
			v.add(path, "%s", err)
		}
	}
	if p := u.Port(); p == "0" || len(p) > 5 || p > "65535" && len(p) == 5 {
		v.add(path, "must have a port of 1 to 65535")
	}
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}

func (v *validator) multi(path string, s SinkConfig) {
	if len(s.Sinks) == 0 {
		v.add(path+".sinks", "is required: the sinks that take each notification as one unit")
	}
	for i, m := range s.Sinks {
		v.sink(fmt.Sprintf("%s.sinks[%d]", path, i), m, true)
	}
}

func joinTypes(types []breakglass.EntryType) string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return strings.Join(out, ", ")
}

func quote(s string) string { return `"` + printable(s, 80) + `"` }
