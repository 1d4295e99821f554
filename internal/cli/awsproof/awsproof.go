// Package awsproof gets AWS credentials as the AWS CLI does and signs with them
// who their holder is. It sends nothing to AWS that the credentials themselves
// don't need: the signed request stays here, and only its signature leaves.
package awsproof

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/smithy-go/logging"

	"breakglass/internal/client"
)

// body is the whole body of a GetCallerIdentity request.
const body = "Action=GetCallerIdentity&Version=2011-06-15"

var region = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)

// Identity is an AWS identity with its credentials.
type Identity struct {
	creds  aws.Credentials
	region string // where the identity is used by default; may be empty
}

// Find returns the credentials that the AWS CLI would use: of the profile, or
// when it is empty of AWS_PROFILE, the environment, the shared files, web
// identity, single sign-on, a process, a container or an instance. mfa asks for
// the code of a profile with mfa_serial.
func Find(ctx context.Context, profile string, mfa func() (string, error)) (Identity, error) {
	opts := []func(*config.LoadOptions) error{
		config.WithAppID("bgctl"),
		config.WithLogger(logging.Nop{}),
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) { o.TokenProvider = mfa }),
	}
	if profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return Identity{}, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if cfg.Credentials == nil {
		return Identity{}, errors.New("there are no AWS credentials")
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return Identity{}, fmt.Errorf("get AWS credentials: %w", err)
	}
	return Identity{creds: creds, region: cfg.Region}, nil
}

// Region picks one of those that the server offers: the wanted one, or the
// identity's own, or the first.
func (id Identity) Region(wanted string, offered []string) (string, error) {
	switch {
	case wanted != "" && !slices.Contains(offered, wanted):
		return "", fmt.Errorf("the server doesn't ask AWS STS in %q, only in %s", wanted, strings.Join(offered, ", "))
	case wanted != "":
	case slices.Contains(offered, id.region):
		wanted = id.region
	default:
		wanted = offered[0]
	}
	if !region.MatchString(wanted) {
		return "", fmt.Errorf("%q is no AWS Region", wanted)
	}
	return wanted, nil
}

// Prove signs a GetCallerIdentity request for that server and that nonce. host
// is the name by which the server is reached, not one that it says of itself:
// otherwise a server could pass the proof on to another.
func (id Identity) Prove(ctx context.Context, host, nonce, region string, now time.Time) (client.AWSProof, error) {
	sts := "sts." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		sts += ".cn"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+sts+"/", strings.NewReader(body))
	if err != nil {
		return client.AWSProof{}, err
	}
	req.Header.Set("X-Breakglass-Server", host)
	req.Header.Set("X-Breakglass-Nonce", nonce)
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, id.creds, req, hex.EncodeToString(sum[:]), "sts", region, now); err != nil {
		return client.AWSProof{}, fmt.Errorf("sign: %w", err)
	}
	return client.AWSProof{Server: host, Nonce: nonce, Authorization: req.Header.Get("Authorization"),
		Date: req.Header.Get("X-Amz-Date"), SecurityToken: req.Header.Get("X-Amz-Security-Token")}, nil
}
