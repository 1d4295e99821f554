package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"breakglass/internal/breakglass"
)

// feed serves GET /v1/events.
func (h *Handler) feed(c *call) error {
	var f faults
	q := c.query(&f, "after", "limit", "event", "invoker", "profile", "since", "wait")
	eq := breakglass.EntryQuery{
		After: q.number("after", 0, 0, math.MaxInt64), Limit: int(q.number("limit", defaultLimit, minLimit, maxLimit)),
		Event: breakglass.EntryType(q.text("event", checkEntryType)), Invoker: q.person("invoker"),
		Profile: q.text("profile", breakglass.CheckName), Since: q.time("since"),
	}
	wait := q.wait("wait")
	if err := f.err(); err != nil {
		return err
	}
	entries, next, err := c.readFeed(eq, wait)
	if err != nil {
		return err
	}
	cursor := itoa(next)
	c.w.Header()["Link"] = []string{q.next("/v1/events", "after", cursor)}
	if len(entries) == 0 {
		c.quiet = true
		return c.bytes(http.StatusOK, h.typeJSON, emptyFeed(cursor))
	}
	return c.json(http.StatusOK, page[breakglass.LogEntry]{Items: entries, NextCursor: cursor})
}

// emptyFeed is the answer to most polls, without the cost of the encoder.
func emptyFeed(cursor string) []byte {
	b := make([]byte, 0, 64)
	b = append(b, `{"items":[],"next_cursor":"`...)
	b = append(b, cursor...)
	return append(b, "\"}\n"...)
}

// readFeed asks the service. A wait ends early, with what there is, when the
// server begins to shut down.
func (c *call) readFeed(eq breakglass.EntryQuery, wait time.Duration) ([]breakglass.LogEntry, int64, error) {
	if wait > 0 && c.h.draining.Err() == nil {
		entries, next, err := c.longPoll(eq, wait)
		if err == nil || c.h.draining.Err() == nil || c.r.Context().Err() != nil {
			return entries, next, err
		}
		// The drain has cut a look-up short: do it without a wait.
	}
	ctx, cancel := c.context(0)
	defer cancel()
	return c.h.cfg.Service.Feed(ctx, c.caller, eq, 0)
}

func (c *call) longPoll(eq breakglass.EntryQuery, wait time.Duration) ([]breakglass.LogEntry, int64, error) {
	if err := c.extend(wait); err != nil {
		return nil, 0, err
	}
	ctx, cancel := c.context(wait)
	defer cancel()
	defer context.AfterFunc(c.h.draining, cancel)()
	entries, next, err := c.h.cfg.Service.Feed(ctx, c.caller, eq, wait)
	if err != nil {
		return nil, 0, err
	}
	return entries, next, c.extend(0)
}
