package api

import (
	"net/http"
	"time"

	"breakglass/internal/breakglass"
)

// profileDocument is a profile that the caller may invoke now.
type profileDocument struct {
	breakglass.ProfileOffer
	MaxDurationSeconds     int64 `json:"max_duration_seconds"`
	DefaultDurationSeconds int64 `json:"default_duration_seconds"`
}

// profiles serves GET /v1/profiles.
func (h *Handler) profiles(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	offers, err := h.cfg.Service.Profiles(c.caller)
	if err != nil {
		return err
	}
	out := page[profileDocument]{Items: make([]profileDocument, len(offers))}
	for i, o := range offers {
		out.Items[i] = profileDocument{ProfileOffer: o,
			MaxDurationSeconds: int64(o.MaxDuration / time.Second), DefaultDurationSeconds: int64(o.DefaultDuration / time.Second)}
	}
	return c.json(http.StatusOK, out)
}

// whoami serves GET /v1/whoami.
func (h *Handler) whoami(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		Name   string            `json:"name"`
		Groups []string          `json:"groups"`
		Roles  []breakglass.Role `json:"roles"`
		Via    string            `json:"authenticated_by"`
	}{c.caller.Name, orEmpty(c.caller.Groups), orEmpty(c.caller.Roles), c.caller.Via.String()})
}

// orEmpty makes a JSON array of no elements, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
