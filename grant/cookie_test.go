package grant_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

const (
	cookieName = "__Host-refresh_token"
	appID      = "&client_id=app" // the browser app
	cliID      = "&client_id=cli" // a client without a cookie
	refreshNow = "grant_type=refresh_token" + appID
)

// browserConfigs are the two ways to say that "app" is a browser app and "cli" is not.
func browserConfigs(t *testing.T, cookie grant.RefreshCookie) map[string]func(*grant.Config) {
	clients, err := grant.NewClients(grant.Client{ID: "app", RefreshCookie: &cookie}, grant.Client{ID: "cli"})
	require.NoError(t, err)
	return map[string]func(*grant.Config){
		"registered":   func(c *grant.Config) { c.Clients = clients },
		"unregistered": func(c *grant.Config) { c.RefreshCookies = map[string]*grant.RefreshCookie{"app": &cookie} },
	}
}

// browser is a kit with every endpoint behind TLS, and a browser with a page of the app. A
// kit's send is for whoever is no browser: it sends the cookies that it is told to.
type browser struct {
	*kit
	jar    *cookiejar.Jar
	client *http.Client
}

func newBrowser(t *testing.T, backend store.Backend, change func(*grant.Config)) *browser {
	t.Helper()
	b := &browser{kit: newKit(t, middlewaretest.Config{Backend: backend, Grant: change})}
	mux := http.NewServeMux()
	b.Server.Mount(mux)
	own, err := selfservice.New(selfservice.Config{Server: b.Server, Auth: b.Auth})
	require.NoError(t, err)
	own.Mount(mux)
	others, err := admin.New(admin.Config{Server: b.Server, Auth: b.Auth})
	require.NoError(t, err)
	others.Mount(mux)
	web := httptest.NewTLSServer(mux)
	t.Cleanup(web.Close)
	b.jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	b.url, b.client = web.URL, web.Client()
	b.transport = b.client.Transport
	b.client.Jar = b.jar
	return b
}

// fetch is what the page of the app does. The answer must hold no refresh token.
func (b *browser) fetch(method, path, body string, headers ...string) answer {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	request.Header.Set("Content-Type", formType)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.client.Do(request)
	require.NoError(b.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	got := answer{response.StatusCode, response.Header, string(text)}
	assertNoRefreshToken(b.t, got)
	return got
}

// api calls an endpoint with JSON and an access token.
func (b *browser) api(method, path, accessToken, body string) answer {
	b.t.Helper()
	return b.fetch(method, path, body, "Authorization", "Bearer "+accessToken, "Content-Type", "application/json")
}

// logInPage logs ada in, and returns the access token.
func (b *browser) logInPage() string {
	b.t.Helper()
	got := b.fetch("POST", "/token", passwordForm+appID)
	require.Equal(b.t, 200, got.status, got.body)
	return got.json(b.t)["access_token"].(string)
}

// stored is the refresh token in the browser, or empty.
func (b *browser) stored() string {
	b.t.Helper()
	location, err := url.Parse(b.url)
	require.NoError(b.t, err)
	cookies := b.jar.Cookies(location)
	if len(cookies) == 0 {
		return ""
	}
	require.Len(b.t, cookies, 1)
	assert.Equal(b.t, cookieName, cookies[0].Name)
	return cookies[0].Value
}

var jwt = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*`)

func assertNoRefreshToken(t *testing.T, got answer) {
	t.Helper()
	assert.NotContains(t, got.body, `"refresh_token"`)
	for _, token := range jwt.FindAllString(got.body, -1) {
		head, _, _ := strings.Cut(token, ".")
		text, err := base64.RawURLEncoding.DecodeString(head)
		require.NoError(t, err)
		assert.NotContains(t, string(text), "rt+jwt")
	}
}

// setCookie is the one cookie that an answer sets, or nil. Its attributes must be right.
func setCookie(t *testing.T, got answer) *http.Cookie {
	t.Helper()
	cookies := (&http.Response{Header: got.header}).Cookies()
	if len(cookies) == 0 {
		return nil
	}
	require.Len(t, cookies, 1)
	cookie := cookies[0]
	assert.Equal(t, []any{"/", "", true, true, http.SameSiteStrictMode},
		[]any{cookie.Path, cookie.Domain, cookie.Secure, cookie.HttpOnly, cookie.SameSite}, cookie.Raw)
	return cookie
}

func assertCleared(t *testing.T, got answer) {
	t.Helper()
	cookie := setCookie(t, got)
	require.NotNil(t, cookie, "the answer clears the cookie")
	assert.Equal(t, []any{cookieName, "", -1}, []any{cookie.Name, cookie.Value, cookie.MaxAge})
}

func TestBrowserAppNeverSeesItsRefreshToken(t *testing.T) {
	for name, change := range browserConfigs(t, grant.RefreshCookie{}) {
		t.Run(name, func(t *testing.T) {
			mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
				b := newBrowser(t, backend, change)
				got := b.fetch("POST", "/token", passwordForm+appID)
				require.Equal(t, 200, got.status, got.body)
				assertTokenHeaders(t, got)
				cookie := setCookie(t, got)
				require.NotNil(t, cookie)
				assert.Equal(t, cookieName, cookie.Name)
				assert.Equal(t, int((30 * 24 * time.Hour).Seconds()), cookie.MaxAge, "it lives as long as the refresh token")
				first := b.stored()
				require.NotEmpty(t, first)

				got = b.fetch("POST", "/token", refreshNow)
				require.Equal(t, 200, got.status, got.body)
				assert.NotEqual(t, first, b.stored())
				access := got.json(t)["access_token"].(string)
				got = b.api("GET", "/me", access, "")
				assert.Equal(t, 200, got.status)
				assert.Nil(t, setCookie(t, got))

				second := b.stored()
				body := `{"current_password":"` + middlewaretest.Password + `","new_password":"` + middlewaretest.Password + `s"}`
				got = b.api("PUT", "/me/password", access, body)
				require.Equal(t, 200, got.status, got.body)
				assert.NotEqual(t, second, b.stored(), "a change of the password starts a new session")
				access = got.json(t)["access_token"].(string)
				require.Equal(t, 200, b.fetch("POST", "/token", refreshNow).status)

				got = b.fetch("POST", "/revoke", "client_id=app")
				assert.Equal(t, []any{200, "{}"}, []any{got.status, got.body})
				assertCleared(t, got)
				assert.Empty(t, b.stored())
				assert.Equal(t, 401, b.api("GET", "/me", access, "").status)
				got = b.fetch("POST", "/token", refreshNow)
				assert.Equal(t, []any{400, "invalid_grant"}, []any{got.status, got.json(t)["error"]}, "there is no cookie")
			})
		})
	}
}

// TestAdministratorGetsNoRefreshTokenOfBrowserApp: it would work in a cookie alone.
func TestAdministratorGetsNoRefreshTokenOfBrowserApp(t *testing.T) {
	for name, change := range browserConfigs(t, grant.RefreshCookie{}) {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t, nil, change)
			root, err := b.Server.Issue(t.Context(), b.Account("root", "admin").ID, grant.Origin{ClientID: "app"})
			require.NoError(t, err)
			assert.Empty(t, root.RefreshToken)
			require.NotNil(t, root.Cookie)
			got := b.api("POST", "/admin/accounts/"+b.account.ID.Hex()+"/tokens", root.AccessToken, `{"client_id":"app"}`)
			require.Equal(t, 200, got.status, got.body)
			assert.Nil(t, setCookie(t, got), "the cookie of the administrator's own browser stays")
		})
	}
}

func TestTwoTabsRefreshAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		b := newBrowser(t, backend, browserConfigs(t, grant.RefreshCookie{})["unregistered"])
		b.logInPage()
		before := cookieName + "=" + b.stored() // no tab has seen the answer to another
		var wait sync.WaitGroup
		answers := make([]answer, 8)
		for i := range answers {
			wait.Go(func() { answers[i] = b.token(refreshNow, "Cookie", before) })
		}
		wait.Wait()
		for _, got := range answers {
			require.Equal(t, 200, got.status, got.body)
			assertNoRefreshToken(t, got)
			set := setCookie(t, got)
			require.NotNil(t, set)
			claims, err := b.Issuer.VerifyRefresh(set.Value)
			require.NoError(t, err)
			assert.EqualValues(t, 2, claims.Generation, "each tab gets the same generation")
		}
		last := setCookie(t, answers[0]) // whichever came last
		assert.Equal(t, 200, b.token(refreshNow, "Cookie", cookieName+"="+last.Value).status)
	})
}

// TestEmptyCookieIsNone: a browser may keep one that was cleared in another way.
func TestEmptyCookieIsNone(t *testing.T) {
	b := newBrowser(t, nil, browserConfigs(t, grant.RefreshCookie{})["unregistered"])
	b.logInPage()
	assert.Equal(t, 200, b.token(refreshNow, "Cookie", cookieName+"=; "+cookieName+"="+b.stored()).status)
	got := b.token(refreshNow, "Cookie", cookieName+"=")
	assert.Equal(t, []any{400, "there is no cookie with a refresh token"}, []any{got.status, got.json(t)["error_description"]})
}

// TestCookieOfASessionThatEndsIsNoSessionCookie: without Max-Age it would last as long as the
// browser runs.
func TestCookieOfASessionThatEndsIsNoSessionCookie(t *testing.T) {
	clients, err := grant.NewClients(grant.Client{ID: "app", SessionTTL: time.Hour + 200*time.Millisecond, RefreshCookie: &grant.RefreshCookie{}})
	require.NoError(t, err)
	b := newBrowser(t, nil, func(c *grant.Config) { c.Clients = clients })
	b.logInPage()
	b.Sleep(time.Hour - 100*time.Millisecond)
	got := b.fetch("POST", "/token", refreshNow)
	require.Equal(t, 200, got.status, got.body)
	assert.Equal(t, 1, setCookie(t, got).MaxAge)
}

func TestLostReplyLeavesOldCookie(t *testing.T) {
	b := newBrowser(t, nil, browserConfigs(t, grant.RefreshCookie{})["unregistered"])
	b.logInPage()
	old := cookieName + "=" + b.stored()
	require.Equal(t, 200, b.token(refreshNow, "Cookie", old).status, "and the reply is lost")
	b.Sleep(time.Hour)
	got := b.fetch("POST", "/token", refreshNow)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, 200, b.api("GET", "/me", got.json(t)["access_token"].(string), "").status)
	b.Sleep(time.Hour)

	got = b.token(refreshNow, "Cookie", old)
	assert.Equal(t, []any{400, "invalid_grant"}, []any{got.status, got.json(t)["error"]}, "somebody has a copy of the cookie")
	assertCleared(t, got)
	got = b.fetch("POST", "/token", refreshNow)
	assert.Equal(t, 400, got.status, "so the session has ended")
	assert.Empty(t, b.stored(), "a dead cookie does not stay")
}

// downBackend is a store that can be down.
type downBackend struct {
	store.Backend
	down atomic.Bool
}

func (b *downBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	if b.down.Load() {
		return store.ErrUnavailable
	}
	return b.Backend.Update(ctx, id, change)
}

func (b *downBackend) Delete(ctx context.Context, id store.ID) error {
	if b.down.Load() {
		return store.ErrUnavailable
	}
	return b.Backend.Delete(ctx, id)
}

func TestOutageKeepsCookie(t *testing.T) {
	for name, change := range browserConfigs(t, grant.RefreshCookie{}) {
		t.Run(name, func(t *testing.T) {
			backend := &downBackend{Backend: memstore.New()}
			b := newBrowser(t, backend, change)
			access := b.logInPage()
			before := b.stored()
			backend.down.Store(true)
			for _, got := range []answer{
				b.fetch("POST", "/token", refreshNow),
				b.fetch("POST", "/revoke", "client_id=app"),
				b.fetch("POST", "/revoke", "client_id=app&token="+access),
				b.api("DELETE", "/me/sessions", access, ""),
				b.api("DELETE", "/me", access, `{"current_password":"`+middlewaretest.Password+`"}`),
			} {
				assert.Equal(t, 503, got.status, got.body)
				assert.Empty(t, got.header.Values("Set-Cookie"))
			}
			assert.Equal(t, before, b.stored())
			backend.down.Store(false)
			assert.Equal(t, 200, b.fetch("POST", "/token", refreshNow).status)
		})
	}
}
