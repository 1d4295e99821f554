package dynamodb

import (
	"context"
	"time"
)

// watchTTL looks from time to time whether somebody has given the table a time
// to live since the start, which would delete events and audit entries. The
// server works on: refusing would be a way to stop it.
func (s *Store) watchTTL(ctx context.Context) {
	ticker := time.NewTicker(s.opts.InspectEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		found, err := s.describeTTL(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.opts.Log.Warn("the time to live of the table was not checked", "table", s.opts.Table, "error", err)
			continue
		case found != "":
			s.opts.Log.Error("the table DELETES events and audit entries by itself: switch its time to live off at once",
				"table", s.opts.Table, "attribute", found)
		}
		s.ttl.Store(found != "")
	}
}

// Concern is what somebody who asks whether the store is ready should know
// although it is; empty when there is nothing.
func (s *Store) Concern() string {
	if s.ttl.Load() {
		return "A TIME TO LIVE DELETES ITS ITEMS; see the server's log"
	}
	return ""
}
