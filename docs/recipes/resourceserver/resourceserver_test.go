package resourceserver

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/tokens"
)

// issuer is a server that issues tokens.
type issuer struct {
	*middlewaretest.Kit
	t      *testing.T
	web    *httptest.Server
	secret string // of the client orders-api
}

func newIssuer(t *testing.T) *issuer {
	web := httptest.NewUnstartedServer(nil)
	address := "http://" + web.Listener.Addr().String()
	tokenIssuer, err := newTokenIssuer(address, filepath.Join(t.TempDir(), "issuer.key"))
	require.NoError(t, err)
	secret, hash := grant.NewClientSecret()
	clients, err := newClients(hash)
	require.NoError(t, err)
	k := middlewaretest.New(t, middlewaretest.Config{
		Issuer: address, Now: time.Now,
		Tokens: func(c *tokens.IssuerConfig) { c.Keys, c.Audience = tokenIssuer.Keys(), tokenIssuer.Audience() },
		Grant:  func(c *grant.Config) { c.Clients = clients },
	})
	mux := http.NewServeMux()
	k.Server.Mount(mux)
	web.Config.Handler = mux
	web.Start()
	t.Cleanup(web.Close)
	return &issuer{k, t, web, secret}
}

func (i *issuer) login(name string) *grant.Response {
	i.t.Helper()
	response, err := http.PostForm(i.web.URL+"/token", url.Values{
		"grant_type": {"password"}, "username": {name}, "password": {middlewaretest.Password}, "client_id": {"app"},
	})
	require.NoError(i.t, err)
	defer response.Body.Close()
	require.Equal(i.t, 200, response.StatusCode)
	var answer grant.Response
	require.NoError(i.t, json.NewDecoder(response.Body).Decode(&answer))
	return &answer
}

func (i *issuer) revoke(token string) {
	i.t.Helper()
	response, err := http.PostForm(i.web.URL+"/revoke", url.Values{"token": {token}, "client_id": {"app"}})
	require.NoError(i.t, err)
	require.NoError(i.t, response.Body.Close())
	require.Equal(i.t, 200, response.StatusCode)
}

func get(t *testing.T, address, token string) (response *http.Response, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err = http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(data)
}

func status(t *testing.T, address, token string) int {
	t.Helper()
	response, _ := get(t, address, token)
	return response.StatusCode
}

func TestKeysLetGenuineTokensIn(t *testing.T) {
	issuer := newIssuer(t)
	handler, err := newAPIByKeys(t.Context(), issuer.web.URL)
	require.NoError(t, err)
	api := httptest.NewServer(handler)
	defer api.Close()
	ada := issuer.Account("ada")
	token := issuer.login("ada")

	// The first fetch of the keys may still be under way.
	require.Eventually(t, func() bool { return status(t, api.URL+"/orders", token.AccessToken) != 503 }, 20*time.Second, 10*time.Millisecond)
	response, body := get(t, api.URL+"/orders", token.AccessToken)
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, "the orders of "+ada.ID.Hex(), body)
	assert.Equal(t, 401, status(t, api.URL+"/orders", ""))
	assert.Equal(t, 401, status(t, api.URL+"/orders", token.RefreshToken))

	issuer.Sleep(-time.Hour) // its clock, not that of the API
	expired := issuer.login("ada")
	assert.Equal(t, 401, status(t, api.URL+"/orders", expired.AccessToken))

	other := newIssuer(t)
	other.Account("ada")
	assert.Equal(t, 401, status(t, api.URL+"/orders", other.login("ada").AccessToken))

	issuer.web.Close()
	assert.Equal(t, 200, status(t, api.URL+"/orders", token.AccessToken), "the keys are known")
}

// TestKeysDoNotTellThatASessionHasEnded: this is what the page warns of.
func TestKeysDoNotTellThatASessionHasEnded(t *testing.T) {
	issuer := newIssuer(t)
	handler, err := newAPIByKeys(t.Context(), issuer.web.URL)
	require.NoError(t, err)
	api := httptest.NewServer(handler)
	defer api.Close()
	issuer.Account("ada")
	token := issuer.login("ada")
	issuer.revoke(token.RefreshToken)
	require.Eventually(t, func() bool { return status(t, api.URL+"/orders", token.AccessToken) != 503 }, 20*time.Second, 10*time.Millisecond)
	assert.Equal(t, 200, status(t, api.URL+"/orders", token.AccessToken))
}

func TestAskingTellsAtOnce(t *testing.T) {
	issuer := newIssuer(t)
	handler, err := newAPIByAsking(issuer.web.URL, issuer.secret)
	require.NoError(t, err)
	api := httptest.NewServer(handler)
	defer api.Close()
	ada := issuer.Account("ada")
	token := issuer.login("ada")

	response, body := get(t, api.URL+"/orders", token.AccessToken)
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, "the orders of "+ada.ID.Hex(), body)
	assert.Equal(t, 401, status(t, api.URL+"/orders", token.RefreshToken))

	assert.Equal(t, 403, status(t, api.URL+"/reports", token.AccessToken))
	require.NoError(t, issuer.Accounts.AddToGroup(t.Context(), ada.ID, "staff"))
	assert.Equal(t, 200, status(t, api.URL+"/reports", token.AccessToken))

	issuer.revoke(token.RefreshToken)
	assert.Equal(t, 401, status(t, api.URL+"/orders", token.AccessToken))
	token = issuer.login("ada")
	assert.Equal(t, 200, status(t, api.URL+"/orders", token.AccessToken))
	require.NoError(t, issuer.Accounts.Disable(t.Context(), ada.ID))
	assert.Equal(t, 401, status(t, api.URL+"/orders", token.AccessToken))
	assert.Equal(t, 401, status(t, api.URL+"/orders", "no-token"))

	issuer.web.Close()
	response, _ = get(t, api.URL+"/orders", token.AccessToken)
	assert.Equal(t, 503, response.StatusCode, "an outage is no bad token")
	assert.NotEmpty(t, response.Header.Get("Retry-After"))
	assert.Empty(t, response.Header.Get("WWW-Authenticate"))
}

func TestAWrongSecretIsAnOutage(t *testing.T) {
	issuer := newIssuer(t)
	handler, err := newAPIByAsking(issuer.web.URL, "wrong")
	require.NoError(t, err)
	api := httptest.NewServer(handler)
	defer api.Close()
	issuer.Account("ada")
	assert.Equal(t, 503, status(t, api.URL+"/orders", issuer.login("ada").AccessToken))
}

// TestTheAPIMayOnlyAsk: its secret is no way to log in.
func TestTheAPIMayOnlyAsk(t *testing.T) {
	issuer := newIssuer(t)
	issuer.Account("ada")
	response, err := http.PostForm(issuer.web.URL+"/token", url.Values{
		"grant_type": {"password"}, "username": {"ada"}, "password": {middlewaretest.Password},
		"client_id": {"orders-api"}, "client_secret": {issuer.secret},
	})
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Equal(t, 400, response.StatusCode)
	assert.Contains(t, string(body), "unauthorized_client")
}
