package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"breakglass/internal/config"
	"breakglass/internal/testenv"
)

// composeFile is what these tests look at in docker-compose.yml.
type composeFile struct {
	Services map[string]struct {
		Build     string    `yaml:"build"`
		Image     string    `yaml:"image"`
		Ports     []string  `yaml:"ports"`
		Volumes   []string  `yaml:"volumes"`
		Profiles  []string  `yaml:"profiles"`
		DependsOn yaml.Node `yaml:"depends_on"`
	} `yaml:"services"`
	Volumes map[string]any `yaml:"volumes"`
}

func compose(t *testing.T) (file composeFile, text string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), "docker-compose.yml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &file))
	return file, string(b)
}

func TestComposeStartsEverythingInVersionsThatAreFixed(t *testing.T) {
	file, _ := compose(t)
	for _, name := range []string{"breakglass", "aws", "dynamodb"} {
		assert.Contains(t, file.Services, name)
	}
	images := map[string]string{}
	for name, s := range file.Services {
		assert.Empty(t, s.Profiles, "%s has to start on a plain `docker compose up`", name)
		if s.Build == "" {
			images["service "+name] = s.Image
		} else {
			assert.FileExists(t, filepath.Join(testenv.Root(t), s.Build, "Dockerfile"))
		}
		for _, p := range s.Ports {
			assert.True(t, strings.HasPrefix(p, "127.0.0.1:"), "%s: port %s is open to the network", name, p)
		}
		for _, other := range s.DependsOn.Content {
			if other.Kind == yaml.ScalarNode {
				assert.Contains(t, file.Services, other.Value, "%s depends on it", name)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(dockerfile(t), -1) {
		if m[1] != "scratch" {
			images["Dockerfile"] = m[1]
		}
	}
	assert.Len(t, images, len(file.Services), "one of each service that isn't built here, and the one to build with")
	for where, image := range images {
		assert.Regexp(t, `^[a-z0-9./-]+:[0-9]+(\.[0-9]+)+$`, image, where)
	}
}

func dockerfile(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), "Dockerfile"))
	require.NoError(t, err)
	return string(b)
}

func TestComposeMountsAConfigurationThatTheServerAccepts(t *testing.T) {
	file, text := compose(t)
	var mounted string // where the configuration lies in this checkout
	for name, s := range file.Services {
		for _, v := range s.Volumes {
			from, to, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, ".") {
				assert.Contains(t, file.Volumes, from, name)
				continue
			}
			dir := filepath.Join(testenv.Root(t), from)
			assert.DirExists(t, dir, name)
			to, mode, _ := strings.Cut(to, ":")
			assert.Equal(t, "ro", mode, "%s may change the checkout", name)
			if strings.Contains(dockerfile(t), `"`+path.Join(to, "config.yaml")+`"`) {
				mounted = filepath.Join(dir, "config.yaml")
			}
		}
	}
	require.FileExists(t, mounted, "nothing is mounted where the image looks for its configuration")
	out, err := exec.Command(testenv.Build(t, "./cmd/breakglassd"), "check", "--config", mounted).CombinedOutput()
	require.NoError(t, err, "%s", out)

	c, err := config.Load(mounted)
	require.NoError(t, err)
	endpoints := []string{c.STS.Endpoint}
	for _, sink := range c.Notify.Sinks {
		endpoints = append(endpoints, sink.Endpoint)
	}
	for _, endpoint := range endpoints {
		u, err := url.Parse(endpoint)
		require.NoError(t, err)
		host, _, err := net.SplitHostPort(u.Host)
		require.NoError(t, err)
		assert.Contains(t, file.Services, host, "the configuration expects it")
	}
	assert.Equal(t, "/data", path.Dir(c.Store.SQLite.Path), "where the volume is")

	token := regexp.MustCompile(`BGCTL_TOKEN=(\S+)`).FindStringSubmatch(text)
	require.Len(t, token, 2)
	sum := sha256.Sum256([]byte(token[1]))
	var hashes []string
	for _, t := range c.Auth.Tokens {
		hashes = append(hashes, t.SHA256)
	}
	assert.True(t, slices.Contains(hashes, hex.EncodeToString(sum[:])), "the token of the example is none of the configuration's")
}
