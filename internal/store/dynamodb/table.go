package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// layoutVersion is the version of the items' layout. A server refuses a table
// of a newer one. Version 2 has access requests, and places on the agenda that
// servers of version 1 would tidy away.
const layoutVersion = 2

// indexes are the secondary indexes and their partition keys; created_at sorts
// each, and each projects everything.
var indexes = []struct{ name, attr string }{
	{"gsi-invoker", attrInvoker}, {"gsi-status", attrStatus}, {"gsi-profile", attrProfile},
}

// definition is the table as the server needs it.
func definition(name string) *ddb.CreateTableInput {
	in := &ddb.CreateTableInput{
		TableName:                 &name,
		BillingMode:               types.BillingModePayPerRequest,
		DeletionProtectionEnabled: aws.Bool(true),
		KeySchema:                 keySchema(attrPK, attrSK),
		SSESpecification:          nil, // encrypted with a key that AWS owns, unless the operator chooses another
	}
	for _, a := range []string{attrPK, attrSK, attrInvoker, attrStatus, attrProfile, attrCreatedAt} {
		in.AttributeDefinitions = append(in.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: aws.String(a), AttributeType: types.ScalarAttributeTypeS})
	}
	for _, i := range indexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: aws.String(i.name), KeySchema: keySchema(i.attr, attrCreatedAt),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		})
	}
	return in
}

func keySchema(hash, sort string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: aws.String(hash), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(sort), KeyType: types.KeyTypeRange},
	}
}

// Init creates the table with its indexes, point-in-time recovery and deletion
// protection, and waits until it can be used. On a table that exists it
// switches on what is missing of the latter two. The error names whatever
// doesn't fit: keys and indexes are not changed. done says what was done.
func Init(ctx context.Context, cfg aws.Config, opts Options) (done []string, err error) {
	opts = opts.withDefaults()
	client := newClient(cfg, opts)
	_, err = client.CreateTable(ctx, definition(opts.Table))
	var exists *types.ResourceInUseException
	switch {
	case err == nil:
		done = append(done, "created table "+opts.Table)
	case !errors.As(err, &exists):
		return nil, fmt.Errorf("create table %s: %w", opts.Table, err)
	}
	if err := ddb.NewTableExistsWaiter(client).Wait(ctx, &ddb.DescribeTableInput{TableName: &opts.Table}, 5*time.Minute); err != nil {
		return done, fmt.Errorf("table %s doesn't become active: %w", opts.Table, err)
	}
	s := &Store{client: client, opts: opts}
	report, err := s.inspect(ctx)
	if err != nil {
		return done, err
	}
	if err := report.err(); err != nil {
		return done, err
	}
	protect := []struct {
		missing bool
		what    string
		do      func() error
	}{
		{!report.protected, "switched deletion protection on", func() error {
			_, err := client.UpdateTable(ctx, &ddb.UpdateTableInput{TableName: &opts.Table, DeletionProtectionEnabled: aws.Bool(true)})
			return err
		}},
		{!report.recovery, "switched point-in-time recovery on", func() error {
			_, err := client.UpdateContinuousBackups(ctx, &ddb.UpdateContinuousBackupsInput{TableName: &opts.Table,
				PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)}})
			return err
		}},
	}
	for _, p := range protect {
		if !p.missing {
			continue
		}
		if err := p.do(); err != nil {
			return done, fmt.Errorf("%s: %w", p.what, err)
		}
		done = append(done, p.what)
	}
	if report.unknown {
		done = append(done, "point-in-time recovery: unknown here")
	}
	return done, s.checkLayout(ctx)
}

// report is what a table has and lacks.
type report struct {
	table     string
	problems  []string
	protected bool // against deletion
	recovery  bool // to any point in time
	unknown   bool // whether it has recovery
}

func (r report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return fmt.Errorf("table %s can't be used: %s", r.table, strings.Join(r.problems, "; "))
}

// ready checks the table before the server uses it.
func (s *Store) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if _, err := s.readHead(ctx); err != nil {
		return fmt.Errorf("table %s: %w", s.opts.Table, err)
	}
	return nil
}

// usable checks the table and its layout.
func (s *Store) usable(ctx context.Context) error {
	r, err := s.inspect(ctx)
	if err != nil {
		return err
	}
	if err := r.err(); err != nil {
		return err
	}
	if !r.protected {
		s.opts.Log.Warn("the table isn't protected against deletion; breakglassd init dynamodb switches that on", "table", s.opts.Table)
	}
	if !r.recovery {
		s.opts.Log.Warn("the table has no point-in-time recovery; breakglassd init dynamodb switches that on", "table", s.opts.Table)
	}
	return s.checkLayout(ctx)
}

func (s *Store) inspect(ctx context.Context) (report, error) {
	r := report{table: s.opts.Table}
	out, err := s.client.DescribeTable(ctx, &ddb.DescribeTableInput{TableName: &s.opts.Table})
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		return r, fmt.Errorf("there is no table %s; breakglassd init dynamodb creates it", s.opts.Table)
	}
	if err != nil {
		return r, fmt.Errorf("table %s: %w", s.opts.Table, err)
	}
	t := out.Table
	if t.TableStatus != types.TableStatusActive && t.TableStatus != types.TableStatusUpdating {
		r.problems = append(r.problems, fmt.Sprintf("its status is %s", t.TableStatus))
	}
	r.compare(t)
	r.protected = aws.ToBool(t.DeletionProtectionEnabled)
	if err := s.checkTTL(ctx, &r); err != nil {
		return r, err
	}
	return r, s.checkRecovery(ctx, &r)
}

// compare holds keys and indexes against the definition.
func (r *report) compare(t *types.TableDescription) {
	if got := schemaWords(t.KeySchema, t.AttributeDefinitions); got != "pk (S), sk (S)" {
		r.problems = append(r.problems, fmt.Sprintf("its key is %s instead of pk (S), sk (S)", got))
	}
	have := map[string]types.GlobalSecondaryIndexDescription{}
	for _, i := range t.GlobalSecondaryIndexes {
		have[aws.ToString(i.IndexName)] = i
	}
	for _, want := range indexes {
		i, ok := have[want.name]
		if !ok {
			r.problems = append(r.problems, fmt.Sprintf("index %s (%s, created_at; all attributes) is missing", want.name, want.attr))
			continue
		}
		if got, key := schemaWords(i.KeySchema, t.AttributeDefinitions), want.attr+" (S), created_at (S)"; got != key {
			r.problems = append(r.problems, fmt.Sprintf("the key of index %s is %s instead of %s", want.name, got, key))
		}
		if i.Projection == nil || i.Projection.ProjectionType != types.ProjectionTypeAll {
			r.problems = append(r.problems, fmt.Sprintf("index %s doesn't project all attributes", want.name))
		}
		if i.IndexStatus != types.IndexStatusActive {
			r.problems = append(r.problems, fmt.Sprintf("index %s is %s", want.name, i.IndexStatus))
		}
	}
}

func schemaWords(schema []types.KeySchemaElement, attrs []types.AttributeDefinition) string {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range attrs {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	var words []string
	for _, k := range schema {
		name := aws.ToString(k.AttributeName)
		words = append(words, fmt.Sprintf("%s (%s)", name, kinds[name]))
	}
	return strings.Join(words, ", ")
}

// checkTTL refuses a table that deletes items by itself: the record of an
// emergency must not end with it.
func (s *Store) checkTTL(ctx context.Context, r *report) error {
	attribute, err := s.describeTTL(ctx)
	if err != nil {
		return s.unchecked("time to live", err)
	}
	if attribute != "" {
		r.problems = append(r.problems, fmt.Sprintf("it has a time to live (attribute %s): switch it off, events and audit entries must stay", attribute))
	}
	return nil
}

// describeTTL names the attribute by which the table deletes items, if it does.
func (s *Store) describeTTL(ctx context.Context) (attribute string, err error) {
	out, err := s.client.DescribeTimeToLive(ctx, &ddb.DescribeTimeToLiveInput{TableName: &s.opts.Table})
	if err != nil {
		return "", err
	}
	d := out.TimeToLiveDescription
	if d == nil || d.TimeToLiveStatus != types.TimeToLiveStatusEnabled && d.TimeToLiveStatus != types.TimeToLiveStatusEnabling {
		return "", nil
	}
	return aws.ToString(d.AttributeName), nil
}

// unchecked is what becomes of a check that isn't allowed: the server says so
// and starts.
func (s *Store) unchecked(what string, err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && strings.HasPrefix(api.ErrorCode(), "AccessDenied") {
		s.opts.Log.Warn("the server isn't allowed to check the table", "what", what, "error", err)
		return nil
	}
	return fmt.Errorf("%s of table %s: %w", what, s.opts.Table, err)
}

func (s *Store) checkRecovery(ctx context.Context, r *report) error {
	out, err := s.client.DescribeContinuousBackups(ctx, &ddb.DescribeContinuousBackupsInput{TableName: &s.opts.Table})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "UnknownOperationException" {
		r.recovery, r.unknown = true, true // an emulator without backups: there is nothing to switch on
		return nil
	}
	if err != nil {
		r.recovery, r.unknown = true, true
		return s.unchecked("point-in-time recovery", err)
	}
	if d := out.ContinuousBackupsDescription; d != nil && d.PointInTimeRecoveryDescription != nil {
		r.recovery = d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled
	}
	return nil
}

// checkLayout refuses a table of a newer program and marks a new one, or one of
// an older program, so that this one is refused from now on.
func (s *Store) checkLayout(ctx context.Context) error {
	it, err := s.get(ctx, keyLayout)
	if err != nil {
		return fmt.Errorf("table %s: %w", s.opts.Table, err)
	}
	condition, values := condAbsent, item(nil)
	switch v := num(it["version"]); {
	case it == nil:
	case v > layoutVersion:
		return fmt.Errorf("table %s was written by a newer breakglassd (layout %d, this one knows %d)", s.opts.Table, v, layoutVersion)
	case v == layoutVersion:
		return nil
	default:
		condition, values = "version = :was", item{":was": number(v)}
	}
	_, err = s.client.PutItem(ctx, &ddb.PutItemInput{TableName: &s.opts.Table,
		Item: merge(keyLayout.item(), item{"version": number(layoutVersion)}), ConditionExpression: &condition, ExpressionAttributeValues: values})
	var raced *types.ConditionalCheckFailedException
	if err != nil && !errors.As(err, &raced) {
		return fmt.Errorf("table %s: %w", s.opts.Table, err)
	}
	return nil
}
