package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
	"breakglass/internal/problem"
)

// unmatched is the route of requests that fit no endpoint.
const unmatched = "unmatched"

// statusClientGone is what logs and metrics show when the caller hung up
// before the answer: no failure of the server.
const statusClientGone = 499

// endpoint is one method of one path.
type endpoint struct {
	method, pattern string
	handle          func(*call) error
	call            breakglass.Call // as in breakglass.Permissions; empty: no login is needed
}

// call is one request on its way through the API.
type call struct {
	h      *Handler
	w      recorder
	r      *http.Request
	id     string // request id
	caller breakglass.Principal
	failed *breakglass.Error // what was answered instead of a result
	quiet  bool              // of interest to nobody: logged for debugging only
	// overBudget says that the caller had no request left.
	overBudget bool
	// bodyRead says that nothing of the request's body is left on the connection.
	bodyRead bool
}

// serve is everything that happens to a request of an endpoint: request id,
// headers, authentication, the handler, errors, panics, metrics and the log.
func (h *Handler) serve(e endpoint) http.HandlerFunc {
	observe := h.metrics.endpoint(e)
	return func(w http.ResponseWriter, r *http.Request) {
		r = h.cfg.Proxies.Resolve(r)
		c := &call{h: h, w: recorder{ResponseWriter: w}, r: r, id: requestID(r.Header)}
		c.w.call = c
		start := time.Now()
		h.metrics.inFlight.Inc()
		defer func() {
			if p := recover(); p != nil {
				defer c.panicked(p)
			}
			h.metrics.inFlight.Dec()
			took := time.Since(start)
			observe(r.Method, c.status(), took)
			c.log(e, took)
		}()
		header := w.Header()
		header["X-Request-Id"] = []string{c.id}
		header["X-Content-Type-Options"] = h.nosniff
		header["Cache-Control"] = h.noStore
		if len(r.TransferEncoding) > 0 && r.ProtoMajor == 1 {
			header["Connection"] = []string{"close"} // as Strict relies on
		}
		if e.call != "" {
			if err := c.authenticate(); err != nil {
				c.fail(err)
				return
			}
			// Calls about an event or a person are checked where it is known.
			if refusal := breakglass.MayAtAll(c.caller, e.call); refusal != nil {
				h.cfg.Service.RecordRefusedCall(c.origin(), e.call, c.caller, refusal)
				c.fail(refusal)
				return
			}
		}
		if err := e.handle(c); err != nil {
			c.fail(err)
		}
	}
}

func (c *call) authenticate() error {
	p, err := c.h.cfg.Authenticator.Authenticate(c.r)
	if err == nil && p.Name == "" {
		err = &breakglass.Error{Code: breakglass.CodeUnauthenticated, Message: "The caller has no name."}
	}
	if err != nil {
		if breakglass.AsError(err).Code != breakglass.CodeUnauthenticated {
			return err
		}
		c.strike(false)
		if errors.Is(err, authn.ErrInvalidCredentials) {
			if wait := c.h.logins.failed(authn.ClientAddr(c.r), time.Now()); wait > 0 {
				return tooManyLogins(wait)
			}
		}
		c.w.Header().Set("WWW-Authenticate", authn.Challenge(err))
		return err
	}
	c.strike(true)
	c.caller = p
	return c.withinBudget()
}

// context bounds what the call asks of the service.
func (c *call) context(extra time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.origin(), c.h.cfg.RequestTimeout+extra)
}

// origin is the request's context with what audit entries say about the caller.
func (c *call) origin() context.Context {
	o := breakglass.Origin{RequestID: c.id}
	if from := authn.ClientAddr(c.r); from.IsValid() {
		o.ClientAddr = from.String()
	}
	return breakglass.WithOrigin(c.r.Context(), o)
}

// fail answers with a problem document.
func (c *call) fail(err error) {
	c.failed = breakglass.AsError(err)
	if c.w.status != 0 {
		return // the answer has begun: nothing can be added
	}
	_ = problem.Write(&c.w, problem.From(c.failed, c.id)) // the caller is gone
}

// status is the status for metrics and log.
func (c *call) status() int {
	switch {
	case c.failed != nil && c.w.status >= http.StatusInternalServerError && c.r.Context().Err() != nil:
		return statusClientGone
	case c.w.status == 0:
		return http.StatusOK
	}
	return c.w.status
}

// panicked answers after a defect. When part of an answer has left already the
// connection is cut, so that nobody takes it for the whole.
func (c *call) panicked(p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	c.h.cfg.Log.Error("panic in a handler", "request_id", c.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if c.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	c.fail(&breakglass.Error{Code: problem.CodeInternal,
		Message: "The server failed on this request. That is a defect; tell its operators the request id."})
}

// log writes the access log: no headers, no query, no text from the caller.
func (c *call) log(e endpoint, took time.Duration) {
	status := c.status()
	level := slog.LevelInfo
	switch {
	case status >= http.StatusInternalServerError && status != statusClientGone:
		level = slog.LevelError
	case c.quiet && status < http.StatusBadRequest:
		level = slog.LevelDebug
	}
	ctx := c.r.Context()
	if !c.h.cfg.Log.Enabled(ctx, level) {
		return
	}
	if (c.caller.Name == "" || c.overBudget) && !c.h.strangers.allow(strconv.Itoa(status)) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("method", knownMethod(c.r.Method)), slog.String("route", e.pattern), slog.Int("status", status),
		slog.Float64("seconds", took.Seconds()), slog.String("request_id", c.id))
	if from := authn.ClientAddr(c.r); from.IsValid() {
		attrs = append(attrs, slog.String("client_addr", from.String()))
	}
	if c.caller.Name != "" {
		attrs = append(attrs, slog.String("principal", c.caller.Name))
	}
	if c.failed != nil {
		attrs = append(attrs, slog.String("code", string(c.failed.Code)))
		// Of a refused login too: only the log says why.
		if c.failed.Cause != nil && (c.w.status >= http.StatusInternalServerError || c.failed.Code == breakglass.CodeUnauthenticated) {
			attrs = append(attrs, slog.String("cause", c.failed.Cause.Error()))
		}
	}
	c.h.cfg.Log.LogAttrs(ctx, level, "request", attrs...)
}

// requestID is the caller's own id for the request when it has the agreed form,
// [A-Za-z0-9._-]{8,64}, and a new one otherwise.
func requestID(h http.Header) string {
	if v := h["X-Request-Id"]; len(v) == 1 && isRequestID(v[0]) {
		return v[0]
	}
	return breakglass.NewID()
}

func isRequestID(s string) bool {
	if len(s) < 8 || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// recorder remembers the status of the answer.
type recorder struct {
	http.ResponseWriter
	call   *call
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
		w.call.abandonBody()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
