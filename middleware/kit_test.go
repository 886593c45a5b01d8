package middleware_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

const (
	issuerURL = "https://login.example.org"
	formType  = "application/x-www-form-urlencoded"
)

// kit is a whole kit with an account, and the token of one of its sessions.
type kit struct {
	*middlewaretest.Kit
	account *store.Account // "ada", in the group "editors"
	token   string         // of the client "app"
}

func newKit(t testing.TB, config middlewaretest.Config) *kit {
	t.Helper()
	k := &kit{Kit: middlewaretest.New(t, config)}
	k.account = k.Account("ada", "editors")
	response, err := k.Server.Issue(t.Context(), k.account.ID, grant.Origin{ClientID: "app"})
	require.NoError(t, err)
	k.token = response.AccessToken
	return k
}

// newAuth makes an authenticator in memory, and the token of an account's session.
func newAuth(t testing.TB, change func(*middleware.Config)) (*middleware.Authenticator, *store.Account, string) {
	t.Helper()
	k := newKit(t, middlewaretest.Config{Middleware: change})
	return k.Auth, k.account, k.token
}

func request(token string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &members), a.body)
	return members
}

// serve starts a server of protected handlers, which answer with the caller and the
// body, and returns a function that makes requests to it. Headers are pairs of name
// and value, added one by one.
func (k *kit) serve(t *testing.T) (send func(method, path, body string, headers ...string) answer) {
	t.Helper()
	caller := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, known := middleware.AccountID(r.Context())
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		fmt.Fprint(w, known, " ", id.Hex(), " ", string(body))
	})
	mux := http.NewServeMux()
	mux.Handle("/protected", k.Auth.Require(caller))
	mux.Handle("/optional", k.Auth.Optional(caller))
	mux.Handle("/editors", k.Auth.RequireGroup("editors")(caller))
	mux.Handle("/admins", k.Auth.RequireGroup("admin")(caller))
	mux.Handle("/nested", k.Auth.Require(k.Auth.RequireGroup("editors")(caller)))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return func(method, path, body string, headers ...string) answer {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		for i := 0; i+1 < len(headers); i += 2 {
			request.Header.Add(headers[i], headers[i+1])
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return answer{response.StatusCode, response.Header, string(text)}
	}
}
