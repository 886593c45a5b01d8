package browserapp

import (
	"io"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// TestCookieIsForTheAppAlone: the app logs in and refreshes without a refresh token in its hands,
// and a page of a stranger does neither.
func TestCookieIsForTheAppAlone(t *testing.T) {
	cookies, err := refreshCookies(app)
	require.NoError(t, err)
	k := middlewaretest.New(t, middlewaretest.Config{Grant: func(c *grant.Config) { c.RefreshCookies = cookies }})
	web := httptest.NewServer(newCookieSite(k.Server, k.Auth, app))
	defer web.Close()
	b := &browser{k, t, web.URL}
	const form = "application/x-www-form-urlencoded"
	k.Account("ada", "staff")

	login := "grant_type=password&client_id=web&username=ada&password=" + middlewaretest.Password
	response := b.send("POST", "/token", app, login, "Content-Type", form)
	require.Equal(t, 200, response.StatusCode)
	assert.Equal(t, app, response.Header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "true", response.Header.Get("Access-Control-Allow-Credentials"))
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.NotContains(t, string(body), "refresh_token")
	require.Len(t, response.Cookies(), 1)
	cookie := response.Cookies()[0]

	const refresh = "grant_type=refresh_token&client_id=web"
	response = b.send("POST", "/token", app, refresh, "Content-Type", form, "Cookie", cookie.Name+"="+cookie.Value)
	assert.Equal(t, 200, response.StatusCode)
	for _, body := range []string{login, refresh} {
		response = b.send("POST", "/token", stranger, body, "Content-Type", form, "Cookie", cookie.Name+"="+cookie.Value)
		assert.Equal(t, 403, response.StatusCode)
		assert.Empty(t, response.Header.Get("Access-Control-Allow-Origin"))
	}
}
