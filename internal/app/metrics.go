package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"breakglass/internal/breakglass"
	"breakglass/internal/version"
)

// scrapeTimeout bounds what a scrape may ask the store.
const scrapeTimeout = 2 * time.Second

// metrics is what the parts below the API report. Names end in their unit, as
// Prometheus advises.
type metrics struct {
	registry *prometheus.Registry

	entries      *prometheus.CounterVec
	sent         *prometheus.CounterVec
	attemptTime  *prometheus.HistogramVec
	arrival      *prometheus.HistogramVec
	sinkDisabled *prometheus.GaugeVec
	reloads      *prometheus.CounterVec
	fileCurrent  *prometheus.GaugeVec
	refused      *prometheus.CounterVec
	tlsReloads   *prometheus.CounterVec
	tlsCurrent   prometheus.Gauge
	unexplained  prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "breakglass_audit_entries_total",
			Help: "Audit entries written since the server started, by type and reason of refusal."}, []string{"event", "reason"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "breakglass_notification_attempts_total",
			Help: "Attempts to notify a sink, by result: sent, failed, dead (given up)."}, []string{"sink", "result"}),
		attemptTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "breakglass_notification_attempt_seconds",
			Help: "Duration of attempts to notify a sink."}, []string{"sink"}),
		arrival: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "breakglass_notification_age_seconds",
			Help:    "Time from an audit entry to its arrival at a sink.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 60, 3600, 86400}}, []string{"sink"}),
		sinkDisabled: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "breakglass_notification_sink_disabled",
			Help: "1 when the sink answered 410 Gone and gets no more notifications until a restart."}, []string{"sink"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "breakglass_rules_reloads_total",
			Help: "Changes of the files of rules, by file and result: ok, failed."}, []string{"file", "result"}),
		fileCurrent: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "breakglass_rules_current",
			Help: "1 when the file on disk is in force; 0 when it is broken and the last good one is (or none)."}, []string{"file"}),
		unexplained: prometheus.NewGauge(prometheus.GaugeOpts{Name: "breakglass_audit_unexplained_events",
			Help: "Events among the newest 100 that were not what the audit trail says when the server started. Anything but 0: the database was changed by something else."}),
		tlsReloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "breakglass_tls_reloads_total",
			Help: "Changes of the TLS certificate files, by result: ok, failed."}, []string{"result"}),
		tlsCurrent: prometheus.NewGauge(prometheus.GaugeOpts{Name: "breakglass_tls_current",
			Help: "1 when the certificate on disk is in force; 0 when it is broken and the one before is, or without TLS."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "breakglass_connections_refused_total",
			Help: "Connections closed at once because too many were open, by limit: total, address."}, []string{"limit"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "breakglass_build_info", Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version.Version, "commit": version.Commit, "goversion": version.Go()}})
	build.Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build,
		m.entries, m.sent, m.attemptTime, m.arrival, m.sinkDisabled, m.reloads, m.fileCurrent, m.refused, m.tlsReloads, m.tlsCurrent, m.unexplained)
	return m
}

// LogBreakGlass counts an audit entry.
func (m *metrics) LogBreakGlass(e breakglass.LogEntry) error {
	m.entries.WithLabelValues(string(e.Event), e.Reason).Inc()
	return nil
}

// The four methods below make metrics a notify.Observer.

func (m *metrics) Sent(sink string, took, age time.Duration) {
	m.sent.WithLabelValues(sink, "sent").Inc()
	m.attemptTime.WithLabelValues(sink).Observe(took.Seconds())
	m.arrival.WithLabelValues(sink).Observe(age.Seconds())
}

func (m *metrics) Failed(sink string, took time.Duration) {
	m.sent.WithLabelValues(sink, "failed").Inc()
	m.attemptTime.WithLabelValues(sink).Observe(took.Seconds())
}

func (m *metrics) Dead(sink string) { m.sent.WithLabelValues(sink, "dead").Inc() }

func (m *metrics) Disabled(sink string) { m.sinkDisabled.WithLabelValues(sink).Set(1) }

// reloaded counts a change of a rules file.
func (m *metrics) reloaded(file string, ok bool) {
	result, current := "failed", 0.0
	if ok {
		result, current = "ok", 1
	}
	m.reloads.WithLabelValues(file, result).Inc()
	m.fileCurrent.WithLabelValues(file).Set(current)
}

// tlsReloaded counts a change of the certificate.
func (m *metrics) tlsReloaded(ok bool) {
	result, current := "failed", 0.0
	if ok {
		result, current = "ok", 1
	}
	m.tlsReloads.WithLabelValues(result).Inc()
	m.tlsCurrent.Set(current)
}

// storeGauges asks the store at a scrape: what is counted there is never kept
// twice, but for a while. Anybody who can reach /metrics can ask, and counting
// takes time from those who work.
type storeGauges struct {
	kept   time.Duration // how long answers are good for
	store  storeForMetrics
	mirror *watchedMirror // nil: there is none
	sinks  []string       // that are configured
	now    func() time.Time
	log    *slog.Logger

	mu    sync.Mutex // one asks, the others wait for the answer
	asked time.Time
	last  []prometheus.Metric
}

type storeForMetrics interface {
	Head(ctx context.Context) (int64, error)
	Events(ctx context.Context, q breakglass.EventQuery) ([]breakglass.Event, error)
	DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error)
}

// maxActiveCounted bounds what counting active events costs.
const maxActiveCounted = 10_000

var (
	descActive = prometheus.NewDesc("breakglass_active_events", "Events that are active now (counted up to 10000).", nil, nil)
	descHead   = prometheus.NewDesc("breakglass_audit_head", "Sequence number of the newest audit entry.", nil, nil)
	descMirror = prometheus.NewDesc("breakglass_audit_mirror_ok", "1 while the audit mirror follows the trail, 0 when it is not written. Absent without one.", nil, nil)
	descQueue  = prometheus.NewDesc("breakglass_deliveries", "Notifications by state: waiting, or dead (given up). On DynamoDB counted up to 10000, at most once a minute.", []string{"sink", "state"}, nil)
	descOldest = prometheus.NewDesc("breakglass_delivery_oldest_seconds", "Age of the oldest waiting notification of a configured sink.", []string{"sink"}, nil)
)

// Describe implements prometheus.Collector.
func (g *storeGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descActive, descHead, descMirror, descQueue, descOldest} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *storeGauges) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if since := time.Since(g.asked); g.asked.IsZero() || since >= g.kept {
		g.last = g.ask()
		g.asked = time.Now()
	}
	for _, m := range g.last {
		ch <- m
	}
}

// ask returns what the store answers; what it doesn't is left out, because a
// scrape must work while the store doesn't.
func (g *storeGauges) ask() (out []prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	now := g.now()
	active := breakglass.EventQuery{Status: breakglass.StatusActive, Limit: maxActiveCounted, Now: now}
	if events, err := g.store.Events(ctx, active); err == nil {
		gauge(descActive, float64(len(events)))
	} else {
		g.log.Warn("metrics: counting active events failed", "error", err)
	}
	if head, err := g.store.Head(ctx); err == nil {
		gauge(descHead, float64(head))
		if g.mirror != nil {
			written := 0.0
			if ok, _ := g.mirror.status(head); ok {
				written = 1
			}
			gauge(descMirror, written)
		}
	}
	counts, err := g.store.DeliveryCounts(ctx)
	if err != nil {
		g.log.Warn("metrics: counting deliveries failed", "error", err)
	}
	for sink, c := range counts {
		gauge(descQueue, float64(c.Pending), sink, "waiting")
		gauge(descQueue, float64(c.Dead), sink, "dead")
		if !slices.Contains(g.sinks, sink) {
			continue // nobody sends these: their age would be an alarm for ever
		}
		age := 0.0
		if !c.Oldest.IsZero() {
			age = max(0, now.Sub(c.Oldest).Seconds())
		}
		gauge(descOldest, age, sink)
	}
	return out
}
