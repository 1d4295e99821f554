package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
)

// Limits of Publish (Amazon SNS API Reference): the message together with its
// attributes, in bytes, and the subject, which must be shorter than 100 ASCII
// characters.
const (
	maxSNSMessage = 256 << 10
	maxSNSSubject = 99
)

// snsTopic publishes notifications to a standard topic.
type snsTopic struct {
	opaque
	client *sns.Client
	arn    string
	now    func() time.Time
}

// newSNS expects a configuration that passed validation. The SDK's own few
// quick retries stay on: they hide a lost idle connection, for which the
// dispatcher would wait five seconds.
func newSNS(c SinkConfig, cfg aws.Config, now func() time.Time) *snsTopic {
	client := sns.NewFromConfig(cfg, func(o *sns.Options) {
		if c.Region != "" {
			o.Region = c.Region
		} else if arn, err := parseTopicARN(c.TopicARN); err == nil {
			o.Region = arn.region
		}
		// Not AWS_ENDPOINT_URL in the environment, nor endpoint_url in ~/.aws:
		// alarms go where our own configuration says.
		o.BaseEndpoint = nil
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	})
	return &snsTopic{opaque: opaque("sns " + c.TopicARN), client: client, arn: c.TopicARN, now: now}
}

func (s *snsTopic) Notify(ctx context.Context, n Notification) error {
	attrs, size := snsAttributes(n)
	if size += len(n.Body); size > maxSNSMessage {
		return &Failure{Verdict: Permanent, Message: fmt.Sprintf("the message has %d bytes, SNS takes %d", size, maxSNSMessage)}
	}
	_, err := s.client.Publish(ctx, &sns.PublishInput{
		TopicArn: aws.String(s.arn), Message: aws.String(string(n.Body)),
		Subject: aws.String(snsSubject(n)), MessageAttributes: attrs,
	})
	if err == nil {
		return nil
	}
	return s.failure(ctx, err)
}

// snsAttributes are what filter policies of subscriptions match on, and their
// size in bytes. SNS refuses a message with an empty attribute value, so that
// an entry without a reason code has no such attribute.
func snsAttributes(n Notification) (attrs map[string]types.MessageAttributeValue, size int) {
	attrs = map[string]types.MessageAttributeValue{}
	for name, v := range map[string]string{
		"event_type":  string(n.Entry.Event),
		"profile":     n.Entry.Profile,
		"reason_code": string(n.Entry.ReasonCode),
	} {
		if v = xmlText(v); v == "" {
			continue
		}
		attrs[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(v)}
		size += len(name) + len("String") + len(v)
	}
	return attrs, size
}

// xmlText replaces what XML 1.0 doesn't have; SNS refuses such text.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// snsSubject is the subject line of e-mail subscriptions. SNS wants fewer than
// 100 ASCII characters, no line breaks or control characters, and a letter,
// digit or punctuation mark at the beginning.
func snsSubject(n Notification) string {
	s := string(n.Entry.Event)
	if n.Entry.Profile != "" {
		s += " " + n.Entry.Profile
	}
	if who := n.Entry.Invoker; who != "" {
		s += " by " + who
	}
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxSNSSubject {
		s = s[:maxSNSSubject-3] + "..."
	}
	return s
}

// failure translates an error of the SDK. What AWS says in words stays out of
// it: it may quote what was sent.
func (s *snsTopic) failure(ctx context.Context, err error) *Failure {
	var (
		api  smithy.APIError
		resp *awshttp.ResponseError
		dns  *net.DNSError
		op   *net.OpError
	)
	code := ""
	if errors.As(err, &api) {
		code = " " + printable(api.ErrorCode(), 64)
	}
	switch {
	case errors.As(err, &resp) && resp.HTTPStatusCode() != 0:
		status := resp.HTTPStatusCode()
		v, _ := verdictOf(status)
		if v == Disable { // SNS has no such answer: it comes from something in between
			v = Retry
		}
		f := &Failure{Verdict: v, Message: fmt.Sprintf("SNS answered %d%s", status, code)}
		if honoursRetryAfter(status) && resp.HTTPResponse() != nil {
			f.RetryAfter = parseRetryAfter(resp.HTTPResponse().Header.Get("Retry-After"), s.now())
		}
		return f
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Failure{Verdict: Retry, Message: "SNS timed out"}
	case ctx.Err() != nil, errors.As(err, &dns), errors.As(err, &op):
		return &Failure{Verdict: Retry, Message: "SNS: " + describe(ctx, err)}
	default:
		return &Failure{Verdict: Retry, Message: "SNS can't be called (no credentials, no region, or no connection)"}
	}
}

// topicARN is the part of a topic's ARN that matters here.
type topicARN struct{ partition, region, account, name string }

func parseTopicARN(s string) (topicARN, error) {
	p := strings.Split(s, ":")
	if len(p) != 6 || p[0] != "arn" || p[2] != "sns" || !strings.HasPrefix(p[1], "aws") || p[3] == "" {
		return topicARN{}, errors.New("must be an SNS topic ARN, such as arn:aws:sns:us-east-1:123456789012:secops")
	}
	t := topicARN{partition: p[1], region: p[3], account: p[4], name: p[5]}
	if len(t.account) != 12 || strings.Trim(t.account, "0123456789") != "" {
		return topicARN{}, errors.New("must have an account id of 12 digits")
	}
	if strings.HasSuffix(t.name, ".fifo") {
		return topicARN{}, errors.New("is a FIFO topic; those reach SQS only and need ordering that notifications don't promise: use a standard topic")
	}
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	if t.name == "" || len(t.name) > 256 || strings.Trim(t.name, alphabet) != "" {
		return topicARN{}, errors.New("must have a topic name of 1 to 256 letters, digits, hyphens and underscores")
	}
	return t, nil
}
