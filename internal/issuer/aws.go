package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// DefaultTimeout bounds one call of AWS.Issue, retries included. Somebody is
// waiting for the credentials; what takes longer is better tried again.
const DefaultTimeout = 10 * time.Second

// maxAttempts is how often one request to STS is sent.
const maxAttempts = 3

// AWSOptions say how STS is reached. The zero value uses the SDK's own settings.
type AWSOptions struct {
	// Region of the STS endpoint, such as us-east-1. Empty: as the SDK finds it
	// in the environment or the shared configuration.
	Region string
	// Endpoint replaces the regional endpoint, for emulators and VPC endpoints.
	Endpoint string
	// Timeout of one Issue; zero: DefaultTimeout.
	Timeout time.Duration
	// Credentials of the server itself; nil: the SDK's default chain.
	Credentials aws.CredentialsProvider
	// Log gets what an operator should know; nil: nothing is logged.
	Log *slog.Logger
}

// AWS issues credentials by STS AssumeRole. It is safe for concurrent use.
type AWS struct {
	client  *sts.Client
	own     aws.CredentialsProvider
	timeout time.Duration
	log     *slog.Logger
	limits  limits
}

var _ breakglass.Issuer = (*AWS)(nil)

// NewAWS reads the server's AWS configuration. It calls no AWS service; an
// error means that the configuration itself is unusable.
func NewAWS(ctx context.Context, o AWSOptions) (*AWS, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cfg, err := config.LoadDefaultConfig(ctx, loadOptions(o)...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration of the server: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("AWS configuration of the server: no region; set sts.region")
	}
	client := sts.NewFromConfig(cfg, func(so *sts.Options) {
		// Only our own configuration says where secret keys come from: not
		// AWS_ENDPOINT_URL in the environment, nor endpoint_url in ~/.aws.
		so.BaseEndpoint = nil
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(o.Endpoint)
		}
	})
	return &AWS{client: client, own: cfg.Credentials, timeout: o.Timeout, log: o.Log}, nil
}

func loadOptions(o AWSOptions) []func(*config.LoadOptions) error {
	opts := []func(*config.LoadOptions) error{
		config.WithAppID("breakglassd"), // shows in CloudTrail's userAgent
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			o.Log.Debug("AWS SDK: " + fmt.Sprintf(format, v...)) // the SDK logs no requests unless told to
		})),
		// A hanging attempt must leave time for the next one.
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(o.Timeout * 3 / 10)),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(so *retry.StandardOptions) {
				so.MaxAttempts = maxAttempts
				so.MaxBackoff = o.Timeout / 20
				// The SDK's quota would stop retries of one call because others failed.
				so.RateLimiter = ratelimit.None
			})
		}),
	}
	if o.Region != "" {
		opts = append(opts, config.WithRegion(o.Region))
	}
	if o.Credentials != nil {
		opts = append(opts, config.WithCredentialsProvider(o.Credentials))
	}
	return opts
}

// FindCredentials returns an error when the server can't get AWS credentials of
// its own. It doesn't ask AWS what they are good for.
func (a *AWS) FindCredentials(ctx context.Context) error {
	_, err := a.own.Retrieve(ctx)
	return err
}

// Issue implements breakglass.Issuer. The credentials end at g.Ends rounded down
// to the second, or earlier when the role's longest session is shorter.
//
// Errors are *breakglass.Error: CodeCredentialsRefused with Temporary set when
// AWS is throttling, failing or out of reach, and without it when somebody has to
// change something first; CodeInvalidTransition when the grant is over or ends
// within a second, in which case AWS isn't asked.
func (a *AWS) Issue(ctx context.Context, p breakglass.Profile, g breakglass.Grant, now time.Time) (breakglass.Credentials, error) {
	end, err := sessionEnd(g, now)
	if err != nil {
		return breakglass.Credentials{}, err
	}
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()

	// Cached by the SDK. Asked for here so that a failure to get the server's own
	// credentials can be told from a refusal of the role.
	if _, err := a.own.Retrieve(limited); err != nil {
		return breakglass.Credentials{}, ownCredentials(ctx, g, err)
	}
	seconds := durationSeconds(end, now, a.sessionLimit(limited, p, end, now))
	out, err := a.client.AssumeRole(limited, assumeRole(p, g, end, seconds))
	if err != nil && seconds > chainedSession && exceedsMaximum(err) {
		a.limits.learn(p.RoleARN, now)
		a.log.WarnContext(ctx, "AWS allows sessions of this role for one hour only; longer access needs fresh credentials each hour",
			"profile", p.Name, "role_arn", p.RoleARN, "asked_seconds", seconds, "error", err)
		out, err = a.client.AssumeRole(limited, assumeRole(p, g, end, chainedSession))
	}
	if err != nil {
		return breakglass.Credentials{}, refusal(ctx, p, g, err)
	}
	return fromSTS(p, g, end, now, out)
}

func assumeRole(p breakglass.Profile, g breakglass.Grant, end time.Time, seconds int32) *sts.AssumeRoleInput {
	name := breakglass.SessionName(g.Holder, g.ID)
	in := &sts.AssumeRoleInput{
		RoleArn:         aws.String(p.RoleARN),
		RoleSessionName: aws.String(name),
		DurationSeconds: aws.Int32(seconds),
		Policy:          aws.String(sessionPolicy(end)),
	}
	if p.ExternalID != "" {
		in.ExternalId = aws.String(p.ExternalID)
	}
	if p.SourceIdentity {
		in.SourceIdentity = aws.String(name)
	}
	if p.SessionTags {
		in.Tags = sessionTags(p, g)
	}
	return in
}

func fromSTS(p breakglass.Profile, g breakglass.Grant, end, now time.Time, out *sts.AssumeRoleOutput) (breakglass.Credentials, error) {
	c := out.Credentials
	if c == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" ||
		aws.ToString(c.SessionToken) == "" || c.Expiration == nil {
		return breakglass.Credentials{}, unintelligible(g, errors.New("AssumeRole succeeded without complete credentials"))
	}
	expiration := earlier(end, *c.Expiration)
	if !expiration.After(now) {
		return breakglass.Credentials{}, clockOff(g, fmt.Errorf("credentials end at %s, and it is %s here",
			expiration.Format(time.RFC3339), now.Format(time.RFC3339)))
	}
	issued := breakglass.Credentials{
		AccessKeyID:     *c.AccessKeyId,
		SecretAccessKey: *c.SecretAccessKey,
		SessionToken:    *c.SessionToken,
		Expiration:      expiration,
		Issuer:          "aws",
		RoleSessionName: breakglass.SessionName(g.Holder, g.ID),
	}
	if p.SourceIdentity {
		issued.SourceIdentity = issued.RoleSessionName
	}
	return issued, nil
}
