package bench

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// inTurn is the rate at which one caller gets single transactions done.
func (e *emulator) inTurn(t testing.TB, made []transaction) float64 {
	t.Helper()
	return e.send(t, 1, prepare(e.table(t).Table, made, nil))
}

// apart is the rate at which many callers get single transactions done that
// have nothing in common: each has a head of its own.
func (e *emulator) apart(t testing.TB, made []transaction) float64 {
	t.Helper()
	return e.send(t, invokers, prepare(e.table(t).Table, made, ownHead))
}

// ownHead gives the n-th transaction a head that no other has.
func ownHead(n int, head *action) {
	head.Item["sk"] = attribute{"S": fmt.Sprint("head-", n)}
	head.ConditionExpression, head.ExpressionAttributeValues = "", nil
}

func prepare(table string, made []transaction, change func(n int, head *action)) [][]byte {
	requests := make([][]byte, len(made))
	for i, tx := range made {
		if change != nil {
			tx = tx.withHead(func(head *action) { change(i, head) })
		}
		requests[i] = tx.at(table).request()
	}
	return requests
}

func (e *emulator) send(t testing.TB, callers int, requests [][]byte) float64 {
	t.Helper()
	return load(t, e.addr(), callers, patience, http.StatusOK, func(n int64) []byte {
		if n >= int64(len(requests)) {
			return nil
		}
		return requests[n]
	}).rate()
}

// contending is the rate at which many callers get single transactions done
// that all move the same head: each reads it, and tries again after a short,
// random and growing wait when another was faster.
func (e *emulator) contending(t testing.TB, made []transaction) float64 {
	t.Helper()
	table := e.table(t).Table
	c := dial(t, e.addr())
	c.must(t, http.StatusOK, made[0].at(table).request()) // makes the head
	made = made[1:]
	bodies := make([]func(rev int64) []byte, len(made))
	for i, tx := range made {
		tx.at(table)
		bodies[i] = func(rev int64) []byte {
			return tx.withHead(func(head *action) {
				head.Item["rev"] = attribute{"N": strconv.FormatInt(rev+1, 10)}
				head.ExpressionAttributeValues = map[string]attribute{":rev": {"N": strconv.FormatInt(rev, 10)}}
			}).request()
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, invokers)
	begun := time.Now()
	for i := range invokers {
		c := dial(t, e.addr())
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(bodies)) && errs[i] == nil; n = next.Add(1) - 1 {
				errs[i] = c.contend(table, bodies[n])
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	for _, err := range errs {
		require.NoError(t, err)
	}
	return float64(len(bodies)) / took.Seconds()
}

var revision = regexp.MustCompile(`"rev":\{"N":"(\d+)"`)

func (c *conn) contend(table string, body func(rev int64) []byte) error {
	look := amazon("GetItem", fmt.Sprintf(`{"TableName":%q,"ConsistentRead":true,"Key":{"pk":{"S":"journal"},"sk":{"S":"head"}}}`, table))
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		status, head, err := c.do(look)
		if err != nil {
			return err
		}
		found := revision.FindSubmatch(head)
		if status != http.StatusOK || found == nil {
			return fmt.Errorf("%d %s", status, head)
		}
		rev, err := strconv.ParseInt(string(found[1]), 10, 64)
		if err != nil {
			return err
		}
		status, answer, err := c.do(body(rev))
		if err != nil || status == http.StatusOK {
			return err
		}
		if status != http.StatusBadRequest || !regexp.MustCompile("TransactionCanceled").Match(answer) {
			return fmt.Errorf("%d %s", status, answer)
		}
		time.Sleep(wait/2 + rand.N(wait)) // spreads attempts, hides nothing
	}
}
