package oidc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// wordsForBooleans are what other readers of YAML, and people, take for true and
// false. Here they are text, which a claim that is true or false never equals.
var wordsForBooleans = map[string]string{"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}

// claimWarnings names required claims that most likely are meant to be booleans.
func claimWarnings(list []Config) []string {
	var w []string
	for i, c := range list {
		for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
			value := c.RequiredClaims[name]
			if meant := wordsForBooleans[strings.ToLower(value)]; meant != "" && meant != value {
				w = append(w, fmt.Sprintf("auth.oidc[%d].required_claims wants %q to be the text %q; if the claim is a boolean, write %s", i, name, value, meant))
			}
		}
	}
	return w
}
