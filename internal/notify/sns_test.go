package notify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

func testAWS(region string) aws.Config {
	return aws.Config{
		Region: region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret-example", ""),
	}
}

func snsSink(t *testing.T, arn, endpoint string) *Set {
	t.Helper()
	log, _ := testLog()
	c := SinkConfig{Name: "secops", Type: TypeSNS, TopicARN: arn, Endpoint: endpoint}
	require.Empty(t, Config{Sinks: []SinkConfig{c}}.Validate(nil))
	set, err := Build(t.Context(), []SinkConfig{c}, Deps{Log: log, Now: time.Now, AWS: func(_ context.Context, region string) (aws.Config, error) {
		return testAWS(region), nil
	}})
	require.NoError(t, err)
	return set
}

// subscriber is an SQS queue that is subscribed to a topic.
type subscriber struct {
	client *sqs.Client
	url    string
}

func subscribe(t *testing.T, endpoint, region, name string, filter map[string]string) (topicARN string, s subscriber) {
	t.Helper()
	cfg := testAWS(region)
	topics := sns.NewFromConfig(cfg, func(o *sns.Options) { o.BaseEndpoint = &endpoint })
	queues := sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.BaseEndpoint = &endpoint })
	topic, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
	require.NoError(t, err)
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	require.NoError(t, err)
	arn := "arn:aws:sqs:" + region + ":123456789012:" + name
	_, err = topics.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: &arn, Attributes: filter,
	})
	require.NoError(t, err)
	return *topic.TopicArn, subscriber{queues, *queue.QueueUrl}
}

// envelope is what SNS puts around a message for SQS.
type envelope struct {
	Subject, Message  string
	MessageAttributes map[string]struct{ Type, Value string }
}

func (s subscriber) receive(t *testing.T, want int) []envelope {
	t.Helper()
	var got []envelope
	require.Eventually(t, func() bool {
		out, err := s.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &s.url, MaxNumberOfMessages: 10})
		require.NoError(t, err)
		for _, m := range out.Messages {
			var e envelope
			require.NoError(t, json.Unmarshal([]byte(*m.Body), &e))
			got = append(got, e)
			_, err := s.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &s.url, ReceiptHandle: m.ReceiptHandle})
			require.NoError(t, err)
		}
		return len(got) >= want
	}, time.Minute, 20*time.Millisecond)
	return got
}

func TestSNSAgainstAnEmulator(t *testing.T) {
	endpoint := testenv.Moto(t)

	t.Run("document and attributes arrive", func(t *testing.T) {
		arn, sub := subscribe(t, endpoint, "us-east-1", "secops", nil)
		q := newMemory()
		start(t, Options{Queue: q, Journal: q, Set: snsSink(t, arn, endpoint)})
		q.add(noon, breakglass.EntryInvoked, "secops")
		got := sub.receive(t, 1)[0]
		n := numbered(t, 1)
		require.Equal(t, string(n.Body), got.Message)
		require.Equal(t, "breakglass.invoked prod by alice@example.com", got.Subject)
		attrs := map[string]string{}
		for k, v := range got.MessageAttributes {
			require.Equal(t, "String", v.Type)
			attrs[k] = v.Value
		}
		require.Equal(t, map[string]string{"event_type": "breakglass.invoked", "profile": "prod", "reason_code": "incident"}, attrs)
		require.Eventually(t, func() bool { p, _ := q.left(); return p == 0 }, time.Minute, time.Millisecond)
	})

	t.Run("empty attributes are left out", func(t *testing.T) {
		arn, sub := subscribe(t, endpoint, "us-east-1", "denials", nil)
		d := delivery(2, noon, breakglass.EntryDenied)
		d.Event, d.Entry.ReasonCode, d.Entry.Profile = nil, "", ""
		n, err := NewNotification(d)
		require.NoError(t, err)
		require.NoError(t, snsSink(t, arn, endpoint).sinks[0].notifier.Notify(t.Context(), n))
		got := sub.receive(t, 1)[0]
		require.Len(t, got.MessageAttributes, 1)
		require.Equal(t, "breakglass.denied", got.MessageAttributes["event_type"].Value)
	})

	t.Run("a filter policy selects by attribute", func(t *testing.T) {
		arn, sub := subscribe(t, endpoint, "us-east-1", "filtered", map[string]string{"FilterPolicy": `{"event_type":["breakglass.escalated"]}`})
		notifier := snsSink(t, arn, endpoint).sinks[0].notifier
		for i, typ := range []breakglass.EntryType{breakglass.EntryInvoked, breakglass.EntryEscalated} {
			n, err := NewNotification(delivery(int64(i+1), noon, typ))
			require.NoError(t, err)
			require.NoError(t, notifier.Notify(t.Context(), n))
		}
		got := sub.receive(t, 1)
		require.Len(t, got, 1)
		require.Equal(t, "breakglass.escalated", got[0].MessageAttributes["event_type"].Value)
	})

	t.Run("text in every script arrives", func(t *testing.T) {
		arn, sub := subscribe(t, endpoint, "eu-west-1", "scripts", nil)
		d := delivery(3, noon, breakglass.EntryInvoked)
		d.Entry.Profile, d.Entry.Invoker = "größe\ufffe💥", "ålice"
		d.Entry.Justification = strings.Repeat("💥", 1000)
		n, err := NewNotification(d)
		require.NoError(t, err)
		require.NoError(t, snsSink(t, arn, endpoint).sinks[0].notifier.Notify(t.Context(), n))
		got := sub.receive(t, 1)[0]
		require.Equal(t, string(n.Body), got.Message)
		require.Equal(t, "größe\ufffd💥", got.MessageAttributes["profile"].Value)
		require.Equal(t, "breakglass.invoked gr??e?? by ?lice", got.Subject)
	})

	t.Run("a topic that doesn't exist is tried again", func(t *testing.T) {
		err := snsSink(t, "arn:aws:sns:us-east-1:123456789012:nobody", endpoint).sinks[0].notifier.Notify(t.Context(), numbered(t, 1))
		f := failureOf(t, err)
		require.Equal(t, Retry, f.Verdict)
		require.Equal(t, "SNS answered 404 NotFound", f.Message)
	})
}

func TestSNSFailuresFollowTheTable(t *testing.T) {
	status, header := 503, "7"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then the server doesn't notice that the client has gone
		if status == 0 {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Retry-After", header)
		w.WriteHeader(status)
	}))
	notifier := snsSink(t, topic, srv.URL).sinks[0].notifier
	timeout := time.Minute
	try := func() *Failure {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return failureOf(t, notifier.Notify(ctx, numbered(t, 1)))
	}
	f := try()
	require.Equal(t, []any{Retry, 7 * time.Second}, []any{f.Verdict, f.RetryAfter})
	status = 410
	require.Equal(t, Retry, try().Verdict, "SNS itself never answers so")
	status = 413
	require.Equal(t, Permanent, try().Verdict)
	status, timeout = 0, 300*time.Millisecond
	require.Equal(t, "SNS timed out", try().Message)
	timeout = time.Minute
	srv.Close()
	require.Contains(t, try().Message, "connection refused")
}

func TestSNSRefusesWhatIsTooLargeWithoutCalling(t *testing.T) {
	n := numbered(t, 1)
	n.Body = []byte(strings.Repeat("x", maxSNSMessage-10))
	f := failureOf(t, snsSink(t, topic, "http://127.0.0.1:1").sinks[0].notifier.Notify(t.Context(), n))
	require.Equal(t, Permanent, f.Verdict)
}

func TestSNSSubjectIsShortPrintableASCII(t *testing.T) {
	for _, name := range []string{"", "prod", strings.Repeat("p", 300), "a\r\nBcc: x", "\x00\x1b[31m", strings.Repeat("💥", 200), "\u202e"} {
		n := numbered(t, 1)
		n.Entry.Profile, n.Entry.Invoker = name, name
		s := snsSubject(n)
		require.NotEmpty(t, s)
		require.Less(t, len(s), 100)
		require.Regexp(t, `^breakglass\.invoked[ -~]*$`, s)
	}
}

func TestSNSWithoutCredentialsSaysSo(t *testing.T) {
	log, _ := testLog()
	set, err := Build(t.Context(), []SinkConfig{{Name: "secops", Type: TypeSNS, TopicARN: topic, Endpoint: "http://127.0.0.1:1"}},
		Deps{Log: log, Now: time.Now, AWS: func(_ context.Context, region string) (aws.Config, error) {
			return aws.Config{Region: region, RetryMaxAttempts: 1}, nil
		}})
	require.NoError(t, err)
	f := failureOf(t, set.sinks[0].notifier.Notify(t.Context(), numbered(t, 1)))
	require.Equal(t, Retry, f.Verdict)
	require.Contains(t, f.Message, "SNS")
}
