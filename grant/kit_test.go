package grant_test

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
	"github.com/oauthsv/oauthsv/tokens"
)

const (
	issuerURL = "https://login.example.org"
	audience  = "https://api.example.org"
	formType  = "application/x-www-form-urlencoded"
)

// newServer makes a server over a backend with an account "ada". Its events go to
// the log, as they do by default.
func newServer(t testing.TB, backend store.Backend, change func(*grant.Config)) (*grant.Server, *store.Account) {
	t.Helper()
	k := middlewaretest.New(t, middlewaretest.Config{Backend: backend, Grant: func(c *grant.Config) {
		c.Event = nil
		if change != nil {
			change(c)
		}
	}})
	return k.Server, k.Account("ada")
}

// kit is a whole kit behind an HTTP server.
type kit struct {
	*middlewaretest.Kit
	t       *testing.T
	url     string
	account *store.Account // "ada", in the group "editors"

	transport http.RoundTripper
}

func newKit(t *testing.T, config middlewaretest.Config) *kit {
	t.Helper()
	config.Tokens = func(c *tokens.IssuerConfig) { c.Audience = audience }
	k := &kit{Kit: middlewaretest.New(t, config), t: t, transport: http.DefaultTransport}
	k.account = k.Account("Ada", "editors")
	mux := http.NewServeMux()
	k.Server.Mount(mux)
	mux.Handle("/protected", k.Auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, middleware.MustAccountID(r.Context()).Hex())
	})))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	k.url = web.URL
	return k
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

// send makes a request; headers are pairs of name and value, added one by one.
func (k *kit) send(method, path, body string, headers ...string) answer {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, strings.NewReader(body))
	require.NoError(k.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := k.transport.RoundTrip(request)
	require.NoError(k.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(k.t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

// post sends a form.
func (k *kit) post(path, form string, headers ...string) answer {
	k.t.Helper()
	return k.send("POST", path, form, append(headers, "Content-Type", formType)...)
}

func (k *kit) token(form string, headers ...string) answer {
	k.t.Helper()
	return k.post("/token", form, headers...)
}

var passwordForm = loginForm("ada")

// loginForm logs in with the right password.
func loginForm(username string) string {
	return "grant_type=password&username=" + username + "&password=" + middlewaretest.Password
}

func refreshForm(refreshToken string) string {
	return "grant_type=refresh_token&refresh_token=" + refreshToken
}

func (k *kit) login() grant.Response { k.t.Helper(); return k.mustToken(passwordForm) }

func (k *kit) refresh(refreshToken string) answer {
	k.t.Helper()
	return k.token(refreshForm(refreshToken))
}

func (k *kit) mustToken(form string) (response grant.Response) {
	k.t.Helper()
	got := k.token(form)
	require.Equal(k.t, 200, got.status, got.body)
	require.NoError(k.t, json.Unmarshal([]byte(got.body), &response))
	return response
}

// get calls the protected handler.
func (k *kit) get(path, token string) answer {
	k.t.Helper()
	return k.send("GET", path, "", "Authorization", "Bearer "+token)
}

func assertTokenHeaders(t *testing.T, got answer) {
	t.Helper()
	assert.Equal(t, "application/json;charset=utf-8", strings.ToLower(strings.ReplaceAll(got.header.Get("Content-Type"), " ", "")))
	assert.Equal(t, "no-store", got.header.Get("Cache-Control"))
	assert.Equal(t, "no-cache", got.header.Get("Pragma"))
	for name := range got.header {
		assert.False(t, strings.HasPrefix(name, "Access-Control-"), "CORS is for a middleware around the handler")
	}
}
