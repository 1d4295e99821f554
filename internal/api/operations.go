package api

import (
	"context"
	"net/http"
	"time"
)

// readyTimeout bounds the checks of /readyz: an answer that comes late is one
// that nobody waits for any more.
const readyTimeout = 3 * time.Second

// healthz says that the process serves.
func (h *Handler) healthz(c *call) error {
	c.quiet = true
	return c.bytes(http.StatusOK, h.typeJSON, []byte(`{"status":"ok"}`+"\n"))
}

// readiness is the answer of /readyz.
type readiness struct {
	Status string               `json:"status"`
	Checks map[string]readyItem `json:"checks"`
}

type readyItem struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// readyz says whether the server can do its work.
func (h *Handler) readyz(c *call) error {
	c.quiet = true
	ctx, cancel := context.WithTimeout(c.r.Context(), readyTimeout)
	defer cancel()
	out := readiness{Status: "ready", Checks: map[string]readyItem{}}
	status := http.StatusOK
	add := func(check Check) {
		out.Checks[check.Name] = readyItem{OK: check.OK, Detail: check.Detail}
		if !check.OK {
			out.Status, status = "not_ready", http.StatusServiceUnavailable
		}
	}
	if h.cfg.Ready != nil {
		for _, check := range h.cfg.Ready(ctx) {
			add(check)
		}
	}
	if h.draining.Err() != nil {
		add(Check{Name: "server", Detail: "shutting down"})
	}
	return c.json(status, out)
}

func (h *Handler) version(c *call) error {
	c.quiet = true
	return c.json(http.StatusOK, h.cfg.Version)
}

// spec serves openapi.yaml (media type: RFC 9512).
func (h *Handler) spec(c *call) error {
	c.quiet = true
	return c.bytes(http.StatusOK, []string{"application/yaml"}, h.cfg.Spec)
}
