package api_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/authn/oidc"
)

func TestAnybodyLearnsHowToLogIn(t *testing.T) {
	s := start(t, options{login: []api.LoginOIDC{{Name: "company", Issuer: "https://login.example.com", ClientID: "bgctl", Scopes: []string{"openid"}, Token: oidc.IDToken}}})
	a := s.call(t, request{method: "GET", path: "/v1/login"})
	require.Equal(t, 200, a.status)
	assert.JSONEq(t, `{"oidc":[{"name":"company","issuer":"https://login.example.com","client_id":"bgctl","scopes":["openid"],"token":"id_token"}]}`, string(a.body))
	assert.Equal(t, 422, s.call(t, request{method: "GET", path: "/v1/login?provider=company"}).status)

	none := start(t, options{})
	assert.JSONEq(t, `{"oidc":[]}`, string(none.call(t, request{method: "GET", path: "/v1/login"}).body))
	assert.Equal(t, 200, none.call(t, request{method: "GET", path: "/v1/login", header: map[string][]string{"Authorization": {"Bearer nonsense"}}}).status,
		"a token that has ended is no hindrance to logging in again")
}
