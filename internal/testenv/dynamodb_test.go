package testenv

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func dynamoDBClient(endpoint string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("testing", "testing", ""),
		Retryer:      aws.NopRetryer{},
	})
}

func createTable(t *testing.T, client *dynamodb.Client, name string) {
	t.Helper()
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:            aws.String(name),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	require.NoError(t, err)
}

func put(table, pk string) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{
		TableName:           aws.String(table),
		Item:                map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: pk}},
		ConditionExpression: aws.String("attribute_not_exists(pk)"),
	}}
}

func TestDynamoDBCarriesOutTransactionsAsAWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	client := dynamoDBClient(DynamoDB(t))
	createTable(t, client, "race")
	const rounds, callers = 20, 16
	var mu sync.Mutex
	winners := map[string]int{}
	var callersDone sync.WaitGroup
	for round := range rounds {
		contested := fmt.Sprintf("contested-%d", round)
		for caller := range callers {
			callersDone.Go(func() {
				own := fmt.Sprintf("own-%d-%d", round, caller)
				_, err := client.TransactWriteItems(context.Background(), &dynamodb.TransactWriteItemsInput{
					TransactItems: []types.TransactWriteItem{put("race", own), put("race", contested)},
				})
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					winners[contested]++
					return
				}
				var cancelled *types.TransactionCanceledException
				if assert.ErrorAs(t, err, &cancelled) && assert.Len(t, cancelled.CancellationReasons, 2) {
					assert.Equal(t, "ConditionalCheckFailed", aws.ToString(cancelled.CancellationReasons[1].Code))
				}
			})
		}
		callersDone.Wait()
		assert.Equal(t, 1, winners[contested], contested)
	}
	scan, err := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("race")})
	require.NoError(t, err)
	assert.Len(t, scan.Items, 2*rounds, "a cancelled transaction left something behind")
}

func TestDynamoDBCallsShareNothingAndSharedDynamoDBCallsShareAll(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three processes")
	}
	tables := func(endpoint string) []string {
		out, err := dynamoDBClient(endpoint).ListTables(t.Context(), &dynamodb.ListTablesInput{})
		require.NoError(t, err)
		return out.TableNames
	}
	var ended string
	t.Run("own", func(t *testing.T) {
		ended = DynamoDB(t)
		createTable(t, dynamoDBClient(ended), "here")
		assert.Empty(t, tables(DynamoDB(t)), "another emulator saw this one's table")
	})
	assertEnded(t, ended)

	var first string
	t.Run("shared", func(t *testing.T) {
		first = SharedDynamoDB(t)
		createTable(t, dynamoDBClient(first), "here")
	})
	assert.Equal(t, first, SharedDynamoDB(t))
	assert.Equal(t, []string{"here"}, tables(first), "the shared emulator ended with a test")
	_, err := dynamoDBClient(first).DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: aws.String("here")})
	require.NoError(t, err)
}

const envHoldEmulators = "TESTENV_HOLD_EMULATORS"

func TestEmulatorsEndWhenTheTestProcessIsKilled(t *testing.T) {
	if os.Getenv(envHoldEmulators) != "" {
		fmt.Println("endpoint", Moto(t))
		fmt.Println("endpoint", DynamoDB(t))
		fmt.Println("endpoint", SharedDynamoDB(t))
		select {} // until killed
	}
	if testing.Short() {
		t.Skip("starts four processes")
	}
	Python(t)
	holder := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	holder.Env = append(os.Environ(), envHoldEmulators+"=1")
	stdout, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	t.Cleanup(func() { _ = holder.Process.Kill() })

	var endpoints []string
	lines := bufio.NewScanner(stdout)
	for len(endpoints) < 3 && lines.Scan() {
		if endpoint, ok := strings.CutPrefix(lines.Text(), "endpoint "); ok {
			endpoints = append(endpoints, endpoint)
		}
	}
	require.Len(t, endpoints, 3)
	for _, endpoint := range endpoints {
		require.NoError(t, waitUntilAnswers(endpoint))
	}
	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()
	for _, endpoint := range endpoints {
		assertEnded(t, endpoint)
	}
}

// assertEnded gives an emulator a moment to see that its standard input closed.
func assertEnded(t *testing.T, endpoint string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	assert.Eventually(t, func() bool {
		resp, err := client.Get(endpoint)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err != nil
	}, 10*time.Second, 20*time.Millisecond, "%s still answers", endpoint)
}

func TestDynamoDBClientEnvLeadsAnotherProgramToTheEmulator(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two processes")
	}
	cli := AWSCLI(t)
	endpoint := DynamoDB(t)
	createTable(t, dynamoDBClient(endpoint), "here")
	cmd := exec.Command(cli, "dynamodb", "list-tables", "--output", "text")
	cmd.Env = append(motoEnv(os.Environ()), DynamoDBClientEnv(endpoint)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "TABLENAMES\there\n", string(out))
}
