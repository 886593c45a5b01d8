package grant_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

func TestRevocationEndsOneSession(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		revoke := func(token string) answer {
			return k.post("/revoke", "token="+token)
		}
		for name, choose := range map[string]func(first, second grant.Response) string{
			"access token":              func(_, second grant.Response) string { return second.AccessToken },
			"refresh token":             func(_, second grant.Response) string { return second.RefreshToken },
			"access token, old":         func(first, _ grant.Response) string { return first.AccessToken },
			"refresh token, old":        func(first, _ grant.Response) string { return first.RefreshToken },
			"access token, expired":     func(first, _ grant.Response) string { k.Sleep(time.Hour); return first.AccessToken },
			"with a hint that is wrong": func(first, _ grant.Response) string { return first.AccessToken + "&token_type_hint=refresh_token" },
		} {
			t.Run(name, func(t *testing.T) {
				other := k.login()
				first := k.login()
				second := k.mustToken(refreshForm(first.RefreshToken))
				got := revoke(choose(first, second))
				require.Equal(t, 200, got.status, got.body)
				assertTokenHeaders(t, got)
				assert.Equal(t, "{}", got.body)
				assert.Equal(t, 401, k.get("/protected", first.AccessToken).status)
				assert.Equal(t, 401, k.get("/protected", second.AccessToken).status)
				assert.Equal(t, 400, k.refresh(second.RefreshToken).status)
				assert.Equal(t, 200, k.refresh(other.RefreshToken).status, "another session goes on")
				assert.Equal(t, 200, revoke(second.RefreshToken).status, "twice is as good as once")
			})
		}
		late := k.login()
		k.Sleep(40 * 24 * time.Hour)
		assert.Equal(t, 200, revoke(late.RefreshToken).status, "the session itself has expired")

		good := k.login()
		for _, garbage := range []string{"x", "a.b.c", good.AccessToken[:len(good.AccessToken)-6] + "AAAAAA"} {
			assert.Equal(t, 200, revoke(garbage).status)
		}
		assert.Equal(t, 200, k.get("/protected", good.AccessToken).status)
		for body, status := range map[string]int{"": 400, "token=": 400, "token=a&token=b": 400} {
			assert.Equal(t, status, k.post("/revoke", body).status, body)
		}
		assert.Equal(t, 405, k.send("GET", "/revoke?token=x", "").status)
		assert.Equal(t, 400, k.post("/revoke?token=x", "").status)
	})
}
