package awsiam

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/yamlfile"
)

// Config is the section auth.aws of the configuration.
type Config struct {
	// ServerNames are the host names by which callers reach this server, as in
	// the URL that bgctl is given and in the server's certificate; no port. A
	// login signed for any other name is refused.
	ServerNames []string `yaml:"server_names"`
	// Regions whose STS endpoints may be asked; the first is preferred.
	Regions []string `yaml:"regions"`
	// SessionDuration is how long a login lasts; zero means DefaultSession.
	SessionDuration yamlfile.Duration `yaml:"session_duration"`
	// Endpoint is where STS is reached instead of its public address: a VPC
	// endpoint, or an emulator on loopback. Requests still name the real host.
	Endpoint string `yaml:"endpoint"`
	// Proxy is an HTTP proxy on the way to STS. The environment's isn't used.
	Proxy string `yaml:"proxy"`
	// Rules say who is who; the first that matches decides.
	Rules []Rule `yaml:"rules"`
}

// Rule names the principal behind an AWS identity. Account and one of Role,
// PermissionSet and User say which identity; Name or NameFrom which principal.
type Rule struct {
	Account string `yaml:"account"` // 12 digits
	// Partition is aws, aws-us-gov or aws-cn: nothing says that account numbers
	// differ between them. Needed only where the Regions are of several.
	Partition string `yaml:"partition"`
	// Role is the exact name of an IAM role, without its path.
	Role string `yaml:"role"`
	// PermissionSet is the exact name of a permission set of IAM Identity Center,
	// whose roles are called AWSReservedSSO_<permission set>_<16 hex digits>.
	PermissionSet string `yaml:"permission_set"`
	// User is the exact name of an IAM user, without its path.
	User string `yaml:"user"`

	Name string `yaml:"name"`
	// NameFrom is session_name, or empty for Name.
	NameFrom string `yaml:"name_from"`
	// NameSuffix is appended to a session name, such as @example.com.
	NameSuffix string `yaml:"name_suffix"`
	// TrustSessionName allows NameFrom for a Role. Whoever may assume a role
	// chooses the session name, unless its trust policy binds it.
	TrustSessionName bool `yaml:"trust_session_name"`

	Groups []string `yaml:"groups"`
}

// SessionName is the value of Rule.NameFrom.
const SessionName = "session_name"

// Bounds of a session.
const (
	DefaultSession = time.Hour
	MaxSession     = 12 * time.Hour
	minSession     = time.Minute
)

// Forms of AWS values.
var (
	account = regexp.MustCompile(`^[0-9]{12}$`)
	region  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	// CreateRole and CreateUser (IAM API reference), permission sets (SSO Admin
	// API reference: 1 to 32 characters).
	iamName       = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	permissionSet = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,32}$`)
	hostName      = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	ssoRole       = regexp.MustCompile(`^AWSReservedSSO_(.{1,32})_[0-9a-f]{16}$`)
)

// Problem is one thing that is wrong with a configuration; Path leads to it, as
// in rules[0].role.
type Problem struct {
	Path    string
	Message string
}

// sessionFor is how long a login lasts.
func (c Config) sessionFor() time.Duration {
	if c.SessionDuration == 0 {
		return DefaultSession
	}
	return time.Duration(c.SessionDuration)
}

// Validate returns everything that is wrong with c; it looks at nothing outside.
func (c Config) Validate() []Problem {
	v := &validator{}
	v.require(len(c.ServerNames) > 0, "server_names", "is required: the host names by which callers reach this server; a login is bound to one")
	for i, n := range c.ServerNames {
		ip := net.ParseIP(n)
		v.require(ip != nil && ip.String() == n || hostName.MatchString(n), fmt.Sprintf("server_names[%d]", i),
			"%q must be a host name or address in lower case, without scheme and port", n)
	}
	v.unique("server_names", c.ServerNames)
	v.require(len(c.Regions) > 0, "regions", "needs at least one AWS Region, such as us-east-1, whose STS is asked")
	for i, r := range c.Regions {
		v.require(region.MatchString(r), fmt.Sprintf("regions[%d]", i), "%q must be an AWS Region, such as us-east-1", r)
	}
	v.unique("regions", c.Regions)
	d := c.sessionFor()
	v.require(d >= minSession && d <= MaxSession && d%time.Second == 0, "session_duration", "must be whole seconds from %s to %s", minSession, MaxSession)
	v.endpoint("endpoint", c.Endpoint, false)
	v.endpoint("proxy", c.Proxy, true)
	v.require(len(c.Rules) > 0, "rules", "needs at least one rule: nobody could log in")
	partitions := c.partitions()
	for i, r := range c.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		v.rule(path, r)
		v.require(r.Partition != "" || len(partitions) < 2, path+".partition", "is required, because regions are of several: %s", strings.Join(partitions, ", "))
		v.require(r.Partition == "" || slices.Contains(partitions, r.Partition), path+".partition", "%q is that of none of the regions: %s", r.Partition, strings.Join(partitions, ", "))
	}
	v.repeated(c.Rules)
	return v.problems
}

// partitions are those that the Regions belong to.
func (c Config) partitions() []string {
	var out []string
	for _, r := range c.Regions {
		out = append(out, partitionOf(r))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

type validator struct{ problems []Problem }

func (v *validator) require(ok bool, path, format string, args ...any) {
	if !ok {
		v.problems = append(v.problems, Problem{path, fmt.Sprintf(format, args...)})
	}
}

func (v *validator) unique(path string, list []string) {
	for i, s := range list {
		v.require(slices.Index(list, s) == i, fmt.Sprintf("%s[%d]", path, i), "%q is there twice", s)
	}
}

// endpoint checks a URL without path. Plain http is for this machine alone: who
// could answer in place of STS could be anybody.
func (v *validator) endpoint(path, text string, isProxy bool) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		v.require(false, path, "must be a URL, such as https://host")
		return
	}
	plain := (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == "" && !u.ForceQuery
	v.require(plain, path, "must have no path and no query")
	v.require(u.User == nil, path, "must hold no user name or password")
	v.require(isProxy || u.Scheme == "https" || loopback(u.Hostname()), path, "has no TLS: off this machine it must be https, because who answers there says who callers are")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (v *validator) rule(path string, r Rule) {
	v.require(account.MatchString(r.Account), path+".account", "must be the 12 digits of an AWS account, in quotes")
	v.require(count(r.Role, r.PermissionSet, r.User) == 1, path, "needs exactly one of role, permission_set and user")
	exact := func(field, value string, form *regexp.Regexp) {
		v.require(value == "" || form.MatchString(value), path+"."+field, "%q must be the exact name, without path, ARN or wildcard", value)
	}
	exact("role", r.Role, iamName)
	exact("permission_set", r.PermissionSet, permissionSet)
	exact("user", r.User, iamName)
	v.require((r.Name != "") != (r.NameFrom != ""), path, "needs exactly one of name and name_from")
	if r.Name != "" {
		v.name(path+".name", r.Name)
	}
	v.nameFrom(path, r)
	for i, g := range r.Groups {
		v.group(fmt.Sprintf("%s.groups[%d]", path, i), g)
	}
}

func (v *validator) nameFrom(path string, r Rule) {
	v.require(r.NameFrom == "" || r.NameFrom == SessionName, path+".name_from", "must be %s", SessionName)
	v.require(r.NameSuffix == "" || r.NameFrom != "", path+".name_suffix", "belongs to name_from")
	if r.NameSuffix != "" {
		v.name(path+".name_suffix", r.NameSuffix)
	}
	v.require(!r.TrustSessionName || r.NameFrom != "" && r.Role != "", path+".trust_session_name", "belongs to a role with name_from")
	if r.NameFrom == "" {
		return
	}
	v.require(r.User == "", path+".name_from", "an IAM user has no session name; use name")
	v.require(r.Role == "" || ssoRole.MatchString(r.Role) || r.TrustSessionName, path+".name_from",
		"whoever may assume the role %q chooses the session name, and so could be anybody. Use a permission_set, or say trust_session_name: true "+
			"when the role's trust policy binds the session name to the person", r.Role)
}

func (v *validator) name(path, name string) {
	problem := breakglass.CheckPersonName(name)
	v.require(problem == "", path, "%s", problem)
	v.require(!strings.HasPrefix(name, ":") && name != "*", path, "must not begin with a colon, as the server's own names do, and not be *")
}

func (v *validator) group(path, name string) {
	_, problem := breakglass.CanonicalGroup(name)
	v.require(problem == "", path, "%s", problem)
}

// repeated finds rules that can never decide, because an earlier one does.
func (v *validator) repeated(rules []Rule) {
	seen := map[string]int{}
	for i, r := range rules {
		key := strings.Join([]string{r.Partition, r.Account, r.Role, r.PermissionSet, r.User}, "/")
		if first, dup := seen[key]; dup {
			v.require(false, fmt.Sprintf("rules[%d]", i), "names the same identity as rules[%d]", first)
		} else {
			seen[key] = i
		}
	}
}

func count(texts ...string) int {
	n := 0
	for _, s := range texts {
		if s != "" {
			n++
		}
	}
	return n
}
