package dynamodb

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

func readDeploy(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), "deploy", name))
	require.NoError(t, err)
	return b
}

// create makes a table that differs from the one the server needs.
func create(t *testing.T, change func(in *ddb.CreateTableInput)) Options {
	t.Helper()
	o := Options{Table: "odd-" + newToken(), Endpoint: testenv.SharedDynamoDB(t)}
	in := definition(o.Table)
	change(in)
	_, err := newClient(testConfig(), o).CreateTable(t.Context(), in)
	require.NoError(t, err)
	return o
}

func TestInitMakesATableAndIsHarmlessOnOne(t *testing.T) {
	o := Options{Table: "init-" + newToken(), Endpoint: testenv.SharedDynamoDB(t)}
	_, err := Open(t.Context(), testConfig(), o)
	require.ErrorContains(t, err, "there is no table "+o.Table+"; breakglassd init dynamodb creates it")
	done, err := Init(t.Context(), testConfig(), o)
	require.NoError(t, err)
	require.Contains(t, done, "created table "+o.Table)
	s := openTest(t, o)
	require.NoError(t, invoke(t, s, sampleEvent("alice", "prod", noon)))
	done, err = Init(t.Context(), testConfig(), o)
	require.NoError(t, err)
	require.Equal(t, []string{"point-in-time recovery: unknown here"}, done, "nothing was to be done; this emulator has no backups")
	_, err = s.Head(t.Context())
	require.NoError(t, err)
}

// TestInitSwitchesProtectionsOn runs against moto, which knows of point-in-time
// recovery.
func TestInitSwitchesProtectionsOn(t *testing.T) {
	o := Options{Table: "breakglass", Endpoint: testenv.Moto(t)}
	client := newClient(testConfig(), o)
	in := definition(o.Table)
	in.DeletionProtectionEnabled = aws.Bool(false)
	_, err := client.CreateTable(t.Context(), in)
	require.NoError(t, err)
	done, err := Init(t.Context(), testConfig(), o)
	require.NoError(t, err)
	require.Equal(t, []string{"switched deletion protection on", "switched point-in-time recovery on"}, done)
	backups, err := client.DescribeContinuousBackups(t.Context(), &ddb.DescribeContinuousBackupsInput{TableName: &o.Table})
	require.NoError(t, err)
	require.Equal(t, types.PointInTimeRecoveryStatusEnabled,
		backups.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus)
	table, err := client.DescribeTable(t.Context(), &ddb.DescribeTableInput{TableName: &o.Table})
	require.NoError(t, err)
	require.True(t, aws.ToBool(table.Table.DeletionProtectionEnabled))
	done, err = Init(t.Context(), testConfig(), o)
	require.NoError(t, err)
	require.Empty(t, done)
}

func TestATableThatDoesntFitIsRefusedWithEverythingThatIsMissing(t *testing.T) {
	o := create(t, func(in *ddb.CreateTableInput) {
		in.GlobalSecondaryIndexes = in.GlobalSecondaryIndexes[:2]
		in.GlobalSecondaryIndexes[0].Projection.ProjectionType = types.ProjectionTypeKeysOnly
		in.GlobalSecondaryIndexes[1].KeySchema = keySchema(attrStatus, attrInvoker)
		in.AttributeDefinitions = slices.DeleteFunc(in.AttributeDefinitions, func(a types.AttributeDefinition) bool { return *a.AttributeName == attrProfile })
	})
	for _, try := range []func() error{
		func() error { _, err := Open(t.Context(), testConfig(), o); return err },
		func() error { _, err := Init(t.Context(), testConfig(), o); return err },
	} {
		err := try()
		require.ErrorContains(t, err, "index gsi-profile (profile, created_at; all attributes) is missing")
		require.ErrorContains(t, err, "index gsi-invoker doesn't project all attributes")
		require.ErrorContains(t, err, "the key of index gsi-status is status (S), invoker (S) instead of status (S), created_at (S)")
	}
	o = create(t, func(in *ddb.CreateTableInput) {
		in.KeySchema = keySchema(attrPK, attrCreatedAt)
		in.AttributeDefinitions = slices.DeleteFunc(in.AttributeDefinitions, func(a types.AttributeDefinition) bool { return *a.AttributeName == attrSK })
	})
	_, err := Open(t.Context(), testConfig(), o)
	require.ErrorContains(t, err, "its key is pk (S), created_at (S) instead of pk (S), sk (S)")
}

func TestATableThatDeletesByItselfIsRefused(t *testing.T) {
	o := newTable(t)
	_, err := newClient(testConfig(), o).UpdateTimeToLive(t.Context(), &ddb.UpdateTimeToLiveInput{TableName: &o.Table,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires_at"), Enabled: aws.Bool(true)}})
	require.NoError(t, err)
	_, err = Open(t.Context(), testConfig(), o)
	require.ErrorContains(t, err, "it has a time to live (attribute expires_at)")
}

// TestATimeToLiveThatComesLaterIsSeen: the server says so and works on.
func TestATimeToLiveThatComesLaterIsSeen(t *testing.T) {
	o := newTable(t)
	log := &lockedBuffer{}
	o.InspectEvery, o.Log = 5*time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
	s := openTest(t, o)
	require.Empty(t, s.Concern())
	set := func(on bool) {
		_, err := s.client.UpdateTimeToLive(t.Context(), &ddb.UpdateTimeToLiveInput{TableName: &o.Table,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("rev"), Enabled: aws.Bool(on)}})
		require.NoError(t, err)
	}
	set(true)
	require.Eventually(t, func() bool { return s.Concern() != "" }, 20*time.Second, time.Millisecond)
	require.Contains(t, log.String(), "attribute=rev")
	require.NoError(t, s.Ping(t.Context()))
	set(false)
	require.Eventually(t, func() bool { return s.Concern() == "" }, 20*time.Second, time.Millisecond)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestATableOfANewerProgramIsRefused(t *testing.T) {
	o := newTable(t)
	s := openTest(t, o)
	_, err := s.client.PutItem(t.Context(), &ddb.PutItemInput{TableName: &o.Table,
		Item: merge(keyLayout.item(), item{"version": number(layoutVersion + 1)})})
	require.NoError(t, err)
	_, err = Open(t.Context(), testConfig(), o)
	require.ErrorContains(t, err, "was written by a newer breakglassd (layout 3, this one knows 2)")
}

// TestATableOfAnOlderProgramIsTakenOver with what is in it: an event has what
// came later as zero, and its place on the agenda is the right one.
func TestATableOfAnOlderProgramIsTakenOver(t *testing.T) {
	o := newTable(t)
	s := openTest(t, o)
	e := sampleEvent("alice", "prod", noon)
	require.NoError(t, invoke(t, s, e))
	for _, attr := range []string{"sessions", "extensions", "warn_at"} {
		require.NotContains(t, stored(t, s, eventKey(e.ID)), attr, "as an older program wrote it")
	}
	plant(t, s, merge(keyLayout.item(), item{"version": number(1)}))
	s = openTest(t, o)
	require.EqualValues(t, layoutVersion, num(stored(t, s, keyLayout)["version"]))
	got, err := s.Event(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, e, got)
	tasks, err := s.Agenda(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []breakglass.Task{{At: e.ExpiresAt, EventID: e.ID}}, tasks)
	require.NotNil(t, stored(t, s, key{pkActive, stamp(e.ExpiresAt) + "#" + e.ID}))
}

// TestTheFilesForOperatorsMakeTheSameTable holds deploy/ against what the
// server needs.
func TestTheFilesForOperatorsMakeTheSameTable(t *testing.T) {
	var got ddb.CreateTableInput
	require.NoError(t, json.Unmarshal(readDeploy(t, "dynamodb/table.json"), &got))
	require.Equal(t, *definition("breakglass"), got)
	module := string(readDeploy(t, "terraform/dynamodb/main.tf"))
	for _, want := range []string{`hash_key                    = "pk"`, `range_key                   = "sk"`, `"gsi-${`, `range_key       = "created_at"`,
		`projection_type = "ALL"`, "deletion_protection_enabled = true", "PAY_PER_REQUEST", "prevent_destroy = true",
		`toset(["invoker", "status", "profile"])`, `toset(["pk", "sk", "invoker", "status", "profile", "created_at"])`} {
		require.Contains(t, module, want)
	}
	require.NotContains(t, module, "ttl {")
	for _, action := range allowed(t) {
		require.Contains(t, module, `"`+action+`"`, "both give the server the same rights")
	}
	require.Equal(t, len(allowed(t)), strings.Count(module, `"dynamodb:`))
}

// allowed are the actions of the server's policy.
func allowed(t *testing.T) []string {
	t.Helper()
	var policy struct{ Statement []struct{ Action []string } }
	require.NoError(t, json.Unmarshal(readDeploy(t, "dynamodb/server-policy.json"), &policy))
	var actions []string
	for _, s := range policy.Statement {
		actions = append(actions, s.Action...)
	}
	return actions
}

// TestThePolicyOfTheServerIsEnoughAndNotMore records every operation that the
// store calls. A transaction needs the rights of its actions (Developer Guide,
// "Using IAM with DynamoDB transactions").
func TestThePolicyOfTheServerIsEnoughAndNotMore(t *testing.T) {
	o := newTable(t)
	c := newCounter(t, o.Endpoint)
	o.Endpoint = c.URL
	calls := c.of(t, func() error {
		s := openTest(t, o)
		e := sampleEvent("alice", "prod", noon)
		require.NoError(t, invoke(t, s, e))
		require.NoError(t, s.Ping(t.Context()))
		_, err := s.Event(t.Context(), e.ID)
		require.NoError(t, err)
		_, err = s.Events(t.Context(), breakglass.EventQuery{Invoker: "alice", Limit: 5, Now: noon})
		require.NoError(t, err)
		require.NoError(t, s.Claim(t.Context(), task(e), noon, noon.Add(time.Second)))
		due, _, err := s.DueDeliveries(t.Context(), "siem", noon, 10)
		require.NoError(t, err)
		require.NoError(t, s.ClaimDelivery(t.Context(), due[0], noon, noon.Add(time.Minute)))
		require.NoError(t, s.SettleDelivery(t.Context(), due[0], breakglass.DeliveryOutcome{Dead: true}))
		_, err = s.RetryDead(t.Context(), "")
		require.NoError(t, err)
		due, _, err = s.DueDeliveries(t.Context(), "siem", noon, 10)
		require.NoError(t, err)
		require.NoError(t, s.SettleDelivery(t.Context(), due[0], breakglass.DeliveryOutcome{Delivered: true}))
		require.NoError(t, invoke(t, s, sampleEvent("bob", "prod", noon)))
		_, err = s.DropDeliveries(t.Context(), "siem")
		require.NoError(t, err)
		require.NoError(t, s.PurgeIdempotent(t.Context(), noon.Add(time.Hour)))
		return nil
	})
	needed := map[string]bool{}
	for operation := range calls {
		if operation == "TransactWriteItems" {
			for _, a := range []string{"PutItem", "DeleteItem", "ConditionCheckItem"} {
				needed["dynamodb:"+a] = true
			}
			continue
		}
		needed["dynamodb:"+operation] = true
	}
	var want []string
	for a := range needed {
		want = append(want, a)
	}
	require.ElementsMatch(t, want, allowed(t))
}

func TestOnlyOurOwnConfigurationSaysWhereTheTableIs(t *testing.T) {
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "http://192.0.2.1")
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"))
			require.NoError(t, err)
			require.Nil(t, newClient(cfg, Options{}).Options().BaseEndpoint)
		})
	}
}
