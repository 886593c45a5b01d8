package browserapp

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

const app, stranger = "https://app.example.org", "https://stranger.example.com"

// browser sends what a browser sends for a page of an origin.
type browser struct {
	*middlewaretest.Kit
	t   *testing.T
	url string
}

func newBrowser(t *testing.T) *browser {
	k := middlewaretest.New(t, middlewaretest.Config{})
	web := httptest.NewServer(newSite(k.Server, k.Auth, app))
	t.Cleanup(web.Close)
	return &browser{k, t, web.URL}
}

func (b *browser) send(method, path, origin, body string, header ...string) *http.Response {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	request.Header.Set("Origin", origin)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { assert.NoError(b.t, response.Body.Close()) })
	return response
}

// preflight asks what a browser asks before a request that is not simple. It returns the
// status, and the origin that may go on.
func (b *browser) preflight(method, path, origin, headers string) (int, string, http.Header) {
	b.t.Helper()
	response := b.send("OPTIONS", path, origin, "", "Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	return response.StatusCode, response.Header.Get("Access-Control-Allow-Origin"), response.Header
}

func TestPreflightNeedsNoToken(t *testing.T) {
	b := newBrowser(t)
	status, origin, header := b.preflight("PUT", "/orders", app, "authorization")
	assert.Equal(t, 204, status)
	assert.Equal(t, app, origin)
	assert.Equal(t, "PUT", header.Get("Access-Control-Allow-Methods"))
	assert.Equal(t, "authorization", header.Get("Access-Control-Allow-Headers"))
	assert.Equal(t, "600", header.Get("Access-Control-Max-Age"))
	assert.Empty(t, header.Get("Access-Control-Allow-Credentials"))

	status, origin, _ = b.preflight("POST", "/token", app, "content-type")
	assert.Equal(t, 204, status)
	assert.Equal(t, app, origin)
}

func TestPreflightOfOthersAllowsNothing(t *testing.T) {
	b := newBrowser(t)
	for name, ask := range map[string][3]string{
		"another origin": {"PUT", stranger, "authorization"},
		"another method": {"TRACE", app, "authorization"},
		"another header": {"PUT", app, "authorization,x-other"},
	} {
		_, origin, header := b.preflight(ask[0], "/orders", ask[1], ask[2])
		assert.Empty(t, origin, name)
		assert.Empty(t, header.Get("Access-Control-Allow-Methods"), name)
	}
}

func TestAppLogsInAndAsks(t *testing.T) {
	b := newBrowser(t)
	ada := b.Account("ada")
	form := url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {middlewaretest.Password}}
	response := b.send("POST", "/token", app, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, app, response.Header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, response.Header.Values("Vary"), "Origin")

	response = b.send("PUT", "/orders", app, "", "Authorization", "Bearer "+b.Token(ada).AccessToken)
	assert.Equal(t, 200, response.StatusCode)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Equal(t, "the orders of "+ada.ID.Hex(), string(body))
	assert.Equal(t, app, response.Header.Get("Access-Control-Allow-Origin"))

	response = b.send("PUT", "/orders", stranger, "", "Authorization", "Bearer "+b.Token(ada).AccessToken)
	assert.Empty(t, response.Header.Get("Access-Control-Allow-Origin"), "the browser keeps the answer from the page")
}

// TestAppCanReadWhyItIsRefused: without exposed headers a page sees neither.
func TestAppCanReadWhyItIsRefused(t *testing.T) {
	b := newBrowser(t)
	response := b.send("PUT", "/orders", app, "", "Authorization", "Bearer expired")
	assert.Equal(t, 401, response.StatusCode)
	assert.Equal(t, app, response.Header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, exposed(response), "www-authenticate")
	assert.Contains(t, response.Header.Get("WWW-Authenticate"), "invalid_token")

	b.Account("ada")
	form := url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {"wrong"}}.Encode()
	for tries := 0; response.StatusCode != 429; tries++ {
		require.Less(t, tries, 100)
		response = b.send("POST", "/token", app, form, "Content-Type", "application/x-www-form-urlencoded")
	}
	assert.Equal(t, app, response.Header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, exposed(response), "retry-after")
	assert.NotEmpty(t, response.Header.Get("Retry-After"))
}

func exposed(response *http.Response) string {
	return strings.ToLower(response.Header.Get("Access-Control-Expose-Headers"))
}

// TestPreflightInsideTheMiddlewareFails: so the policy goes around everything.
func TestPreflightInsideTheMiddlewareFails(t *testing.T) {
	k := middlewaretest.New(t, middlewaretest.Config{})
	web := httptest.NewServer(k.Auth.Require(newSite(k.Server, k.Auth, app)))
	defer web.Close()
	b := &browser{k, t, web.URL}
	status, origin, _ := b.preflight("PUT", "/orders", app, "authorization")
	assert.Equal(t, 401, status)
	assert.Empty(t, origin)
}
