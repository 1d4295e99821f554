package awsiam_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"breakglass/internal/authn/awsiam"
	"breakglass/internal/yamlfile"
)

func TestEveryFaultOfTheConfigurationIsNamedAtOnce(t *testing.T) {
	assert.Empty(t, config.Validate())
	for want, c := range map[string]awsiam.Config{
		"server_names: is required":                      {},
		"regions: needs at least one":                    {},
		"rules: needs at least one rule":                 {},
		"server_names[0]: \"https://x\"":                 {ServerNames: []string{"https://x"}},
		"server_names[0]: \"Breakglass.example\"":        {ServerNames: []string{"Breakglass.example"}},
		"server_names[0]: \"host:443\"":                  {ServerNames: []string{"host:443"}},
		"server_names[1]: \"a\" is there twice":          {ServerNames: []string{"a", "a"}},
		"regions[0]: \"evil.example\"":                   {Regions: []string{"evil.example"}},
		"regions[0]: \"us-east-1.evil.example\"":         {Regions: []string{"us-east-1.evil.example"}},
		"session_duration: must be whole seconds":        {SessionDuration: yamlfile.Duration(13 * time.Hour)},
		"session_duration: must be whole seconds f":      {SessionDuration: yamlfile.Duration(-time.Hour)},
		"endpoint: has no TLS":                           {Endpoint: "http://10.1.2.3:4566"},
		"endpoint: must be a URL":                        {Endpoint: "sts"},
		"endpoint: must have no path":                    {Endpoint: "https://sts.example/x"},
		"endpoint: must hold no user name":               {Endpoint: "https://a:b@sts.example"},
		"proxy: must be a URL":                           {Proxy: "socks5://x"},
		"rules[0].account: must be the 12 digits":        rule(awsiam.Rule{Account: "12345678901", Role: "A", Name: "x"}),
		"rules[0]: needs exactly one of role":            rule(awsiam.Rule{Role: "A", User: "B", Name: "x"}),
		"rules[0].role: \"*\" must be the exact":         rule(awsiam.Rule{Role: "*", Name: "x"}),
		"rules[0].role: \"path/A\"":                      rule(awsiam.Rule{Role: "path/A", Name: "x"}),
		"rules[0].role: \"arn:aws:iam::1:role/A\"":       rule(awsiam.Rule{Role: "arn:aws:iam::1:role/A", Name: "x"}),
		"rules[0].permission_set: \"Eng*\"":              rule(awsiam.Rule{PermissionSet: "Eng*", Name: "x"}),
		"rules[0].user: \"a*\"":                          rule(awsiam.Rule{User: "a*", Name: "x"}),
		"rules[0]: needs exactly one of name":            rule(awsiam.Rule{Role: "A"}),
		"rules[0].name: must not begin with a":           rule(awsiam.Rule{Role: "A", Name: ":login"}),
		"rules[0].name: must not contain control":        rule(awsiam.Rule{Role: "A", Name: "a\u202eb"}),
		"rules[0].name_from: must be session_name":       rule(awsiam.Rule{PermissionSet: "A", NameFrom: "user_id"}),
		"rules[0].name_from: whoever may assume":         rule(awsiam.Rule{Role: "A", NameFrom: "session_name"}),
		"rules[0].name_from: an IAM user has no":         rule(awsiam.Rule{User: "A", NameFrom: "session_name"}),
		"rules[0].name_suffix: belongs to name_from":     rule(awsiam.Rule{Role: "A", Name: "x", NameSuffix: "@x"}),
		"rules[0].trust_session_name: belongs to":        rule(awsiam.Rule{Role: "A", Name: "x", TrustSessionName: true}),
		"rules[0].groups[0]: must not be empty":          rule(awsiam.Rule{Role: "A", Name: "x", Groups: []string{""}}),
		"rules[0].partition: is required":                {Regions: []string{"us-east-1", "cn-north-1"}, Rules: []awsiam.Rule{{Account: home, Role: "A", Name: "x"}}},
		"rules[0].partition: \"aws-cn\" is that of none": {Regions: []string{"us-east-1"}, Rules: []awsiam.Rule{{Account: home, Partition: "aws-cn", Role: "A", Name: "x"}}},
		"rules[1]: names the same identity as rules[0]": {Rules: []awsiam.Rule{{Account: home, Role: "A", Name: "x"},
			{Account: home, Role: "A", Name: "y"}}},
	} {
		var texts []string
		for _, p := range c.Validate() {
			texts = append(texts, p.Path+": "+p.Message)
		}
		assert.Contains(t, fmt.Sprint(texts), want)
	}
}

func rule(r awsiam.Rule) awsiam.Config { return awsiam.Config{Rules: []awsiam.Rule{r}} }
