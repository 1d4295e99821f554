package api

import "net/http"

// LoginOIDC is what a client needs in order to log a person in at an OpenID
// Connect provider. All of it is public.
type LoginOIDC struct {
	Name     string   `json:"name"` // of the way in
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Token    string   `json:"token"` // to be used as bearer token: id_token or access_token
}

// login serves GET /v1/login. Whoever asks has no token yet.
func (h *Handler) login(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		OIDC []LoginOIDC `json:"oidc"`
	}{orEmpty(h.cfg.LoginOIDC)})
}
