package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"breakglass/internal/authn"
	"breakglass/internal/authn/oidc"
	"breakglass/internal/config"
	"breakglass/internal/notify"
	"breakglass/internal/policy"
	"breakglass/internal/ratelimit"
)

// Check reports every problem of the configuration at path, of the files that
// it names and of the secrets that the sinks need, one to a line, and returns
// what is allowed but rarely meant. Nothing is opened for writing, and nothing
// is asked over the network.
func Check(path string) (warnings []string, err error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	errs := []error{checkFile(cfg.PolicyFile, func(name string, data []byte) error {
		p, err := policy.Parse(name, data)
		if err == nil {
			warnings = warnMFA(cfg.Auth, p)
		}
		return err
	})}
	if cfg.RateLimitFile != "" {
		errs = append(errs, checkFile(cfg.RateLimitFile, func(name string, data []byte) error {
			_, err := ratelimit.Parse(name, data)
			return err
		}))
	}
	if cfg.TLS.Enabled() {
		if _, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile); err != nil {
			errs = append(errs, fmt.Errorf("%s: tls: %w", path, err))
		}
	}
	if _, err := sessionKeys(cfg.Auth); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", path, err))
	}
	if _, err := secondFactors(cfg.Auth); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", path, err))
	}
	if err := oidc.CheckFiles(cfg.Auth.OIDC); err != nil {
		errs = append(errs, fmt.Errorf("%s: auth: %w", path, err))
	}
	sinks, err := notify.Build(context.Background(), cfg.Notify.Sinks, notify.Deps{
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
		AWS: func(_ context.Context, region string) (aws.Config, error) { return aws.Config{Region: region}, nil },
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: notify: %w", path, err))
	}
	sinks.Close()
	return append(warn(cfg), warnings...), errors.Join(errs...)
}

// warn names what leaves a server without one of its safeguards.
func warn(cfg config.Config) []string {
	var w []string
	if len(cfg.Notify.Sinks) == 0 {
		w = append(w, "notify.sinks is empty: nobody is told when the glass is broken")
	}
	if cfg.RateLimitFile == "" {
		w = append(w, "rate_limit_file is absent: nothing bounds how often the glass is broken")
	}
	if cfg.Auth.AWS != nil && len(cfg.Auth.SessionKeys) == 0 {
		w = append(w, "auth.session_keys is empty: logins end when the server restarts, and no other replica accepts them")
	}
	w = append(w, oidc.Warnings(cfg.Auth.OIDC)...)
	holders := func(m authn.Members) int { return len(m.Users) + len(m.Groups) }
	if holders(cfg.Roles.Reviewer)+holders(cfg.Roles.Auditor) == 0 {
		w = append(w, "roles has no reviewer and no auditor: nobody can read the audit trail")
	}
	return w
}

func checkFile(path string, parse func(name string, data []byte) error) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return parse(path, data)
}
