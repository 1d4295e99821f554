package e2e

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // to get at the file behind the server's back

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/testenv"
	"breakglass/internal/testenv/teststore"
)

// row is an entry of the trail as it is stored.
type row struct{ body, hash string }

// rows is what a forger does to the stored trail of a server that doesn't run.
type rows interface {
	read(seq int64) (row, bool)
	write(seq int64, r row)
	drop(seq int64)
	// end makes the store take the row for the newest one.
	end(seq int64, hash string)
}

// forger writes a trail anew behind the server's back.
type forger struct {
	t *testing.T
	rows
}

func (f forger) row(seq int64) row {
	f.t.Helper()
	r, ok := f.read(seq)
	require.True(f.t, ok, "there is no row %d", seq)
	return r
}

// entry reads a row of the trail.
func (f forger) entry(seq int64) breakglass.LogEntry {
	f.t.Helper()
	r := f.row(seq)
	var e breakglass.LogEntry
	require.NoError(f.t, json.Unmarshal([]byte(r.body), &e))
	e.Hash = r.hash
	return e
}

// put writes a row of the trail as the server would.
func (f forger) put(e breakglass.LogEntry) {
	f.write(e.Seq, row{string(audit.Canonical(e)), e.Hash})
}

// last is the seq of the newest row.
func (f forger) last() (seq int64) {
	for n := int64(1); n < 20; n++ { // some may be missing in between
		if _, ok := f.read(n); ok {
			seq = n
		}
	}
	return seq
}

// shift moves the rows from seq on by n places, and leaves what is in them.
func (f forger) shift(from, n int64) {
	moved := map[int64]row{}
	for seq := from; seq <= 20; seq++ {
		if r, ok := f.read(seq); ok {
			moved[seq+n] = r
			f.drop(seq)
		}
	}
	for seq, r := range moved {
		f.write(seq, r)
	}
}

// sealEnd gives the newest row the seq of its place and a hash that fits,
// because a server doesn't start with an end that is damaged.
func (f forger) sealEnd() {
	f.t.Helper()
	last := f.last()
	e := f.entry(last)
	e.Seq = last
	audit.Seal(&e, e.PrevHash)
	f.put(e)
	f.end(last, e.Hash)
}

// sqliteRows are the rows of a SQLite file.
type sqliteRows struct {
	t  *testing.T
	db *sql.DB
}

func (s sqliteRows) read(seq int64) (r row, ok bool) {
	s.t.Helper()
	err := s.db.QueryRow(`SELECT body, hash FROM entries WHERE seq = ?`, seq).Scan(&r.body, &r.hash)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false
	}
	require.NoError(s.t, err)
	return r, true
}

func (s sqliteRows) write(seq int64, r row) {
	s.t.Helper()
	var e breakglass.LogEntry
	_ = json.Unmarshal([]byte(r.body), &e) // the columns beside a body that isn't JSON stay empty
	us := e.Timestamp.UnixMicro()
	s.exec(`INSERT INTO entries (seq, event, invoker, profile, recorded_at, high_water, body, hash) VALUES (?,?,?,?,?,?,?,?)
		ON CONFLICT (seq) DO UPDATE SET event = excluded.event, invoker = excluded.invoker, profile = excluded.profile, body = excluded.body, hash = excluded.hash`,
		seq, string(e.Event), e.Invoker, e.Profile, us, us, r.body, r.hash)
}

func (s sqliteRows) drop(seq int64)    { s.exec(`DELETE FROM entries WHERE seq = ?`, seq) }
func (s sqliteRows) end(int64, string) {}

func (s sqliteRows) exec(query string, args ...any) {
	s.t.Helper()
	_, err := s.db.Exec(query, args...)
	require.NoError(s.t, err, query)
}

// tableRows are the items of a DynamoDB table.
type tableRows struct {
	t *testing.T
	table
}

// table is a DynamoDB table behind the server's back.
type table struct {
	client *ddb.Client
	name   string
}

type item = map[string]types.AttributeValue

func tableOf(c config.DynamoDB) table {
	return table{ddb.NewFromConfig(teststore.AWS(), func(o *ddb.Options) { o.BaseEndpoint = &c.Endpoint }), c.Table}
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// itemKey is where an entry lies.
func itemKey(seq int64) item {
	return item{"pk": text(fmt.Sprintf("journal#%013d", (seq-1)/1000)), "sk": text(fmt.Sprintf("%019d", seq))}
}

func (r tableRows) read(seq int64) (row, bool) {
	r.t.Helper()
	out, err := r.client.GetItem(r.t.Context(), &ddb.GetItemInput{TableName: &r.name, Key: itemKey(seq), ConsistentRead: aws.Bool(true)})
	require.NoError(r.t, err)
	if out.Item == nil {
		return row{}, false
	}
	return row{textOf(out.Item["body"]), textOf(out.Item["hash"])}, true
}

func textOf(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func (r tableRows) write(seq int64, to row) {
	it := itemKey(seq)
	it["body"], it["hash"], it["high"] = text(to.body), text(to.hash), &types.AttributeValueMemberN{Value: "1"}
	r.put(r.t, it)
}

func (d table) put(t *testing.T, it item) {
	t.Helper()
	_, err := d.client.PutItem(t.Context(), &ddb.PutItemInput{TableName: &d.name, Item: it})
	require.NoError(t, err)
}

func (r tableRows) drop(seq int64) {
	r.t.Helper()
	_, err := r.client.DeleteItem(r.t.Context(), &ddb.DeleteItemInput{TableName: &r.name, Key: itemKey(seq)})
	require.NoError(r.t, err)
}

func (r tableRows) end(seq int64, hash string) {
	r.t.Helper()
	_, err := r.client.UpdateItem(r.t.Context(), &ddb.UpdateItemInput{TableName: &r.name, Key: item{"pk": text("journal"), "sk": text("head")},
		UpdateExpression: aws.String("SET seq = :seq, #hash = :hash"), ExpressionAttributeNames: map[string]string{"#hash": "hash"},
		ExpressionAttributeValues: item{":seq": &types.AttributeValueMemberN{Value: strconv.FormatInt(seq, 10)}, ":hash": text(hash)}})
	require.NoError(r.t, err)
}

// all reads every item.
func (d table) all(t *testing.T) (items []item) {
	t.Helper()
	pages := ddb.NewScanPaginator(d.client, &ddb.ScanInput{TableName: &d.name, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		items = append(items, out.Items...)
	}
	return items
}

// kept is a copy of what a server has left behind.
type kept struct {
	database []byte // SQLite's
	items    []item // DynamoDB's
}

func keep(t *testing.T, s site) (k kept) {
	t.Helper()
	c := s.engine(t)
	if c.Driver == config.DriverDynamoDB {
		return kept{items: tableOf(c.DynamoDB).all(t)}
	}
	var err error
	k.database, err = os.ReadFile(c.SQLite.Path)
	require.NoError(t, err)
	require.NoFileExists(t, c.SQLite.Path+"-wal", "not everything is in the file")
	return k
}

// forged is a copy of a store after somebody has been at it.
func forged(t *testing.T, k kept, forge func(f forger)) site {
	t.Helper()
	s := site{dir: t.TempDir()}
	c := s.engine(t)
	if testenv.OnDynamoDB(t) {
		d := tableOf(c.DynamoDB)
		for _, it := range k.items {
			if !strings.HasPrefix(textOf(it["pk"]), "meta") {
				d.put(t, it)
			}
		}
		forge(forger{t, tableRows{t, d}})
		return s
	}
	require.NoError(t, os.WriteFile(c.SQLite.Path, k.database, 0o600))
	db, err := sql.Open("sqlite", c.SQLite.Path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	forge(forger{t, sqliteRows{t, db}})
	require.NoError(t, db.Close())
	return s
}
