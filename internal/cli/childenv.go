package cli

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"breakglass/internal/cli/credcache"
)

// credentialVariables are the variables that name credentials. The AWS SDKs
// look at static keys, web identity and the chosen profile before they ask a
// container endpoint, so all of them have to go.
func credentialVariables() []string {
	return []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION",
		"AWS_ACCESS_KEY", "AWS_SECRET_KEY", // older SDKs for Java
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_FILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	}
}

// childEnv is the environment of a command: ours without anything that would
// go before the credentials given, and without our token.
func (a *app) childEnv(set map[string]string) []string {
	drop := append(credentialVariables(), "BGCTL_TOKEN")
	var env []string
	for _, kv := range a.Environ {
		name, _, _ := strings.Cut(kv, "=")
		if _, replaced := set[name]; !replaced && !slices.Contains(drop, name) {
			env = append(env, kv)
		}
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	slices.Sort(env[len(env)-len(set):])
	return env
}

// endpointVariables point the AWS SDKs at the credentials endpoint.
func (a *app) endpointVariables(e credcache.Entry, url, token string) map[string]string {
	v := map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": token}
	if e.Region != "" {
		v["AWS_REGION"], v["AWS_DEFAULT_REGION"] = e.Region, e.Region
	}
	// The default profile of the shared files comes before the endpoint, even
	// when nobody chose it. Only where it holds credentials of its own are the
	// files hidden, because they hold other settings too.
	for name, file := range map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "credentials", "AWS_CONFIG_FILE": "config"} {
		if defaultProfileHasCredentials(a.awsFile(name, file)) {
			v[name] = os.DevNull
			a.hint("Your AWS default profile (~/.aws/%s) has credentials of its own; it is hidden from this command.", file)
		}
	}
	return v
}

func (a *app) awsFile(variable, name string) string {
	if path := a.getenv(variable); path != "" {
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(a.getenv("HOME"), rest)
		}
		return path
	}
	return filepath.Join(a.getenv("HOME"), ".aws", name)
}

// defaultProfileHasCredentials looks for settings that make the AWS SDKs find
// credentials in the section [default] of a shared file.
func defaultProfileHasCredentials(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	keys := []string{"aws_access_key_id", "credential_process", "role_arn", "web_identity_token_file", "sso_session", "sso_start_url",
		"sso_account_id", "login_session", "source_profile", "credential_source"}
	in := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if section, ok := strings.CutPrefix(line, "["); ok {
			section, _, _ = strings.Cut(section, "]")
			name := strings.Join(strings.Fields(section), " ")
			in = name == "default" || name == "profile default"
			continue
		}
		key, _, ok := strings.Cut(line, "=")
		if in && ok && slices.Contains(keys, strings.ToLower(strings.TrimSpace(key))) {
			return true
		}
	}
	return false
}
