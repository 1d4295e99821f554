package api

import (
	"net/http"
)

// Reloaded is a file that was read again. Anybody with the role admin sees it,
// so it holds no path and no cause.
type Reloaded struct {
	File   string `json:"file"`             // policy, rate_limits, access or approvals
	OK     bool   `json:"ok"`               // what is on disk is in force
	SHA256 string `json:"sha256,omitempty"` // of what is in force; empty: nothing is
	Detail string `json:"detail"`
}

// reload serves POST /v1/admin/reload.
func (h *Handler) reload(c *call) error {
	if err := c.read(fields{}, &struct{}{}, true); err != nil {
		return err
	}
	out := page[Reloaded]{Items: []Reloaded{}}
	if h.cfg.Reload != nil {
		out.Items = orEmpty(h.cfg.Reload())
	}
	return c.json(http.StatusOK, out)
}
