package issuer

import (
	"context"
	"os"
	"testing"
	"time"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
)

// TestMain keeps the AWS settings of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		_ = os.Unsetenv(name)
	}
	_ = os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	_ = os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	_ = os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Exit(m.Run())
}

const (
	testGrantID = "0123456789abcdef"
	testRole    = "arn:aws:iam::123456789012:role/BreakGlass"
	ownSecret   = "the-server's-own-secret"
)

func testProfile() breakglass.Profile {
	return breakglass.Profile{Name: "prod", RoleARN: testRole, Region: "us-east-1", MaxSession: 4 * time.Hour,
		SourceIdentity: true, SessionTags: true}
}

// testGrant is a grant by an event.
func testGrant(ends time.Time) breakglass.Grant {
	return breakglass.Grant{Link: breakglass.LinkBreakglass, ID: testGrantID, Holder: "alice@example.com", Rule: "oncall",
		Until: ends, Ends: ends, ReasonCode: breakglass.ReasonIncident, CorrelationID: "req-12345678"}
}

// grantBy is a grant by that link of the chain.
func grantBy(link breakglass.Link, ends time.Time) breakglass.Grant {
	g := testGrant(ends)
	g.Link = link
	if link != breakglass.LinkBreakglass {
		g.ReasonCode = ""
	}
	return g
}

// newIssuer makes an issuer whose own credentials are those of an IAM user.
func newIssuer(t testing.TB, endpoint string, change ...func(*AWSOptions)) *AWS {
	t.Helper()
	o := AWSOptions{Region: "us-east-1", Endpoint: endpoint, Credentials: userKeys()}
	for _, f := range change {
		f(&o)
	}
	a, err := NewAWS(context.Background(), o)
	require.NoError(t, err)
	return a
}

func userKeys() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("AKIATESTING", ownSecret, "")
}

// asError returns err as the error that callers see.
func asError(t testing.TB, err error) *breakglass.Error {
	t.Helper()
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	return e
}
