package grant_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

func TestIntrospectionAnswersWhoMayAsk(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		server := k.Account("server", "introspect")
		ask := func(token string, headers ...string) answer {
			if len(headers) == 0 {
				headers = []string{"Authorization", "Bearer " + k.Token(server).AccessToken}
			}
			return k.post("/introspect", "token="+token, headers...)
		}
		tokens := k.mustToken(passwordForm + "&client_id=app")
		got := ask(tokens.AccessToken)
		require.Equal(t, 200, got.status, got.body)
		assertTokenHeaders(t, got)
		members := got.json(t)
		assert.NotEmpty(t, members["jti"])
		assert.NotEmpty(t, members["sid"])
		delete(members, "jti")
		delete(members, "sid")
		assert.Equal(t, map[string]any{
			"active": true, "token_type": "Bearer", "client_id": "app", "username": "ada", "sub": k.account.ID.Hex(),
			"iss": issuerURL, "aud": []any{audience}, "iat": float64(k.Now().Unix()), "exp": float64(k.Now().Unix() + 900),
			"groups": []any{"editors"},
		}, members)

		for name, token := range map[string]string{"refresh token": tokens.RefreshToken, "garbage": "x"} {
			got := ask(token)
			assert.Equal(t, 200, got.status, name)
			assert.Equal(t, `{"active":false}`, got.body, name)
		}
		// It counts as use: the token before is reuse afterwards.
		second := k.mustToken(refreshForm(tokens.RefreshToken))
		ask(second.AccessToken)
		k.Sleep(time.Minute)
		assert.Equal(t, 400, k.refresh(tokens.RefreshToken).status)
		assert.Equal(t, `{"active":false}`, ask(second.AccessToken).body, "the session has ended")

		expired := k.login()
		k.Sleep(15 * time.Minute)
		assert.Equal(t, `{"active":false}`, ask(expired.AccessToken).body)
		disabled := k.login()
		require.NoError(t, k.Accounts.Disable(t.Context(), k.account.ID))
		assert.Equal(t, `{"active":false}`, ask(disabled.AccessToken).body)

		require.NoError(t, k.Accounts.Enable(t.Context(), k.account.ID))
		caller := k.login()
		const bearer = `Bearer realm="introspection endpoint"`
		for name, test := range map[string]struct{ header, value, code, challenge string }{
			"nobody":           {"X", "y", "invalid_client", bearer},
			"not in the group": {"Authorization", "Bearer " + caller.AccessToken, "invalid_client", bearer},
			"bad token":        {"Authorization", "Bearer x", "invalid_token", bearer + `, error="invalid_token"`},
			"malformed":        {"Authorization", "Bearer x y", "invalid_token", bearer + `, error="invalid_token"`},
			"refresh token":    {"Authorization", "Bearer " + caller.RefreshToken, "invalid_token", bearer + `, error="invalid_token"`},
			"unknown client":   {"Authorization", "Basic YTpi", "invalid_client", bearer},
		} {
			got := ask(caller.AccessToken, test.header, test.value)
			assert.Equal(t, 401, got.status, name)
			assert.Equal(t, []string{test.challenge}, got.header["Www-Authenticate"], name)
			assert.Equal(t, test.code, got.json(t)["error"], name)
			assert.NotContains(t, got.body, "active", name)
			if test.code == "invalid_client" {
				assert.Equal(t, "the caller may not introspect", got.json(t)["error_description"], name)
			}
		}
		assert.Equal(t, 400, ask("").status)
		assert.Equal(t, 405, k.send("GET", "/introspect?token=x", "").status)
		assert.Equal(t, 400, k.post("/introspect?token=x", "").status)
	})
}

// FuzzIntrospection asks in every way. Whoever may not ask learns nothing.
func FuzzIntrospection(f *testing.F) {
	k := middlewaretest.New(f, middlewaretest.Config{})
	handler := k.Server.IntrospectionHandler()
	good := k.Token(k.Account("ada"))
	asker := k.Token(k.Account("server", "introspect"))
	f.Add("token="+good.AccessToken, "Bearer "+asker.AccessToken)
	f.Add("token="+good.RefreshToken, "Bearer "+asker.AccessToken)
	f.Add("token="+good.AccessToken, "Bearer "+good.AccessToken)
	f.Add("token=x&token=y", "Basic YTpi")
	f.Fuzz(func(t *testing.T, body, authorization string) {
		request := httptest.NewRequest("POST", "/introspect", strings.NewReader(body))
		request.Header.Set("Content-Type", formType)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		require.Contains(t, []int{200, 400, 401, 413}, recorder.Code)
		if recorder.Code != 200 {
			require.NotContains(t, recorder.Body.String(), "active")
			return
		}
		require.True(t, strings.Contains(authorization, asker.AccessToken), authorization)
		require.Equal(t, strings.Contains(recorder.Body.String(), `"active":true`), strings.Contains(recorder.Body.String(), "username"))
	})
}
