package app

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakglass/internal/access"
	"breakglass/internal/approval"
	"breakglass/internal/authn"
	"breakglass/internal/authn/oidc"
	"breakglass/internal/config"
	"breakglass/internal/policy"
	"breakglass/internal/ratelimit"
	"breakglass/internal/reload"
	"breakglass/internal/tlsfiles"
	"breakglass/internal/yamlfile"
)

// Check reports every problem of the configuration at path, of the files that
// it names and of the secrets that the sinks need, one to a line with file and
// line, and returns what is allowed but rarely meant in the same form. Nothing
// is opened for writing, and nothing is asked over the network.
func Check(path string) (warnings []string, err error) {
	in, err := config.Inspect(path)
	if err != nil {
		return nil, err
	}
	c := &checker{Inspected: in, problems: in.Problems}
	if !in.Usable() {
		return nil, c.problems.Err()
	}
	wantsMFA := false
	policyFile := c.rulesFile("policy_file", in.Config.PolicyFile, func(name string, data []byte) error {
		p, err := policy.Parse(name, data)
		if err == nil {
			wantsMFA = p.WantsMFA()
		}
		return err
	})
	limitsFile := c.rulesFile("rate_limit_file", in.Config.RateLimitFile, mistakes(ratelimit.Parse))
	accessFile := c.rulesFile("access_file", in.Config.AccessFile, mistakes(access.Parse))
	approvalsFile := c.rulesFile("approvals_file", in.Config.ApprovalsFile, mistakes(approval.Parse))
	c.tls()
	c.auth()
	c.complain("auth", oidc.CheckFiles(in.Config.Auth.OIDC))
	for _, p := range in.Config.Notify.CheckSecrets(nil) {
		c.add("notify."+p.Path, p.Message)
	}
	for _, w := range warn(in.Config, time.Now()) {
		if c.clean(w.path) { // of what is wrong already one line is enough
			c.warn(in.File.Problem(w.path, w.words))
		}
	}
	for _, w := range slices.Concat(absent(in.Config), exposed(in.Config)) {
		c.warn(in.File.Problem(w.path, w.words))
	}
	if w := warnMFA(in.Config.Auth, wantsMFA); w != "" {
		c.warn(in.File.Problem("policy_file", w))
	}
	c.strangers(policyFile, limitsFile, accessFile, approvalsFile)
	return c.warnings, c.err()
}

// checker collects problems beyond those of the configuration file itself.
type checker struct {
	config.Inspected
	problems  yamlfile.Problems // of the configuration, with their lines in it
	elsewhere []error           // in files that it names
	warnings  []string
}

// add reports a problem with the value at path.
func (c *checker) add(path, message string) {
	c.problems = append(c.problems, c.File.Problem(path, message))
}

func (c *checker) warn(p yamlfile.Problem) {
	at := fmt.Sprintf("%s:%d: ", p.File, p.Line)
	c.warnings = append(c.warnings, at+"warning: "+strings.TrimPrefix(p.String(), at))
}

func (c *checker) err() error {
	return errors.Join(append([]error{c.problems.Err()}, c.elsewhere...)...)
}

// clean reports whether nothing is wrong with what lies below path.
func (c *checker) clean(path string) bool {
	return !slices.ContainsFunc(c.problems, func(p yamlfile.Problem) bool { return strings.HasPrefix(p.Path, path) })
}

// rulesFile checks a file that a field names, and returns it when it can be read.
func (c *checker) rulesFile(field, path string, parse func(name string, data []byte) error) *source {
	if path == "" {
		return nil
	}
	data, err := reload.Read(path)
	if err != nil {
		c.add(field, err.Error())
		return nil
	}
	if err := parse(path, data); err != nil {
		c.elsewhere = append(c.elsewhere, err)
	}
	return &source{path, data}
}

// mistakes is what a parser says of a file that nothing is read from.
func mistakes[T any](parse func(name string, data []byte) (T, error)) func(name string, data []byte) error {
	return func(name string, data []byte) error {
		_, err := parse(name, data)
		return err
	}
}

func (c *checker) tls() {
	cfg := c.Config.TLS
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return
	}
	m, err := tlsFiles(cfg).Read()
	var file *tlsfiles.FileError
	switch {
	case errors.As(err, &file):
		c.add(map[string]string{cfg.CertFile: "tls.cert_file", cfg.KeyFile: "tls.key_file", cfg.ClientCAFile: "tls.client_ca_file"}[file.Path], err.Error())
	case time.Until(m.NotAfter) < renewalDue:
		c.warn(c.File.Problem("tls.cert_file", "the certificate ends at "+m.NotAfter.UTC().Format(time.RFC3339)))
	}
}

// auth asks those who will use the tokens and roles. It does so only when the
// configuration's own checks are content: the two overlap.
func (c *checker) auth() {
	if !c.clean("auth") || !c.clean("roles") {
		return
	}
	_, err := authn.New(c.Config.Auth.Tokens, c.Config.RoleMembers())
	_, keys := sessionKeys(c.Config.Auth)
	_, factors := secondFactors(c.Config.Auth)
	c.complain("auth", errors.Join(err, keys, factors))
}

// complain takes an error of which each line begins with the path of a field,
// or else is about around.
func (c *checker) complain(around string, err error) {
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		path, words, found := strings.Cut(line, ": ")
		if !found || !strings.HasPrefix(path, "auth") && !strings.HasPrefix(path, "roles") {
			path, words = around, line
		}
		c.add(path, words)
	}
}

// warning is something that is allowed but rarely meant, about a field.
type warning struct{ path, words string }

func (w warning) String() string { return w.path + " " + w.words }

// warningOf takes a sentence that begins with the path of a field.
func warningOf(sentence string) warning {
	path, words, _ := strings.Cut(sentence, " ")
	return warning{path, words}
}

// warn names what leaves a server without one of its safeguards, or somebody
// without a way in.
func warn(cfg config.Config, now time.Time) []warning {
	var w []warning
	for _, sentence := range slices.Concat(authn.Warnings(cfg.Auth.Tokens, now), oidc.Warnings(cfg.Auth.OIDC)) {
		w = append(w, warningOf(sentence))
	}
	w = append(w, prefixes(cfg)...)
	if len(cfg.Notify.Sinks) == 0 {
		w = append(w, warning{"notify.sinks", "is empty: nobody is told when the glass is broken"})
	}
	if cfg.RateLimitFile == "" {
		w = append(w, warning{"rate_limit_file", "is absent: nothing bounds how often the glass is broken"})
	}
	if cfg.Auth.AWS != nil && len(cfg.Auth.SessionKeys) == 0 {
		w = append(w, warning{"auth.session_keys", "is empty: logins end when the server restarts, and no other server accepts them"})
	}
	if cfg.Auth.AWS == nil && len(cfg.Auth.SessionKeys) > 0 {
		w = append(w, warning{"auth.session_keys", "has no use without auth.aws: no other way in gives sessions"})
	}
	holders := func(m authn.Members) int { return len(m.Users) + len(m.Groups) }
	if holders(cfg.Roles.Reviewer)+holders(cfg.Roles.Auditor) == 0 {
		w = append(w, warning{"roles", "has no reviewer and no auditor: nobody can read the audit trail"})
	}
	slices.SortFunc(w, func(a, b warning) int { return cmp.Compare(a.path, b.path) })
	return w
}
