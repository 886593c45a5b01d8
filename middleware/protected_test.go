package middleware_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

func TestCredentialsDecideTheAnswer(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{
			Backend:    backend,
			Tokens:     func(c *tokens.IssuerConfig) { c.Audience = "https://api.example.org" },
			Middleware: func(c *middleware.Config) { c.Realm = "test" },
		})
		send := k.serve(t)
		good := k.Token(k.account)
		gone := func(end func(id store.ID, session string) error) string {
			name := fmt.Sprintf("gone-%d", time.Now().UnixNano())
			account := k.Account(name)
			response := k.Token(account)
			require.NoError(t, end(account.ID, response.SessionID))
			return response.AccessToken
		}
		foreign, err := k.Issuer.SignAccess(tokens.Claims{Subject: "no-id", ClientID: "c", SessionID: "s", Generation: 1, Expiry: k.Now().Add(time.Hour)})
		require.NoError(t, err)
		const none, invalidRequest, invalidToken, scope = "", "invalid_request", "invalid_token", "insufficient_scope"

		for name, test := range map[string]struct {
			path    string
			headers []string
			status  int
			code    string
		}{
			"good":                  {"/protected", []string{"Authorization", "Bearer " + good.AccessToken}, 200, none},
			"scheme in lower case":  {"/protected", []string{"Authorization", "bearer " + good.AccessToken}, 200, none},
			"scheme in capitals":    {"/protected", []string{"Authorization", "BEARER " + good.AccessToken}, 200, none},
			"more spaces":           {"/protected", []string{"Authorization", "Bearer    " + good.AccessToken}, 200, none},
			"in the group":          {"/editors", []string{"Authorization", "Bearer " + good.AccessToken}, 200, none},
			"group inside Require":  {"/nested", []string{"Authorization", "Bearer " + good.AccessToken}, 200, none},
			"optional, good":        {"/optional", []string{"Authorization", "Bearer " + good.AccessToken}, 200, none},
			"optional, none":        {"/optional", nil, 200, none},
			"optional, other":       {"/optional", []string{"Authorization", "Basic YTpi"}, 200, none},
			"no credentials":        {"/protected", nil, 401, none},
			"no credentials, group": {"/admins", nil, 401, none},
			"another scheme":        {"/protected", []string{"Authorization", "Basic YTpi"}, 401, none},
			"a longer scheme":       {"/protected", []string{"Authorization", "BearerX abc"}, 401, none},
			"token in the query":    {"/protected?access_token=" + good.AccessToken, nil, 401, none},
			"token in a cookie":     {"/protected", []string{"Cookie", "access_token=" + good.AccessToken}, 401, none},
			"no token":              {"/protected", []string{"Authorization", "Bearer"}, 400, invalidRequest},
			"tab after the space":   {"/protected", []string{"Authorization", "Bearer \t" + good.AccessToken}, 400, invalidRequest},
			"tab":                   {"/protected", []string{"Authorization", "Bearer\t" + good.AccessToken}, 400, invalidRequest},
			"comma":                 {"/protected", []string{"Authorization", "Bearer " + good.AccessToken + ", Basic YTpi"}, 400, invalidRequest},
			"two words":             {"/protected", []string{"Authorization", "Bearer a b"}, 400, invalidRequest},
			"quoted":                {"/protected", []string{"Authorization", `Bearer "abc"`}, 400, invalidRequest},
			"only padding":          {"/protected", []string{"Authorization", "Bearer =="}, 400, invalidRequest},
			"padding inside":        {"/protected", []string{"Authorization", "Bearer a=b"}, 400, invalidRequest},
			"too long":              {"/protected", []string{"Authorization", "Bearer " + strings.Repeat("a", 8193)}, 400, invalidRequest},
			"twice":                 {"/protected", []string{"Authorization", "Bearer " + good.AccessToken, "Authorization", "Bearer " + good.AccessToken}, 400, invalidRequest},
			"two schemes":           {"/protected", []string{"Authorization", "Bearer " + good.AccessToken, "Authorization", "Basic YTpi"}, 400, invalidRequest},
			"optional, malformed":   {"/optional", []string{"Authorization", "Bearer a b"}, 400, invalidRequest},
			"every character":       {"/protected", []string{"Authorization", "Bearer azAZ09-._~+/="}, 401, invalidToken},
			"no JWT":                {"/protected", []string{"Authorization", "Bearer abc"}, 401, invalidToken},
			"longest":               {"/protected", []string{"Authorization", "Bearer " + strings.Repeat("a", 8192)}, 401, invalidToken},
			"flipped":               {"/protected", []string{"Authorization", "Bearer " + good.AccessToken[:len(good.AccessToken)-8] + "AAAAAAAA"}, 401, invalidToken},
			"padded":                {"/protected", []string{"Authorization", "Bearer " + good.AccessToken + "=="}, 401, invalidToken},
			"refresh token":         {"/protected", []string{"Authorization", "Bearer " + good.RefreshToken}, 401, invalidToken},
			"subject is no id":      {"/protected", []string{"Authorization", "Bearer " + foreign}, 401, invalidToken},
			"optional, bad":         {"/optional", []string{"Authorization", "Bearer abc"}, 401, invalidToken},
			"revoked session": {"/protected", []string{"Authorization", "Bearer " + gone(func(id store.ID, session string) error {
				return k.Accounts.EndSession(t.Context(), id, session)
			})}, 401, invalidToken},
			"account disabled": {"/protected", []string{"Authorization", "Bearer " + gone(func(id store.ID, _ string) error {
				return k.Accounts.Disable(t.Context(), id)
			})}, 401, invalidToken},
			"account gone": {"/protected", []string{"Authorization", "Bearer " + gone(func(id store.ID, _ string) error {
				return k.Accounts.Remove(t.Context(), id)
			})}, 401, invalidToken},
			"not in the group": {"/admins", []string{"Authorization", "Bearer " + good.AccessToken}, 403, scope},
		} {
			t.Run(name, func(t *testing.T) {
				got := send("GET", test.path, "", test.headers...)
				require.Equal(t, test.status, got.status, got.body)
				challenge := got.header.Get("WWW-Authenticate")
				if test.status == 200 {
					known := strings.Contains(strings.Join(test.headers, " "), good.AccessToken)
					assert.Equal(t, known, strings.HasPrefix(got.body, "true "+k.account.ID.Hex()))
					assert.Empty(t, challenge)
					return
				}
				assert.True(t, strings.HasPrefix(challenge, `Bearer realm="test"`), challenge)
				assert.Equal(t, "application/json;charset=UTF-8", got.header.Get("Content-Type"))
				assert.Empty(t, got.header.Get("Access-Control-Allow-Origin"), "CORS is for a middleware around this one")
				members := got.json(t)
				if test.code == none {
					assert.Equal(t, `Bearer realm="test"`, challenge)
					assert.Empty(t, members)
					return
				}
				assert.Contains(t, challenge, `, error="`+test.code+`"`)
				assert.Equal(t, test.code, members["error"])
				assert.Contains(t, challenge, `, error_description="`+members["error_description"].(string)+`"`)
			})
		}
	})
}

func TestGroupsAreReadFromTheStore(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		k.Account("root", "admin") // the last administrator could not be taken out
		send := k.serve(t)
		status := func() int { return send("GET", "/admins", "", "Authorization", "Bearer "+k.token).status }
		assert.Equal(t, 403, status())
		require.NoError(t, k.Accounts.AddToGroup(t.Context(), k.account.ID, "admin"))
		assert.Equal(t, 200, status(), "with the next request, the token being the same")
		require.NoError(t, k.Accounts.RemoveFromGroup(t.Context(), k.account.ID, "admin"))
		assert.Equal(t, 403, status())
	})
}
