// Package config reads the server's configuration: strict YAML, defaults
// first, every problem at once with file and line.
package config

import (
	"breakglass/internal/authn"
	"breakglass/internal/authn/awsiam"
	"breakglass/internal/authn/oidc"
	"breakglass/internal/authn/session"
	"breakglass/internal/mfa"
	"breakglass/internal/notify"
	"breakglass/internal/yamlfile"
)

// Config is the server's configuration. Paths in it are absolute, or relative
// to the folder that the server was started in; Load resolves those written
// in a file against the file's own folder.
type Config struct {
	// Listen is the address of the API, host:port.
	Listen string `yaml:"listen"`
	// AdminListen moves /metrics to a listener of its own.
	AdminListen string `yaml:"admin_listen"`
	// InsecureHTTP allows plain HTTP off loopback, where something in front
	// terminates TLS.
	InsecureHTTP bool `yaml:"insecure_http"`
	TLS          TLS  `yaml:"tls"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// Limits bounds what callers can hold.
	Limits Limits `yaml:"limits"`

	Store    Store              `yaml:"store"`
	Auth     Auth               `yaml:"auth"`
	Roles    Roles              `yaml:"roles"`
	Profiles map[string]Profile `yaml:"profiles"`

	PolicyFile    string `yaml:"policy_file"`
	RateLimitFile string `yaml:"rate_limit_file"`
	AccessFile    string `yaml:"access_file"`
	ApprovalsFile string `yaml:"approvals_file"`

	STS    STS           `yaml:"sts"`
	Audit  Audit         `yaml:"audit"`
	Notify notify.Config `yaml:"notify"`
	Log    Log           `yaml:"log"`
}

// TLS names the server's certificate chain and key, PEM files, and the
// authorities whose certificates clients may or must have.
type TLS struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"`
	ClientAuth   string `yaml:"client_auth"` // none | verify | require; empty: none
}

// Enabled reports whether the API is served over TLS.
func (t TLS) Enabled() bool { return t.CertFile != "" }

// Proxies are the trusted proxies of a valid configuration.
func (c Config) Proxies() authn.Proxies {
	p, _, _ := authn.ParseProxies(c.TrustedProxies) // the validation has read them
	return p
}

// Limits are about connections to the API, and about the requests of one caller
// in a second; zero means the default.
type Limits struct {
	Connections             int `yaml:"connections"`
	ConnectionsPerAddress   int `yaml:"connections_per_address"`
	RequestsPerCaller       int `yaml:"requests_per_caller"`
	EmergencyCallsPerCaller int `yaml:"emergency_calls_per_caller"`
}

// Auth says who can call.
type Auth struct {
	Tokens []authn.Token `yaml:"tokens"`
	// Denied lists people whom no way in lets in.
	Denied []string `yaml:"denied"`
	// OIDC lists the OpenID Connect issuers whose tokens are accepted.
	OIDC []oidc.Config `yaml:"oidc"`
	// AWS lets callers in who prove an AWS identity; absent: nobody.
	AWS *awsiam.Config `yaml:"aws"`
	// SessionKeys sign the sessions of those who logged in: the first one signs,
	// all are accepted. Every replica has the same ones.
	SessionKeys []session.KeySource `yaml:"session_keys"`
	// MFA lets the server check second factors itself; absent: it takes the word
	// of identity providers alone.
	MFA *mfa.Config `yaml:"mfa"`
}

// Roles says who has which role.
type Roles struct {
	Reviewer authn.Members `yaml:"reviewer"`
	Auditor  authn.Members `yaml:"auditor"`
	Delegate authn.Members `yaml:"delegate"`
	Admin    authn.Members `yaml:"admin"`
}

// Profile is an AWS role that can be invoked.
type Profile struct {
	RoleARN     string            `yaml:"role_arn"`
	Region      string            `yaml:"region"`
	ExternalID  string            `yaml:"external_id"`
	MaxDuration yamlfile.Duration `yaml:"max_duration"` // of an event; default 4h
	MaxSession  yamlfile.Duration `yaml:"max_session"`  // the role's MaxSessionDuration; default 1h
	// SourceIdentity and SessionTags default to true.
	SourceIdentity *bool `yaml:"source_identity"`
	SessionTags    *bool `yaml:"session_tags"`
}

// STS says how credentials are made.
type STS struct {
	Issuer   string `yaml:"issuer"` // aws | dev
	Region   string `yaml:"region"`
	Endpoint string `yaml:"endpoint"`
	// AllowHTTP permits an endpoint without TLS off loopback: the answers of STS
	// hold secret keys.
	AllowHTTP bool `yaml:"allow_http"`
}

// Audit configures mirrors of the audit trail, as JSON lines.
type Audit struct {
	Stdout bool   `yaml:"stdout"`
	File   string `yaml:"file"`
}

// Log configures the server's own log, on standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug | info | warn | error
	Format string `yaml:"format"` // json | text
}

// Default is the configuration before any file is read.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8080",
		Store:  Store{Driver: DriverSQLite, SQLite: SQLite{Path: "breakglass.db"}},
		STS:    STS{Issuer: "aws"},
		Log:    Log{Level: "info", Format: "json"},
	}
}
