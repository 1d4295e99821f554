package config

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/internal/authn"
	"breakglass/internal/authn/oidc"
	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
	"breakglass/internal/mfa"
	"breakglass/internal/rules"
	"breakglass/internal/yamlfile"
)

// Forms of AWS values, with their source.
var (
	// Any partition; the path is optional (IAM User Guide, "IAM identifiers").
	roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,575}$`)
	region  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d{1,2}$`)
	// AssumeRole API reference, ExternalId: 2 to 1224 of these.
	externalID = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

// The bounds of MaxSessionDuration (IAM API reference, CreateRole).
const (
	minMaxSession = time.Hour
	maxMaxSession = 12 * time.Hour
)

// validator collects problems with the line that each belongs to.
type validator struct {
	file     *yamlfile.File
	problems yamlfile.Problems
}

func (v *validator) add(path, format string, args ...any) {
	v.problems = append(v.problems, v.file.Problem(path, fmt.Sprintf(format, args...)))
}

// require adds a problem unless ok.
func (v *validator) require(ok bool, path, format string, args ...any) {
	if !ok {
		v.add(path, format, args...)
	}
}

func (c Config) validate(v *validator) {
	c.validateListeners(v)
	c.validateProxies(v)
	c.validateLimits(v)
	c.validateStore(v)
	c.validateAuth(v)
	c.validateProfiles(v)
	v.require(c.PolicyFile != "", "policy_file", "is required: without a policy nobody may break the glass")
	c.validateSTS(v)
	v.require(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "log.level", "must be debug, info, warn or error")
	v.require(slices.Contains([]string{"json", "text"}, c.Log.Format), "log.format", "must be json or text")
	for _, p := range c.Notify.Validate(slices.Sorted(maps.Keys(c.Profiles))) {
		v.add("notify."+p.Path, "%s", p.Message)
	}
}

func (c Config) validateListeners(v *validator) {
	if problem := checkAddress(c.Listen); problem != "" {
		v.add("listen", "%s", problem)
	}
	v.require((c.TLS.CertFile == "") == (c.TLS.KeyFile == ""), "tls", "needs cert_file and key_file together")
	c.validateClientAuth(v)
	v.require(Loopback(c.Listen) || c.TLS.Enabled() || c.InsecureHTTP, "listen",
		"%q is not a loopback address: tokens and AWS credentials would cross the network in the clear. Set tls, or say insecure_http: true when TLS ends in front of this server", c.Listen)
	if c.AdminListen != "" {
		if problem := checkAddress(c.AdminListen); problem != "" {
			v.add("admin_listen", "%s", problem)
		}
		v.require(c.AdminListen != c.Listen || strings.HasSuffix(c.Listen, ":0"), "admin_listen", "must differ from listen")
	}
}

func (c Config) validateClientAuth(v *validator) {
	switch auth := c.TLS.ClientAuth; auth {
	case "", "none":
		v.require(c.TLS.ClientCAFile == "", "tls.client_ca_file", "is for tls.client_auth: verify or require")
	case "verify", "require":
		v.require(c.TLS.Enabled(), "tls.client_auth", "needs cert_file and key_file")
		v.require(c.TLS.ClientCAFile != "", "tls.client_auth", "%s needs client_ca_file", auth)
	default:
		v.add("tls.client_auth", "%q is unknown: use none, verify or require", auth)
	}
}

func (c Config) validateProxies(v *validator) {
	if _, i, err := authn.ParseProxies(c.TrustedProxies); err != nil {
		v.add(fmt.Sprintf("trusted_proxies[%d]", i), "%s", err)
	}
}

// maxPerSecond is more than any server of this kind answers.
const maxPerSecond = 1_000_000

func (c Config) validateLimits(v *validator) {
	v.require(c.Limits.Connections >= 0, "limits.connections", "must not be negative")
	v.require(c.Limits.ConnectionsPerAddress >= 0, "limits.connections_per_address", "must not be negative")
	v.require(c.Limits.RequestsPerCaller >= 0 && c.Limits.RequestsPerCaller <= maxPerSecond, "limits.requests_per_caller", "must be requests a second, 0 (the default) to %d", maxPerSecond)
	v.require(c.Limits.EmergencyCallsPerCaller >= 0 && c.Limits.EmergencyCallsPerCaller <= maxPerSecond, "limits.emergency_calls_per_caller", "must be calls a second, 0 (the default) to %d", maxPerSecond)
}

// checkAddress returns what is wrong with a host:port, or "".
func checkAddress(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Sprintf("%q must have the form host:port, such as 127.0.0.1:8080", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("port %q must be a number from 0 to 65535", port)
	}
	return ""
}

// Loopback reports whether addr can be reached from this machine alone. A host
// name other than localhost doesn't count: what it resolves to can change.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) validateAuth(v *validator) {
	c.validateWaysIn(v)
	for _, p := range authn.Check(c.Auth.Tokens, c.RoleMembers()) {
		v.add(p.Path, "%s", p.Message)
	}
	for _, p := range authn.CheckDenied(c.Auth.Denied) {
		v.add(p.Path, "%s", p.Message)
	}
	for _, p := range oidc.Validate(c.Auth.OIDC) {
		v.add("auth.oidc"+p.Path, "%s", p.Message)
	}
	for _, p := range session.Validate(c.Auth.SessionKeys) {
		v.add("auth.session_keys"+p.Path, "%s", p.Message)
	}
	if c.Auth.MFA != nil {
		for _, p := range c.Auth.MFA.Validate() {
			v.add("auth.mfa."+p.Path, "%s", p.Message)
		}
		v.require(c.Auth.MFA.Enrolment != mfa.EnrolmentAdmin || len(c.Roles.Admin.Users)+len(c.Roles.Admin.Groups) > 0, "auth.mfa.enrolment",
			"admin needs somebody with the role admin (roles.admin): nobody could enrol")
	}
	if c.Auth.AWS == nil {
		return
	}
	for _, p := range c.Auth.AWS.Validate() {
		v.add("auth.aws."+p.Path, "%s", p.Message)
	}
	v.require(len(c.Auth.SessionKeys) > 0 || c.Store.Driver == "sqlite", "auth.aws",
		"needs auth.session_keys with the store %q: other replicas have to accept the sessions", c.Store.Driver)
}

// validateWaysIn wants a way in that no identity provider is needed for.
func (c Config) validateWaysIn(v *validator) {
	switch {
	case len(c.Auth.Tokens) > 0 || c.Auth.AWS != nil:
	case len(c.Auth.OIDC) > 0:
		v.add("auth.oidc", "needs another way in beside it, a token in auth.tokens or auth.aws: people need one while the identity provider is the emergency")
	default:
		v.add("auth.tokens", "needs at least one token: nobody could call the server")
	}
}

// RoleMembers is the configuration of roles by role.
func (c Config) RoleMembers() authn.Roles {
	return authn.Roles{
		breakglass.RoleReviewer: c.Roles.Reviewer,
		breakglass.RoleAuditor:  c.Roles.Auditor,
		breakglass.RoleDelegate: c.Roles.Delegate,
		breakglass.RoleAdmin:    c.Roles.Admin,
	}
}

func (c Config) validateProfiles(v *validator) {
	v.require(len(c.Profiles) > 0, "profiles", "needs at least one profile")
	for name, p := range c.Profiles {
		path := "profiles." + name
		if problem := breakglass.CheckName(name); problem != "" {
			v.add(path, "name %q %s", name, problem)
		}
		v.require(roleARN.MatchString(p.RoleARN), path+".role_arn", "%q must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/BreakGlass", p.RoleARN)
		v.require(region.MatchString(p.Region), path+".region", "%q must be an AWS Region, such as us-east-1", p.Region)
		v.require(p.ExternalID == "" || len(p.ExternalID) >= 2 && len(p.ExternalID) <= 1224 && externalID.MatchString(p.ExternalID), path+".external_id", "must have 2 to 1224 characters of A–Z a–z 0–9 _ + = , . @ : / -")
		limit := time.Duration(p.MaxDuration)
		v.require(limit >= 0 && limit <= breakglass.MaxDuration && limit%time.Second == 0, path+".max_duration", "must be whole seconds, at most %s", rules.Words(breakglass.MaxDuration))
		session := time.Duration(p.MaxSession)
		v.require(session == 0 || session >= minMaxSession && session <= maxMaxSession, path+".max_session", "must be from %s to %s, as the role's MaxSessionDuration", rules.Words(minMaxSession), rules.Words(maxMaxSession))
	}
}

func (c Config) validateSTS(v *validator) {
	switch c.STS.Issuer {
	case "aws":
		v.require(c.STS.Region == "" || region.MatchString(c.STS.Region), "sts.region", "%q must be an AWS Region, such as us-east-1", c.STS.Region)
		v.endpoint("sts.endpoint", c.STS.Endpoint, c.STS.AllowHTTP, "the answers of STS hold secret keys")
	case "dev":
		v.require(Loopback(c.Listen), "sts.issuer", "dev makes credentials that open nothing; it works on a loopback listener alone")
	default:
		v.add("sts.issuer", "%q is unknown: use aws, or dev on loopback", c.STS.Issuer)
	}
}
