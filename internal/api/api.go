package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

// DefaultRequestTimeout bounds a call, apart from the wait of a long poll.
const DefaultRequestTimeout = 20 * time.Second

// Config is what the API is made of. Service and Authenticator are required.
type Config struct {
	Service       *breakglass.Service
	Authenticator authn.Authenticator
	// AWSLogin is nil where nobody logs in with an AWS identity.
	AWSLogin AWSLogin
	// Ready reports what the server needs in order to work; nil means nothing.
	Ready func(ctx context.Context) []Check
	// Reload has the rules read again, as SIGHUP does; nil means that there are none.
	Reload func() []Reloaded
	// Metrics collects and serves metrics; nil means that there are none.
	Metrics *prometheus.Registry
	// AdminListener moves /metrics from this handler to Admin alone.
	AdminListener bool
	// Spec is openapi.yaml.
	Spec    []byte
	Version Version
	// LoginOIDC lists the providers at which people log in.
	LoginOIDC []LoginOIDC
	Log       *slog.Logger
	// Proxies are believed about the address of their clients.
	Proxies authn.Proxies
	// RequestsPerCaller and EmergencyCallsPerCaller bound what one caller may ask
	// for in a second; zero means the default.
	RequestsPerCaller, EmergencyCallsPerCaller int
	// RequestTimeout bounds a call; zero means DefaultRequestTimeout.
	RequestTimeout time.Duration
}

// Version says which build serves.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Check is one thing that the server needs. Detail is shown to anybody who
// asks /readyz, so it holds no path, address or cause.
type Check struct {
	Name   string
	OK     bool
	Detail string
}

// Handler serves the API. It is safe for concurrent use.
type Handler struct {
	cfg      Config
	metrics  *metrics
	validate *requestValidator
	router   chi.Router
	admin    chi.Router
	draining context.Context
	drain    context.CancelFunc
	logins   *logins
	budgets  *budgets
	// awsFailures and awsUnderWay bound what one address costs at STS.
	awsFailures *logins
	awsUnderWay *shares
	// strangers bounds the access log of requests that nobody known made.
	strangers *lineLimit

	// Header values that every answer shares; never written to.
	nosniff, noStore, typeJSON []string
}

// New returns the API. Its errors are faults of the configuration.
func New(cfg Config) (*Handler, error) {
	if cfg.Service == nil || cfg.Authenticator == nil {
		return nil, errors.New("api: Service and Authenticator are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = DefaultRequestTimeout
	}
	h := &Handler{cfg: cfg, logins: newLogins(), awsFailures: newLogins(), awsUnderWay: newShares(awsShare), budgets: newBudgets(cfg.RequestsPerCaller, cfg.EmergencyCallsPerCaller), strangers: newLineLimit(cfg.Log, "requests without valid credentials or budget"), nosniff: []string{"nosniff"}, noStore: []string{"no-store"}, typeJSON: []string{"application/json"}}
	h.draining, h.drain = context.WithCancel(context.Background())
	var err error
	if h.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, err
	}
	if h.validate, err = newRequestValidator(); err != nil {
		return nil, err
	}
	main := slices.Concat(h.calls(), h.loginCalls(), h.awsLogins(), h.secondFactors(), h.operations())
	if !cfg.AdminListener {
		main = append(main, h.metricsEndpoint()...)
	}
	h.router = h.route(main)
	h.admin = h.route(append(h.operations(), h.metricsEndpoint()...))
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.router.ServeHTTP(w, r) }

// Admin serves /metrics and the other open paths for an admin listener.
func (h *Handler) Admin() http.Handler { return h.admin }

// Drain ends every long poll with what it has. Nothing else is cut short; it
// is for the beginning of a graceful shutdown.
func (h *Handler) Drain() { h.drain() }

// Routes lists what the handler serves, as "GET /v1/events". HEAD, which every
// GET has, is left out.
func (h *Handler) Routes() []string {
	var routes []string
	_ = chi.Walk(h.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if method != http.MethodHead {
			routes = append(routes, method+" "+route)
		}
		return nil
	})
	return routes
}

// calls are the calls under /v1; what is allowed to whom is breakglass.Permissions.
func (h *Handler) calls() []endpoint {
	return []endpoint{
		{method: http.MethodPost, pattern: "/v1/breakglass", handle: h.invoke, call: breakglass.CallInvoke},
		{method: http.MethodGet, pattern: "/v1/breakglass", handle: h.list, call: breakglass.CallList},
		{method: http.MethodGet, pattern: "/v1/breakglass/{id}", handle: h.check, call: breakglass.CallCheck},
		{method: http.MethodPost, pattern: "/v1/breakglass/{id}/close", handle: h.close, call: breakglass.CallClose},
		{method: http.MethodPost, pattern: "/v1/breakglass/{id}/credentials", handle: h.credentials, call: breakglass.CallCredentials},
		{method: http.MethodPost, pattern: "/v1/breakglass/{id}/extend", handle: h.extend, call: breakglass.CallExtend},
		{method: http.MethodPost, pattern: "/v1/credentials", handle: h.credentialsFor, call: breakglass.CallAccess},
		{method: http.MethodPost, pattern: "/v1/requests", handle: h.request, call: breakglass.CallRequest},
		{method: http.MethodGet, pattern: "/v1/requests", handle: h.accessRequests, call: breakglass.CallRequests},
		{method: http.MethodGet, pattern: "/v1/requests/{id}", handle: h.accessRequest, call: breakglass.CallRequestShow},
		{method: http.MethodPost, pattern: "/v1/requests/{id}/approve", handle: h.approve, call: breakglass.CallApprove},
		{method: http.MethodPost, pattern: "/v1/requests/{id}/deny", handle: h.deny, call: breakglass.CallDeny},
		{method: http.MethodPost, pattern: "/v1/requests/{id}/cancel", handle: h.cancel, call: breakglass.CallCancel},
		{method: http.MethodGet, pattern: "/v1/why/{ref}", handle: h.why, call: breakglass.CallWhy},
		{method: http.MethodGet, pattern: "/v1/events", handle: h.feed, call: breakglass.CallFeed},
		{method: http.MethodGet, pattern: "/v1/profiles", handle: h.profiles, call: breakglass.CallProfiles},
		{method: http.MethodGet, pattern: "/v1/whoami", handle: h.whoami, call: breakglass.CallWhoami},
		{method: http.MethodPost, pattern: "/v1/admin/reload", handle: h.reload, call: breakglass.CallReload},
	}
}

// loginCalls are the calls by which people come to be known: they need no token.
func (h *Handler) loginCalls() []endpoint {
	return []endpoint{{method: http.MethodGet, pattern: "/v1/login", handle: h.login}}
}

// operations are the open paths.
func (h *Handler) operations() []endpoint {
	return []endpoint{
		{method: http.MethodGet, pattern: "/healthz", handle: h.healthz},
		{method: http.MethodGet, pattern: "/readyz", handle: h.readyz},
		{method: http.MethodGet, pattern: "/version", handle: h.version},
		{method: http.MethodGet, pattern: "/openapi.yaml", handle: h.spec},
	}
}

func (h *Handler) metricsEndpoint() []endpoint {
	if h.cfg.Metrics == nil {
		return nil
	}
	served := promhttp.HandlerFor(h.cfg.Metrics, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(h.cfg.Log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
	})
	return []endpoint{{method: http.MethodGet, pattern: "/metrics", handle: func(c *call) error {
		c.quiet = true
		served.ServeHTTP(&c.w, c.r)
		return nil
	}}}
}

// route builds a router. chi only finds the endpoint: everything that happens
// to a request is in serve, in one place and order.
func (h *Handler) route(endpoints []endpoint) chi.Router {
	router := chi.NewRouter()
	for _, e := range endpoints {
		served := h.serve(e)
		router.Method(e.method, e.pattern, served)
		if e.method == http.MethodGet {
			router.Method(http.MethodHead, e.pattern, served) // net/http drops the body
		}
	}
	router.NotFound(h.serve(endpoint{pattern: unmatched, handle: notFound}))
	router.MethodNotAllowed(h.serve(endpoint{pattern: unmatched, handle: func(c *call) error {
		return methodNotAllowed(c, router)
	}}))
	return router
}
