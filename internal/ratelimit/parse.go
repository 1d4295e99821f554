package ratelimit

import (
	"fmt"
	"time"

	"breakglass/internal/rules"
	"breakglass/internal/yamlfile"
)

// Bounds of what a file may say. They catch slips of the keyboard, and keep
// what one invocation has to count small.
const (
	MaxCooldown    = 720 * time.Hour  // 30 days
	MaxQuotaWindow = 8784 * time.Hour // 366 days
	MaxCount       = 10_000
)

type fileRule struct {
	Name                string             `yaml:"name"`
	Profiles            []string           `yaml:"profiles"`
	Cooldown            *yamlfile.Duration `yaml:"cooldown"`
	MaxPerUser          *int               `yaml:"max_per_user"`
	MaxPerProfile       *int               `yaml:"max_per_profile"`
	QuotaWindow         *yamlfile.Duration `yaml:"quota_window"`
	EscalationThreshold *int               `yaml:"escalation_threshold"`
}

// Parse reads a rate-limit file; name is for messages. The error is a
// yamlfile.Problems with everything that is wrong.
func Parse(name string, data []byte) (*Policy, error) {
	file, c := rules.Read(name, data, func(r fileRule) string { return r.Name }, "for no limits at all, leave rate_limit_file out of the configuration")
	p := &Policy{sha256: rules.SHA256(data)}
	for i, r := range file {
		p.rules = append(p.rules, r.rule(c, fmt.Sprintf("rules[%d]", i)))
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (r fileRule) rule(c *rules.Checker, at string) Rule {
	c.Profiles(at+".profiles", r.Profiles)
	counts := r.MaxPerUser != nil || r.MaxPerProfile != nil || r.EscalationThreshold != nil
	switch {
	case !counts && r.Cooldown == nil:
		c.Add(at, "limits nothing: give it a cooldown, max_per_user, max_per_profile or escalation_threshold, or remove it")
	case counts && r.QuotaWindow == nil:
		c.Add(at+".quota_window", "is required with max_per_user, max_per_profile and escalation_threshold: they count within it")
	case !counts && r.QuotaWindow != nil:
		c.Add(at+".quota_window", "has no use without max_per_user, max_per_profile or escalation_threshold")
	}
	return Rule{
		Name: r.Name, Profiles: r.Profiles,
		Cooldown:            length(c, at+".cooldown", r.Cooldown, MaxCooldown),
		MaxPerUser:          count(c, at+".max_per_user", r.MaxPerUser),
		MaxPerProfile:       count(c, at+".max_per_profile", r.MaxPerProfile),
		QuotaWindow:         length(c, at+".quota_window", r.QuotaWindow, MaxQuotaWindow),
		EscalationThreshold: count(c, at+".escalation_threshold", r.EscalationThreshold),
	}
}

func length(c *rules.Checker, at string, d *yamlfile.Duration, longest time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	if v := time.Duration(*d); v <= 0 || v > longest {
		c.Add(at, "must be more than 0s and at most %s, not %s; leave it out for none", rules.Words(longest), v)
	}
	return time.Duration(*d)
}

func count(c *rules.Checker, at string, n *int) int {
	if n == nil {
		return 0
	}
	if *n < 1 || *n > MaxCount {
		c.Add(at, "must be from 1 to %d, not %d; leave it out for none", MaxCount, *n)
	}
	return *n
}
