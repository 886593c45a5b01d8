package grant_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestRefreshCookieConfiguration(t *testing.T) {
	_, hash := grant.NewClientSecret()
	for want, clients := range map[string][]grant.Client{
		`grant: clients: client "a": RefreshCookie is for public clients, without a SecretHash`:                                        {{ID: "a", SecretHash: hash, RefreshCookie: &grant.RefreshCookie{}}},
		`grant: clients: client "a": RefreshCookie.Name is "a;b", which is no name of a cookie: give one such as __Host-refresh_token`: {{ID: "a", RefreshCookie: &grant.RefreshCookie{Name: "a;b"}}},
		`grant: clients: clients "a" and "b": RefreshCookie.Name is "__Host-refresh_token" for both: give each its own`: {
			{ID: "b", RefreshCookie: &grant.RefreshCookie{Name: "__Host-refresh_token"}}, {ID: "a", RefreshCookie: &grant.RefreshCookie{}},
		},
	} {
		_, err := grant.NewClients(clients...)
		assert.EqualError(t, err, want)
	}
	clients, err := grant.NewClients(
		grant.Client{ID: "a", RefreshCookie: &grant.RefreshCookie{}}, grant.Client{ID: "b", RefreshCookie: &grant.RefreshCookie{Name: "__Host-b"}}, grant.Client{ID: "c"})
	require.NoError(t, err)
	_, err = grant.NewServer(grant.Config{Clients: clients, RefreshCookies: map[string]*grant.RefreshCookie{"a\x00": {Name: " "}, "b": {}, "c": {}, "d": nil}})
	require.Error(t, err)
	for _, want := range []string{
		"RefreshCookies has no effect where Clients is set", `client "a\x00": RefreshCookie.Name is " ", which is no name of a cookie`,
		`clients "b" and "c": RefreshCookie.Name is "__Host-refresh_token" for both`, `RefreshCookies has a client "a\x00"`,
	} {
		assert.ErrorContains(t, err, want)
	}
}

// TestDefaultClientCanBeBrowserApp is a server whose only client sends no client_id.
func TestDefaultClientCanBeBrowserApp(t *testing.T) {
	b := newBrowser(t, nil, func(c *grant.Config) {
		c.RefreshCookies = map[string]*grant.RefreshCookie{"default": {Name: "own"}}
	})
	for _, form := range []string{passwordForm, "grant_type=refresh_token", "grant_type=refresh_token&client_id=%00"} {
		got := b.fetch("POST", "/token", form)
		require.Equal(t, 200, got.status, got.body)
		assert.Equal(t, "own", setCookie(t, got).Name)
		assert.Equal(t, 403, b.fetch("POST", "/token", form, "Sec-Fetch-Site", "cross-site").status)
	}
	assert.Equal(t, 200, b.fetch("POST", "/revoke", "").status)
	assert.Equal(t, 400, b.fetch("POST", "/token", "grant_type=refresh_token").status)
}

func TestResponseSaysWhenRefreshTokenEnds(t *testing.T) {
	for kind, change := range browserConfigs(t, grant.RefreshCookie{}) {
		t.Run(kind, func(t *testing.T) {
			k := newKit(t, middlewaretest.Config{Grant: change})
			for id, inCookie := range map[string]bool{"app": true, "cli": false} {
				origin := grant.Origin{ClientID: id}
				response, err := k.Server.Password(t.Context(), grant.PasswordRequest{Origin: origin, Username: "ada", Password: middlewaretest.Password})
				require.NoError(t, err)
				k.Sleep(time.Hour)
				refresh := response.RefreshToken
				if inCookie {
					assert.Empty(t, refresh)
					refresh = response.Cookie.Value
				} else {
					assert.Nil(t, response.Cookie)
				}
				response, err = k.Server.Refresh(t.Context(), grant.RefreshRequest{Origin: origin, RefreshToken: refresh})
				require.NoError(t, err)
				assert.Equal(t, k.Now().Add(30*24*time.Hour), response.RefreshExpiry.In(k.Now().Location()), "it slides")
			}
		})
	}
}

func TestRevokeByGoCall(t *testing.T) {
	backend := &downBackend{Backend: memstore.New()}
	k := newKit(t, middlewaretest.Config{Backend: backend})
	tokens := k.login()
	k.TakeEvents()
	require.NoError(t, k.Server.Revoke(t.Context(), "garbage", grant.Origin{}))
	backend.down.Store(true)
	var failure *grant.Error
	require.ErrorAs(t, k.Server.Revoke(t.Context(), tokens.RefreshToken, grant.Origin{}), &failure)
	assert.Equal(t, 503, failure.Status)
	backend.down.Store(false)
	assert.Empty(t, k.TakeEvents())
	require.NoError(t, k.Server.Revoke(t.Context(), tokens.RefreshToken, grant.Origin{}))
	assert.Equal(t, []grant.EventType{grant.EventSessionRevoked}, k.TakeEvents())
	assert.Equal(t, 401, k.get("/protected", tokens.AccessToken).status)
	assert.NoError(t, k.Server.Revoke(t.Context(), tokens.RefreshToken, grant.Origin{}), "twice is as good as once")

	registered := newKit(t, middlewaretest.Config{Grant: browserConfigs(t, grant.RefreshCookie{})["registered"]})
	tokens = registered.mustToken(passwordForm + cliID)
	for client, code := range map[string]string{"app": "invalid_grant", "who": "invalid_client", "": "invalid_client"} {
		require.ErrorAs(t, registered.Server.Revoke(t.Context(), tokens.AccessToken, grant.Origin{ClientID: client}), &failure)
		assert.Equal(t, code, failure.Code)
	}
	assert.Equal(t, 200, registered.get("/protected", tokens.AccessToken).status)
	require.NoError(t, registered.Server.Revoke(t.Context(), tokens.AccessToken, grant.Origin{ClientID: "cli"}))
	assert.Equal(t, 401, registered.get("/protected", tokens.AccessToken).status)
}

func TestWriteErrorAnswersAnyError(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{&grant.Error{Code: "invalid_request", Description: "x", Status: 413}, 413, "invalid_request"},
		{&grant.Error{Code: "mfa_required"}, 400, "mfa_required"},
		{&grant.Error{Code: "mfa_required", Description: "\xff"}, 400, "invalid_request"},
		{errors.Join(errors.New("x"), &grant.Error{Code: "mfa_required", Status: 403}), 403, "mfa_required"},
		{store.ErrCredentials, 400, "invalid_grant"},
		{store.ErrUnavailable, 503, "temporarily_unavailable"},
		{errors.New("a secret"), 503, "temporarily_unavailable"},
	} {
		recorder := httptest.NewRecorder()
		grant.WriteError(recorder, test.err)
		got := answer{recorder.Code, recorder.Header(), recorder.Body.String()}
		assert.Equal(t, []any{test.status, test.code}, []any{got.status, got.json(t)["error"]})
		assert.Equal(t, test.status == 503, got.header.Get("Retry-After") != "")
		assert.NotContains(t, got.body, "secret")
		assertTokenHeaders(t, got)
	}
}

// TestRetryAfterIsNeverTooShort: the header has whole seconds, so a part of one counts as one.
func TestRetryAfterIsNeverTooShort(t *testing.T) {
	for wait, header := range map[time.Duration]string{
		0: "", 1: "1", time.Second - 1: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90", time.Hour - 1: "3600",
	} {
		recorder := httptest.NewRecorder()
		grant.WriteError(recorder, &store.ThrottledError{RetryAfter: wait})
		assert.Equal(t, 429, recorder.Code)
		assert.Equal(t, header, recorder.Header().Get("Retry-After"), wait)
		assert.Equal(t, wait > 0, recorder.Header().Values("Retry-After") != nil, wait)
	}
}

// brokenClients is a registry that is down.
type brokenClients struct{}

func (brokenClients) FindClient(context.Context, string) (*grant.Client, error) {
	return nil, store.ErrUnavailable
}

func TestRefreshCookieIsFoundForOwnEndpoint(t *testing.T) {
	from := httptest.NewRequest("POST", "/", nil)
	from.Header.Set("Sec-Fetch-Site", "cross-site")
	for kind, change := range browserConfigs(t, grant.RefreshCookie{}) {
		server, _ := newServer(t, memstore.New(), change)
		cookie, err := server.RefreshCookie(httptest.NewRequest("POST", "/", nil), "app")
		require.NoError(t, err, kind)
		require.NotNil(t, cookie)
		_, err = server.RefreshCookie(from, "app")
		assert.ErrorIs(t, err, grant.ErrCrossOrigin)
		for _, other := range []string{"cli", "who", ""} {
			none, err := server.RefreshCookie(from, other)
			require.NoError(t, err, "a client that is not known has no cookie")
			assert.Nil(t, none)
			recorder := httptest.NewRecorder()
			none.Clear(recorder)
			assert.Empty(t, recorder.Header())
		}
	}
	server, _ := newServer(t, memstore.New(), func(c *grant.Config) { c.Clients = brokenClients{} })
	_, err := server.RefreshCookie(from, "app")
	assert.ErrorIs(t, err, store.ErrUnavailable)
}
