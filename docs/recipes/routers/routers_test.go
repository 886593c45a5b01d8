package routers

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// site is a router with the kit in it, behind a real server.
type site struct {
	*middlewaretest.Kit
	t   *testing.T
	url string
}

// eachRouter runs a test once with each router, each time with a kit of its own.
func eachRouter(t *testing.T, test func(t *testing.T, s *site)) {
	gin.SetMode(gin.TestMode) // it would print its routes otherwise
	for name, router := range map[string]func(*kit) http.Handler{
		"standard": newStandard, "chi": newChi, "gorilla": newGorilla, "gin": newGin, "echo": newEcho, "echo v4": newEcho4,
	} {
		t.Run(name, func(t *testing.T) {
			k := middlewaretest.New(t, middlewaretest.Config{})
			account, err := selfservice.New(selfservice.Config{Server: k.Server, Auth: k.Auth})
			require.NoError(t, err)
			administration, err := admin.New(admin.Config{Server: k.Server, Auth: k.Auth})
			require.NoError(t, err)
			web := httptest.NewServer(router(&kit{server: k.Server, auth: k.Auth, account: account, admin: administration}))
			t.Cleanup(web.Close)
			test(t, &site{k, t, web.URL})
		})
	}
}

// ask sends a request with an access token, if it is not empty.
func (s *site) ask(method, path, token string) (response *http.Response, body string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	require.NoError(s.t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err = http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response, string(data)
}

func (s *site) status(method, path, token string) int {
	s.t.Helper()
	response, _ := s.ask(method, path, token)
	return response.StatusCode
}

func TestEndpointsAnswer(t *testing.T) {
	eachRouter(t, func(t *testing.T, s *site) {
		s.Account("ada")
		form := url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {middlewaretest.Password}}
		response, err := http.PostForm(s.url+"/token", form)
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, 200, response.StatusCode)
		var answer grant.Response
		require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))

		for _, method := range []string{"GET", "PUT", "OPTIONS"} {
			response, _ = s.ask(method, "/token", "")
			assert.Equal(t, 405, response.StatusCode, method)
			assert.Equal(t, "POST", response.Header.Get("Allow"), method)
		}
		for path, want := range map[string]string{
			"/.well-known/oauth-authorization-server": `"token_endpoint"`, "/.well-known/jwks.json": `"keys"`,
		} {
			response, body := s.ask("GET", path, "")
			assert.Equal(t, 200, response.StatusCode)
			assert.Contains(t, body, want)
		}
		response, body := s.ask("GET", "/me", answer.AccessToken)
		assert.Equal(t, 200, response.StatusCode)
		assert.Contains(t, body, `"ada"`)
		assert.Equal(t, 404, s.status("GET", "/nothing", answer.AccessToken))
	})
}

func TestRouteSeesItsCaller(t *testing.T) {
	eachRouter(t, func(t *testing.T, s *site) {
		ada := s.Account("ada")
		response, body := s.ask("GET", "/orders", s.Token(ada).AccessToken)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, "the orders of "+ada.ID.Hex(), body)

		// The body says that the handler behind has not run.
		response, body = s.ask("GET", "/orders", "")
		assert.Equal(t, 401, response.StatusCode)
		assert.Equal(t, `Bearer realm="api"`, response.Header.Get("WWW-Authenticate"))
		assert.NotContains(t, body, "orders of")
		response, body = s.ask("GET", "/orders", "no-token")
		assert.Equal(t, 401, response.StatusCode)
		assert.Contains(t, response.Header.Get("WWW-Authenticate"), "invalid_token")
		assert.NotContains(t, body, "orders of")
	})
}

func TestGroupOfRoutesIsForAGroup(t *testing.T) {
	eachRouter(t, func(t *testing.T, s *site) {
		ada, grace := s.Account("ada", "staff"), s.Account("grace")
		response, body := s.ask("GET", "/reports/daily", s.Token(ada).AccessToken)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, "the orders of "+ada.ID.Hex(), body)
		response, body = s.ask("GET", "/reports/daily", s.Token(grace).AccessToken)
		assert.Equal(t, 403, response.StatusCode)
		assert.Contains(t, response.Header.Get("WWW-Authenticate"), "insufficient_scope")
		assert.NotContains(t, body, "orders of")
		assert.Equal(t, 401, s.status("GET", "/reports/daily", ""))
	})
}

// TestPathValuesArrive: the handlers of the kit see what stands in the path.
func TestPathValuesArrive(t *testing.T) {
	eachRouter(t, func(t *testing.T, s *site) {
		ada, root := s.Account("ada"), s.Account("root", "admin")
		phone, laptop, byRoot := s.Token(ada), s.Token(ada), s.Token(root).AccessToken

		assert.Equal(t, 204, s.status("DELETE", "/me/sessions/"+phone.SessionID, laptop.AccessToken))
		assert.Equal(t, 401, s.status("GET", "/orders", phone.AccessToken), "its session has ended")
		assert.Equal(t, 200, s.status("GET", "/orders", laptop.AccessToken))
		assert.Equal(t, 404, s.status("DELETE", "/me/sessions/"+phone.SessionID, laptop.AccessToken))

		assert.Equal(t, 204, s.status("DELETE", "/me/sessions?others=true", laptop.AccessToken), "not what GET answers")

		account := "/admin/accounts/" + ada.ID.Hex()
		response, body := s.ask("GET", account+"/sessions", byRoot)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, 1, strings.Count(body, `"id"`))
		assert.Contains(t, body, laptop.SessionID)
		assert.Equal(t, 204, s.status("PUT", account+"/groups/staff", byRoot))
		assert.Equal(t, 200, s.status("GET", "/reports/daily", laptop.AccessToken), "it is in the group now")
		assert.Equal(t, 204, s.status("DELETE", account+"/sessions/"+laptop.SessionID, byRoot))
		assert.Equal(t, 401, s.status("GET", "/orders", laptop.AccessToken))
		assert.Equal(t, 404, s.status("DELETE", account+"/sessions/"+laptop.SessionID, byRoot))
	})
}

// TestGinContextHasNoCaller: so a handler asks the context of the request.
func TestGinContextHasNoCaller(t *testing.T) {
	gin.SetMode(gin.TestMode)
	k := middlewaretest.New(t, middlewaretest.Config{})
	router, ran := gin.New(), false
	router.GET("/", ginMiddleware(k.Auth.Require), func(c *gin.Context) {
		ran = true
		_, found := middleware.AccountID(c)
		assert.False(t, found)
		_, found = middleware.AccountID(c.Request.Context())
		assert.True(t, found)
	})
	router.ServeHTTP(httptest.NewRecorder(), k.Request("GET", "/", k.Account("ada")))
	assert.True(t, ran)
}
