package grant_test

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestClientsMustAuthenticate(t *testing.T) {
	secret, hash := grant.NewClientSecret()
	oddSecret := "p%:+ " + secret
	oddHash, err := grant.HashClientSecret(oddSecret)
	require.NoError(t, err)
	clients, err := grant.NewClients(
		grant.Client{ID: "app", AccessTTL: time.Minute, RefreshTTL: time.Hour, SessionTTL: 90 * time.Minute},
		grant.Client{ID: "web", SecretHash: hash},
		grant.Client{ID: "odd id:+", SecretHash: oddHash},
		grant.Client{ID: "login-only", Grants: []string{grant.GrantPassword}},
		grant.Client{ID: "api", SecretHash: hash, Grants: []string{}, MayIntrospect: true},
		grant.Client{ID: "other-api", SecretHash: hash, MayIntrospect: true, Audience: "https://other.example.org"},
	)
	require.NoError(t, err)
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend, Grant: func(c *grant.Config) { c.Clients = clients }})
		basic := func(id, secret string) []string {
			request := httptest.NewRequest("POST", "/", nil)
			request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
			return []string{"Authorization", request.Header.Get("Authorization")}
		}
		for name, test := range map[string]struct {
			form    string
			headers []string
			status  int
			code    string
		}{
			"public":                  {form: "&client_id=app", status: 200},
			"public, empty secret":    {form: "&client_id=app&client_secret=", status: 200},
			"public in the header":    {headers: basic("app", ""), status: 200},
			"public with a secret":    {form: "&client_id=app&client_secret=x", status: 401, code: "invalid_client"},
			"nobody":                  {status: 401, code: "invalid_client"},
			"unknown":                 {form: "&client_id=who", status: 401, code: "invalid_client"},
			"unknown in the header":   {headers: basic("who", "x"), status: 401, code: "invalid_client"},
			"confidential, header":    {headers: basic("web", secret), status: 200},
			"confidential, body":      {form: "&client_id=web&client_secret=" + secret, status: 200},
			"both, the same":          {form: "&client_id=web&client_secret=" + secret, headers: basic("web", secret), status: 400, code: "invalid_request"},
			"scheme in lower case":    {headers: []string{"Authorization", "basic" + strings.TrimPrefix(basic("web", secret)[1], "Basic")}, status: 200},
			"id also in the body":     {form: "&client_id=web", headers: basic("web", secret), status: 200},
			"form-urlencoded halves":  {headers: basic("odd id:+", oddSecret), status: 200},
			"confidential, no secret": {form: "&client_id=web", status: 401, code: "invalid_client"},
			"wrong secret, header":    {headers: basic("web", secret+"x"), status: 401, code: "invalid_client"},
			"wrong secret, body":      {form: "&client_id=web&client_secret=x", status: 401, code: "invalid_client"},
			"grant not allowed":       {headers: basic("api", secret), status: 400, code: "unauthorized_client"},
		} {
			t.Run(name, func(t *testing.T) {
				got := k.token(passwordForm+test.form, test.headers...)
				require.Equal(t, test.status, got.status, got.body)
				assertTokenHeaders(t, got)
				if test.status != 200 {
					assert.Equal(t, test.code, got.json(t)["error"])
				}
				challenge := got.header.Get("WWW-Authenticate")
				assert.Equal(t, test.status == 401 && test.headers != nil, strings.HasPrefix(challenge, "Basic "), challenge)
			})
		}

		ours := k.mustToken(passwordForm + "&client_id=app")
		assert.Equal(t, int64(60), ours.ExpiresIn)
		assert.Equal(t, "invalid_grant", k.token(refreshForm(ours.RefreshToken), basic("web", secret)...).json(t)["error"])
		assert.Equal(t, "invalid_client", k.token(refreshForm(ours.RefreshToken)).json(t)["error"])
		assert.Equal(t, "unauthorized_client", k.token(refreshForm(ours.RefreshToken) + "&client_id=login-only").json(t)["error"])
		k.Sleep(59 * time.Minute)
		ours = k.mustToken(refreshForm(ours.RefreshToken) + "&client_id=app")
		k.Sleep(30*time.Minute + 50*time.Second)
		last := k.mustToken(refreshForm(ours.RefreshToken) + "&client_id=app")
		assert.Equal(t, int64(10), last.ExpiresIn, "the session of this client ends after 90 minutes")

		revoke := func(form string, headers ...string) answer {
			return k.post("/revoke", form, headers...)
		}
		got := revoke("token="+last.AccessToken, basic("web", secret)...)
		assert.Equal(t, 400, got.status)
		assert.Equal(t, "invalid_grant", got.json(t)["error"])
		for _, nobody := range []string{"&client_id=who", "&client_id=web", "&client_id=web&client_secret=x", "&client_id=app&client_secret=x", ""} {
			assert.Equal(t, 401, revoke("token="+last.AccessToken+nobody).status, nobody)
		}
		assert.Equal(t, 200, k.get("/protected", last.AccessToken).status)
		assert.Equal(t, 200, revoke("token=garbage&client_id=app").status)
		assert.Equal(t, 200, revoke("token="+last.AccessToken+"&client_id=app").status)
		assert.Equal(t, 401, k.get("/protected", last.AccessToken).status)

		fresh := k.mustToken(passwordForm + "&client_id=app")
		ask := func(headers ...string) answer {
			return k.post("/introspect", "token="+fresh.AccessToken, headers...)
		}
		assert.Contains(t, ask(basic("api", secret)...).body, `"active":true`)
		assert.Equal(t, `{"active":false}`, ask(basic("other-api", secret)...).body, "tokens of another audience")
		assert.Equal(t, 401, ask(basic("web", secret)...).status)
		assert.Contains(t, ask(basic("web", secret)...).body, "the caller may not introspect")
		assert.Equal(t, 401, ask(basic("api", "x")...).status)
	})
}

// ownRegistry checks nothing, unlike NewClients.
type ownRegistry map[string]*grant.Client

func (r ownRegistry) FindClient(_ context.Context, id string) (*grant.Client, error) {
	return r[id], nil
}

// TestPublicClientMayNotIntrospect: whoever knows a client_id is not yet the client.
func TestPublicClientMayNotIntrospect(t *testing.T) {
	secret, hash := grant.NewClientSecret()
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) {
		c.MayIntrospect = nil
		c.Clients = ownRegistry{"public": {ID: "public", MayIntrospect: true}, "api": {ID: "api", SecretHash: hash, MayIntrospect: true}}
	}})
	token := k.mustToken(passwordForm + "&client_id=public").AccessToken
	for sender, status := range map[string]int{
		"client_id=public":                      401,
		"client_id=public&client_secret=":       401,
		"client_id=public&client_secret=x":      401,
		"client_id=api":                         401,
		"client_id=api&client_secret=" + secret: 200,
	} {
		assert.Equal(t, status, k.post("/introspect", "token="+token+"&"+sender).status, sender)
	}
}

// TestClientWithoutAnIDIsNotEveryClient: a registry may have one for requests that name none.
func TestClientWithoutAnIDIsNotEveryClient(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) { c.Clients = ownRegistry{"": {}, "app": {ID: "app"}} }})
	ofApp := k.mustToken(passwordForm + "&client_id=app").RefreshToken
	got := k.refresh(ofApp)
	assert.Equal(t, []any{400, "invalid_grant"}, []any{got.status, got.json(t)["error"]})
	assert.Equal(t, 200, k.token(refreshForm(ofApp)+"&client_id=app").status)
	assert.Equal(t, 200, k.refresh(k.login().RefreshToken).status)
}

// TestIntrospectionNeedsCredentials: of a client or of a caller with an access token. A refusal
// says which kinds there are (RFC 9110 section 15.5.2).
func TestIntrospectionNeedsCredentials(t *testing.T) {
	secret, hash := grant.NewClientSecret()
	clients, err := grant.NewClients(grant.Client{ID: "app"}, grant.Client{ID: "api", SecretHash: hash, MayIntrospect: true})
	require.NoError(t, err)
	const basic, bearer = "Basic", "Bearer"
	for name, test := range map[string]struct {
		change func(*grant.Config)
		status map[string]int // of each kind of credentials
		kinds  []string
	}{
		"clients and callers": {func(c *grant.Config) { c.Clients = clients }, map[string]int{"token": 200, "secret": 200}, []string{bearer, basic}},
		"clients":             {func(c *grant.Config) { c.Clients, c.MayIntrospect = clients, nil }, map[string]int{"secret": 200}, []string{basic}},
		"callers":             {nil, map[string]int{"token": 200}, []string{bearer}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, middlewaretest.Config{Grant: test.change})
			ofApp := func(id store.ID) string {
				response, err := k.Server.Issue(t.Context(), id, grant.Origin{ClientID: "app"})
				require.NoError(t, err)
				return response.AccessToken
			}
			token, asker := ofApp(k.account.ID), ofApp(k.Account("server", "introspect").ID)
			for kind, sent := range map[string]struct {
				form   string
				header []string
			}{
				"nothing": {}, "a public client": {form: "&client_id=app"}, "a client without its secret": {form: "&client_id=api"},
				"wrong secret": {form: "&client_id=api&client_secret=x"}, "secret": {form: "&client_id=api&client_secret=" + secret},
				"another token": {header: []string{"Authorization", "Bearer " + token}}, "token": {header: []string{"Authorization", "Bearer " + asker}},
			} {
				got := k.post("/introspect", "token="+token+sent.form, sent.header...)
				assert.Equal(t, cmp.Or(test.status[kind], 401), got.status, "%s: %s", kind, got.body)
				if got.status == 200 {
					assert.Contains(t, got.body, `"active":true`, kind)
					continue
				}
				assert.Contains(t, []any{"the caller may not introspect", "client authentication failed: client_id is missing or unknown, or the secret is wrong"}, got.json(t)["error_description"], kind)
				want := test.kinds
				if strings.Contains(sent.form, "secret=") && slices.Contains(want, basic) {
					want = []string{basic} // it is a client
				}
				var kinds []string
				for _, challenge := range got.header["Www-Authenticate"] {
					kinds = append(kinds, strings.Fields(challenge)[0])
				}
				assert.Equal(t, want, kinds, kind)
			}
		})
	}
	closed, _ := newServer(t, memstore.New(), func(c *grant.Config) { c.MayIntrospect = nil })
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest("POST", "/introspect", strings.NewReader("token=x")) // somebody has mounted it all the same
	request.Header.Set("Content-Type", formType)
	closed.IntrospectionHandler().ServeHTTP(recorder, request)
	assert.Equal(t, 401, recorder.Code)
	assert.Contains(t, recorder.Header().Get("WWW-Authenticate"), basic)
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) { c.Clients, c.MayIntrospect = brokenClients{}, nil }})
	got := k.post("/introspect", "token=x&client_id=api&client_secret=x")
	assert.Equal(t, 503, got.status)
	assert.Empty(t, got.header["Www-Authenticate"], "an outage asks for no other credentials")
	got = k.token(passwordForm, "Authorization", "Basic YXBpOng=")
	assert.Equal(t, 503, got.status)
	assert.Empty(t, got.header["Www-Authenticate"])
}

func TestClientIDIsRecorded(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	for sent, want := range map[string]string{
		"&client_id=app":                         "app",
		"":                                       "default",
		"&client_id=+~":                          " ~",
		"&client_id=" + strings.Repeat("x", 256): strings.Repeat("x", 256),
		"&client_id=%00":                         "default",
		"&client_id=" + strings.Repeat("x", 257): "default",
		"&client_id=" + url.QueryEscape("a b\u00e9"): "default",
	} {
		response := k.mustToken(passwordForm + sent)
		parsed, err := k.Issuer.VerifyRefresh(response.RefreshToken)
		require.NoError(t, err)
		assert.Equal(t, want, parsed.ClientID)
	}
	got := k.token(passwordForm, "Authorization", "Basic "+"YSUyMGI6") // "a%20b:"
	require.Equal(t, 200, got.status)
	parsed, err := k.Issuer.VerifyRefresh(got.json(t)["refresh_token"].(string))
	require.NoError(t, err)
	assert.Equal(t, "a b", parsed.ClientID)
}

// countingClients counts what may be look-ups in a database.
type countingClients struct {
	grant.ClientRegistry
	count int
}

func (c *countingClients) FindClient(ctx context.Context, id string) (*grant.Client, error) {
	c.count++
	return c.ClientRegistry.FindClient(ctx, id)
}

func TestClientIsLookedUpOnce(t *testing.T) {
	fixed, err := grant.NewClients(grant.Client{ID: "app"})
	require.NoError(t, err)
	clients := &countingClients{ClientRegistry: fixed}
	server, _ := newServer(t, memstore.New(), func(c *grant.Config) { c.Clients = clients })
	web := httptest.NewServer(server.TokenHandler())
	defer web.Close()
	response, err := http.PostForm(web.URL, url.Values{
		"grant_type": {"password"}, "username": {"ada"}, "password": {middlewaretest.Password}, "client_id": {"app"},
	})
	require.NoError(t, err)
	response.Body.Close()
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, 1, clients.count)
}

// nilRegistry knows no client, and says so in its own way.
type nilRegistry struct{}

func (nilRegistry) FindClient(context.Context, string) (*grant.Client, error) { return nil, nil }

func TestNilClientIsNoClient(t *testing.T) {
	server, account := newServer(t, memstore.New(), func(c *grant.Config) { c.Clients = nilRegistry{} })
	var failure *grant.Error
	_, err := server.Password(t.Context(), grant.PasswordRequest{Username: "ada", Password: middlewaretest.Password, Origin: grant.Origin{ClientID: "x"}})
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, grant.CodeInvalidClient, failure.Code)
	_, err = server.Issue(t.Context(), account.ID, grant.Origin{ClientID: "x"})
	assert.ErrorIs(t, err, grant.ErrNoClient)
	for _, endpoint := range server.Endpoints()[:2] {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequest("POST", "/", strings.NewReader(passwordForm+"&client_id=x&token=y"))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		endpoint.Handler.ServeHTTP(recorder, request)
		assert.Equal(t, 401, recorder.Code, endpoint.Path)
		assert.Contains(t, recorder.Body.String(), "invalid_client")
	}
}
