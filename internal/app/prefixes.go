package app

import (
	"fmt"
	"slices"
	"strings"

	"breakglass/internal/authn"
	"breakglass/internal/config"
)

// prefixes warns about issuers whose names or groups can be those of somebody
// whom another way in, or a role, means: whoever chooses names at one of them
// could be a person of the other. That is right for one company's provider, and
// wrong beside a CI system.
func prefixes(cfg config.Config) []warning {
	bareNames, bareGroups := 0, 0
	for _, c := range cfg.Auth.OIDC {
		if c.NamePrefix == "" {
			bareNames++
		}
		if c.GroupsClaim != "" && c.GroupPrefix == "" {
			bareGroups++
		}
	}
	names, groups := len(cfg.Auth.Tokens) > 0 || cfg.Auth.AWS != nil, slices.ContainsFunc(cfg.Auth.Tokens, func(t authn.Token) bool { return len(t.Groups) > 0 })
	for _, m := range cfg.RoleMembers() {
		names = names || len(m.Users) > 0
		groups = groups || len(m.Groups) > 0
	}
	var w []warning
	for i, c := range cfg.Auth.OIDC {
		var missing []string
		if c.NamePrefix == "" && (names || bareNames > 1) {
			missing = append(missing, "name_prefix")
		}
		if c.GroupsClaim != "" && c.GroupPrefix == "" && (groups || bareGroups > 1) {
			missing = append(missing, "group_prefix")
		}
		if len(missing) > 0 {
			w = append(w, warning{fmt.Sprintf("auth.oidc[%d]", i), fmt.Sprintf("has no %s: what %s says is taken for the same as in tokens, roles and other issuers. Is it to say that?",
				strings.Join(missing, " and no "), c.Title())})
		}
	}
	return w
}
