package awsiam

import (
	"errors"
	"regexp"
	"strings"
)

// Identity is an AWS identity as STS names it.
type Identity struct {
	ARN       string
	Partition string // aws, aws-us-gov or aws-cn
	Account   string
	Role      string // of an assumed role; else empty
	Session   string // its session name
	User      string // of an IAM user, without the path; else empty
}

// The two kinds of identity that rules can name. The ARN of an assumed role has
// no path; that of a user keeps it (IAM User Guide, "IAM identifiers"). Users are
// unique in their account whatever their path.
var (
	assumedRole = regexp.MustCompile(`^arn:(aws|aws-us-gov|aws-cn):sts::([0-9]{12}):assumed-role/([A-Za-z0-9_+=,.@-]{1,64})/([A-Za-z0-9_+=,.@-]{2,64})$`)
	iamUser     = regexp.MustCompile(`^arn:(aws|aws-us-gov|aws-cn):iam::([0-9]{12}):user/(?:[\x21-\x7e]{1,510}/)?([A-Za-z0-9_+=,.@-]{1,64})$`)
)

var errUnsupported = errors.New("neither an assumed role nor an IAM user")

// parseARN reads the ARN of an assumed role or an IAM user. Everything else,
// such as the root user or a federated user, is refused: nobody breaks the glass
// as those.
func parseARN(arn string) (Identity, error) {
	if m := assumedRole.FindStringSubmatch(arn); m != nil {
		return Identity{ARN: arn, Partition: m[1], Account: m[2], Role: m[3], Session: m[4]}, nil
	}
	if m := iamUser.FindStringSubmatch(arn); m != nil {
		return Identity{ARN: arn, Partition: m[1], Account: m[2], User: m[3]}, nil
	}
	return Identity{}, errUnsupported
}

// partitionOf is the partition that a Region belongs to.
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// stsHost is the regional endpoint of STS (AWS General Reference).
func stsHost(region string) string {
	if partitionOf(region) == "aws-cn" {
		return "sts." + region + ".amazonaws.com.cn"
	}
	return "sts." + region + ".amazonaws.com"
}
