package notify

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOnlyOurOwnConfigurationSaysWhereSNSIs(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
	t.Setenv("AWS_ENDPOINT_URL_SNS", "http://192.0.2.1")
	log, _ := testLog()
	build := func(endpoint string) *string {
		set, err := Build(t.Context(), []SinkConfig{{Name: "a", Type: TypeSNS, TopicARN: "arn:aws:sns:us-east-1:123456789012:secops", Endpoint: endpoint}},
			Deps{Log: log, Now: time.Now})
		require.NoError(t, err)
		return set.sinks[0].notifier.(*snsTopic).client.Options().BaseEndpoint
	}
	assert.Nil(t, build(""))
	assert.Equal(t, "https://sns.example.com", *build("https://sns.example.com"))
}

func TestAnSNSEndpointWithoutTLSStaysOnThisMachine(t *testing.T) {
	for endpoint, allowed := range map[string]bool{
		"http://127.0.0.1:4566": true, "http://localhost:4566": true, "http://[::1]:4566": true, "https://sns.example.com": true,
		"http://aws:5000": false, "http://10.1.2.3": false, "http://localhost.example.com": false,
	} {
		c := SinkConfig{Name: "a", Type: TypeSNS, TopicARN: "arn:aws:sns:us-east-1:123456789012:secops", Endpoint: endpoint}
		problems := Config{Sinks: []SinkConfig{c}}.Validate(nil)
		if allowed {
			assert.Empty(t, problems, endpoint)
		} else {
			require.Len(t, problems, 1, endpoint)
			assert.Equal(t, "sinks[0].endpoint", problems[0].Path)
			assert.Contains(t, problems[0].Message, "allow_http: true")
		}
		c.AllowHTTP = true
		assert.Empty(t, Config{Sinks: []SinkConfig{c}}.Validate(nil), endpoint)
	}
}
