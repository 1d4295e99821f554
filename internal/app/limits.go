package app

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"breakglass/internal/api"
	"breakglass/internal/config"
)

const (
	// defaultConnections is how many connections the API takes where the
	// configuration doesn't say and descriptors allow it; a quarter of them may
	// come from one address, which can be a whole office behind NAT.
	defaultConnections  = 4096
	perAddressShare     = 4
	descriptorsReserved = 256 // for the database, sinks, STS and the admin listener
	adminConnections    = 64
)

// connectionLimits returns what the API's listener takes: never more than
// descriptors allow, because a server without a free one can't serve anybody.
func connectionLimits(c config.Limits, descriptors int) (total, perAddress int) {
	total = c.Connections
	if total == 0 {
		total = defaultConnections
	}
	total = min(total, max(descriptors-descriptorsReserved, descriptors/2, 1))
	if perAddress = c.ConnectionsPerAddress; perAddress == 0 {
		perAddress = max(total/perAddressShare, 1)
	}
	return total, min(perAddress, total)
}

// limited bounds the connections of a listener, counts those it refuses and
// says so at most once a minute: the peers that cause it are unknown.
func (a *App) limited(l net.Listener, total, perAddress int) net.Listener {
	var told atomic.Int64
	return api.LimitConnections(l, total, perAddress, a.cfg.Proxies(), func(reason string) {
		a.metrics.refused.WithLabelValues(reason).Inc()
		now, last := time.Now().UnixNano(), told.Load()
		if (last == 0 || now-last >= int64(time.Minute)) && told.CompareAndSwap(last, now) {
			a.opts.Log.Warn("connections are refused: too many are open", "limit", reason, "total", total, "per_address", perAddress,
				slog.String("listener", l.Addr().String()))
		}
	})
}
