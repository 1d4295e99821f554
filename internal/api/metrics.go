package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests. Its labels are bounded: routes are patterns, and
// methods that no endpoint has are one label.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics(reg *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "breakglass_http_requests_total",
			Help: "HTTP requests by route, method and status code. 499: the caller hung up before the answer.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "breakglass_http_request_duration_seconds",
			Help:    "Time from the end of the request header to the answer, by route and method. Long polls on /v1/events include their wait.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "breakglass_http_requests_in_flight", Help: "HTTP requests being served, long polls included.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.requests), reg.Register(m.duration), reg.Register(m.inFlight))
}

// endpoint returns what records a request of that endpoint. The series of the
// usual case is looked up once: polls come often.
func (m *metrics) endpoint(e endpoint) func(method string, status int, took time.Duration) {
	observe := func(method string, status int, took time.Duration) {
		method = knownMethod(method)
		m.requests.WithLabelValues(e.pattern, method, strconv.Itoa(status)).Inc()
		m.duration.WithLabelValues(e.pattern, method).Observe(took.Seconds())
	}
	if e.method == "" {
		return observe
	}
	good, duration := m.requests.WithLabelValues(e.pattern, e.method, "200"), m.duration.WithLabelValues(e.pattern, e.method)
	return func(method string, status int, took time.Duration) {
		if method != e.method || status != http.StatusOK {
			observe(method, status, took)
			return
		}
		good.Inc()
		duration.Observe(took.Seconds())
	}
}

// knownMethod bounds a text that the caller chooses.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}
