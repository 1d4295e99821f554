package issuer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOnlyOurOwnConfigurationSaysWhereSTSIs(t *testing.T) {
	shared := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(shared, []byte("[default]\nendpoint_url = http://192.0.2.1\n"), 0o600))
	for name, env := range map[string]string{
		"AWS_ENDPOINT_URL": "http://192.0.2.1", "AWS_ENDPOINT_URL_STS": "http://192.0.2.1", "AWS_CONFIG_FILE": shared,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, env)
			assert.Nil(t, newIssuer(t, "").client.Options().BaseEndpoint)
			assert.Equal(t, "https://sts.example.com", *newIssuer(t, "https://sts.example.com").client.Options().BaseEndpoint)
		})
	}
}
