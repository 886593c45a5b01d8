package selfservice_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// TestRefreshCookieFollowsSession: what ends the session of a browser app clears its cookie,
// and what starts another sets it.
func TestRefreshCookieFollowsSession(t *testing.T) {
	const (
		stays = iota
		set
		cleared
	)
	for name, test := range map[string]struct {
		method, path string
		members      object
		status       int
		cookie       int
	}{
		"password":               {"PUT", "/me/password", object{"current_password": password, "new_password": newPassword}, 200, set},
		"wrong password":         {"PUT", "/me/password", object{"current_password": "x", "new_password": newPassword}, 403, stays},
		"removal":                {"DELETE", "/me", object{"current_password": password}, 204, cleared},
		"refused removal":        {"DELETE", "/me", object{"current_password": "x"}, 403, stays},
		"all sessions":           {"DELETE", "/me/sessions", nil, 204, cleared},
		"all other sessions":     {"DELETE", "/me/sessions?others=true", nil, 204, stays},
		"the current session":    {"DELETE", "/me/sessions/CURRENT", nil, 204, cleared},
		"another session":        {"DELETE", "/me/sessions/OTHER", nil, 204, stays},
		"a session of nobody":    {"DELETE", "/me/sessions/x", nil, 404, stays},
		"the account":            {"GET", "/me", nil, 200, stays},
		"a change of the phone":  {"PATCH", "/me", object{"phone": "+1 2"}, 200, stays},
		"the start of an e-mail": {"PUT", "/me/email", object{"email": "new@example.org", "current_password": password}, 202, stays},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) {
				c.RefreshCookies = map[string]*grant.RefreshCookie{"app": {}}
			}})
			issue := func(client string) *grant.Response {
				response, err := k.Server.Issue(t.Context(), k.account.ID, grant.Origin{ClientID: client})
				require.NoError(t, err)
				return response
			}
			app, cli := issue("app"), issue("cli")
			path := test.path
			switch path {
			case "/me/sessions/CURRENT":
				path = "/me/sessions/" + app.SessionID
			case "/me/sessions/OTHER":
				path = "/me/sessions/" + cli.SessionID
			}
			got := k.call(test.method, path, app.AccessToken, test.members)
			require.Equal(t, test.status, got.status, got.body)
			assert.NotContains(t, got.body, "refresh_token")
			cookies := (&http.Response{Header: got.header}).Cookies()
			if test.cookie == stays {
				assert.Empty(t, cookies)
				return
			}
			require.Len(t, cookies, 1)
			cookie := cookies[0]
			assert.Equal(t, []any{"__Host-refresh_token", "/", "", true, true, http.SameSiteStrictMode},
				[]any{cookie.Name, cookie.Path, cookie.Domain, cookie.Secure, cookie.HttpOnly, cookie.SameSite})
			if test.cookie == cleared {
				assert.Equal(t, []any{"", -1}, []any{cookie.Value, cookie.MaxAge})
				return
			}
			assert.Positive(t, cookie.MaxAge)
			_, err := k.Server.Refresh(t.Context(), grant.RefreshRequest{Origin: grant.Origin{ClientID: "app"}, RefreshToken: cookie.Value})
			assert.NoError(t, err)
		})
	}
}

func TestRefreshCookieIsNotChangedFromAnotherSite(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) {
		c.RefreshCookies = map[string]*grant.RefreshCookie{"app": {}}
	}})
	app, err := k.Server.Issue(t.Context(), k.account.ID, grant.Origin{ClientID: "app"})
	require.NoError(t, err)
	k.takeEvents()
	for _, request := range []struct{ method, path, body string }{
		{"PUT", "/me/password", `{"current_password":"` + password + `","new_password":"` + newPassword + `"}`},
		{"DELETE", "/me", `{"current_password":"` + password + `"}`},
		{"DELETE", "/me/sessions", ""},
		{"DELETE", "/me/sessions/" + app.SessionID, ""},
	} {
		send := func(token string) answer {
			return k.send(request.method, request.path, request.body,
				"Content-Type", jsonType, "Authorization", "Bearer "+token, "Sec-Fetch-Site", "cross-site")
		}
		got := send(app.AccessToken)
		k.assertProblem(got, 403, grant.ProblemCrossOrigin, "")
		assert.Empty(t, got.header.Values("Set-Cookie"))
		assert.Empty(t, k.takeEvents())
		assert.Equal(t, 200, k.call("GET", "/me", app.AccessToken, nil).status, "nothing has happened")
	}
	other := k.bearer(k.account)
	got := k.send("DELETE", "/me/sessions", "", "Authorization", "Bearer "+other, "Sec-Fetch-Site", "cross-site")
	assert.Equal(t, 204, got.status, "a client without a cookie may be anywhere")
	assert.Empty(t, got.header.Values("Set-Cookie"))
}
