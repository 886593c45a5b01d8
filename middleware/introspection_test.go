package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// authority is an issuer in another process, as far as a resource server sees it.
// Its clock goes by itself, as that of another process does.
type authority struct {
	*httptest.Server
	kit     *middlewaretest.Kit
	account *store.Account
	asked   atomic.Int64
	broken  atomic.Pointer[http.HandlerFunc]
	secret  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	secret, hash := grant.NewClientSecret()
	clients, err := grant.NewClients(grant.Client{ID: "app"}, grant.Client{ID: "a p&i", SecretHash: hash, MayIntrospect: true})
	require.NoError(t, err)
	a := &authority{secret: secret}
	a.kit = middlewaretest.New(t, middlewaretest.Config{Now: time.Now, Grant: func(c *grant.Config) { c.Clients = clients }})
	a.account = a.kit.Account("ada", "editors")
	endpoint := a.kit.Server.IntrospectionHandler()
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		if broken := a.broken.Load(); broken != nil {
			(*broken)(w, r)
			return
		}
		endpoint.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *authority) issue(t *testing.T, id store.ID) *grant.Response {
	t.Helper()
	response, err := a.kit.Server.Issue(t.Context(), id, grant.Origin{ClientID: "app"})
	require.NoError(t, err)
	return response
}

// resourceServer is the middleware of another process.
func (a *authority) resourceServer(t *testing.T, change func(*middleware.IntrospectionConfig)) *middleware.Authenticator {
	t.Helper()
	config := middleware.IntrospectionConfig{URL: a.URL, ClientID: "a p&i", ClientSecret: a.secret}
	if change != nil {
		change(&config)
	}
	introspection, err := middleware.NewIntrospection(config)
	require.NoError(t, err)
	auth, err := middleware.New(middleware.Config{Verifier: introspection, Accounts: introspection, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return auth
}

func statusOf(protect func(http.Handler) http.Handler, token string) int {
	recorder := httptest.NewRecorder()
	protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(recorder, request(token))
	return recorder.Code
}

func TestIntrospectionFindsTheCaller(t *testing.T) {
	a := newAuthority(t)
	own := a.issue(t, a.kit.Account("service", "introspect").ID)
	for name, change := range map[string]func(*middleware.IntrospectionConfig){
		"client secret": nil,
		"bearer": func(c *middleware.IntrospectionConfig) {
			c.ClientID, c.ClientSecret = "", ""
			c.Token = func(context.Context) (string, error) { return own.AccessToken, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			auth := a.resourceServer(t, change)
			response := a.issue(t, a.account.ID)
			caller, err := auth.Authenticate(t.Context(), response.AccessToken)
			require.NoError(t, err)
			assert.Equal(t, a.account.ID, caller.AccountID)
			assert.Equal(t, response.SessionID, caller.SessionID)
			assert.Equal(t, "app", caller.ClientID)
			assert.WithinDuration(t, time.Now().Add(15*time.Minute), caller.Expiry, time.Minute)
			assert.Equal(t, "ada", caller.Account.Name)
			assert.Equal(t, 200, statusOf(auth.RequireGroup("editors"), response.AccessToken))
			assert.Equal(t, 403, statusOf(auth.RequireGroup("admin"), response.AccessToken))
			assert.Equal(t, 401, statusOf(auth.Require, response.RefreshToken))
			asked := a.asked.Load()
			assert.Equal(t, 400, statusOf(auth.Require, "a b"))
			assert.Equal(t, asked, a.asked.Load(), "what has not the form of a token is nobody else's business")

			require.NoError(t, a.kit.Accounts.EndSession(t.Context(), a.account.ID, response.SessionID))
			assert.Equal(t, 401, statusOf(auth.Require, response.AccessToken), "at once")
		})
	}
}

func TestIntrospectionCacheAsksBeforeItRefuses(t *testing.T) {
	a := newAuthority(t)
	now := time.Now()
	auth := a.resourceServer(t, func(c *middleware.IntrospectionConfig) {
		c.CacheFor = time.Minute
		c.Now = func() time.Time { return now }
	})
	response := a.issue(t, a.account.ID)
	for range 3 {
		assert.Equal(t, 200, statusOf(auth.RequireGroup("editors"), response.AccessToken))
	}
	assert.Equal(t, int64(1), a.asked.Load())
	assert.Equal(t, 403, statusOf(auth.RequireGroup("g"), response.AccessToken))
	assert.Equal(t, int64(2), a.asked.Load(), "it asks before it refuses")
	require.NoError(t, a.kit.Accounts.AddToGroup(t.Context(), a.account.ID, "g"))
	assert.Equal(t, 200, statusOf(auth.RequireGroup("g"), response.AccessToken), "a group of a moment ago")

	require.NoError(t, a.kit.Accounts.EndSession(t.Context(), a.account.ID, response.SessionID))
	assert.Equal(t, 200, statusOf(auth.Require, response.AccessToken), "the price of a cache")
	now = now.Add(time.Minute)
	assert.Equal(t, 401, statusOf(auth.Require, response.AccessToken))
	asked := a.asked.Load()
	assert.Equal(t, 401, statusOf(auth.Require, response.AccessToken))
	assert.Equal(t, asked+1, a.asked.Load(), "a bad answer is not kept")

	auth = a.resourceServer(t, func(c *middleware.IntrospectionConfig) {
		c.CacheFor = time.Hour
		c.Now = func() time.Time { return now }
	})
	late := a.issue(t, a.account.ID)
	assert.Equal(t, 200, statusOf(auth.Require, late.AccessToken))
	now = now.Add(16 * time.Minute)
	assert.Equal(t, 401, statusOf(auth.Require, late.AccessToken), "nothing outlives the token")
}

// TestIntrospectionOutageIsNoBadToken: an issuer that does not answer is no reason
// to call a token bad.
func TestIntrospectionOutageIsNoBadToken(t *testing.T) {
	a := newAuthority(t)
	good := a.issue(t, a.account.ID).AccessToken
	for name, broken := range map[string]http.HandlerFunc{
		"an error page":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"its own outage":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"garbage":         func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"half an answer":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"active":tr`) },
		"an empty object": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) },
		"null":            func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `null`) },
		"active null":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"active":null}`) },
		"a proxy":         func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"message":"please log in"}`) },
		"closes the line": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		a.broken.Store(&broken)
		assert.Equal(t, 503, statusOf(a.resourceServer(t, nil).Require, good), name)
	}
	a.broken.Store(nil)
	for name, change := range map[string]func(*middleware.IntrospectionConfig){
		"wrong secret":     func(c *middleware.IntrospectionConfig) { c.ClientSecret = "wrong" },
		"nobody listens":   func(c *middleware.IntrospectionConfig) { c.URL = "http://127.0.0.1:1/" },
		"no token to show": func(c *middleware.IntrospectionConfig) { c.ClientID, c.ClientSecret, c.Token = "", "", noToken },
		"a token that is bad": func(c *middleware.IntrospectionConfig) {
			c.ClientID, c.ClientSecret = "", ""
			c.Token = func(context.Context) (string, error) { return "x", nil }
		},
	} {
		assert.Equal(t, 503, statusOf(a.resourceServer(t, change).Require, good), name)
	}
	assert.Equal(t, 401, statusOf(a.resourceServer(t, func(c *middleware.IntrospectionConfig) { c.Audience = "https://other" }).Require, good))
	assert.Equal(t, 200, statusOf(a.resourceServer(t, func(c *middleware.IntrospectionConfig) { c.Audience = issuerURL }).Require, good))
	silent := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, goodAnswer("")) })
	a.broken.Store(&silent)
	assert.Equal(t, 401, statusOf(a.resourceServer(t, func(c *middleware.IntrospectionConfig) { c.Audience = issuerURL }).Require, good), "it does not say for whom")
}

func noToken(context.Context) (string, error) { return "", errors.New("none") }

func TestIntrospectionConfigurationErrorsNameEachField(t *testing.T) {
	_, err := middleware.NewIntrospection(middleware.IntrospectionConfig{URL: "x", CacheFor: -1})
	for _, field := range []string{"URL", "ClientID", "Token", "CacheFor"} {
		assert.ErrorContains(t, err, field)
	}
	for _, cacheFor := range []time.Duration{0, 1, time.Hour} {
		_, err := middleware.NewIntrospection(middleware.IntrospectionConfig{URL: "http://h", ClientID: "a", ClientSecret: "b", CacheFor: cacheFor})
		assert.NoError(t, err, cacheFor)
	}
	for _, config := range []middleware.IntrospectionConfig{
		{URL: "http://h", ClientID: "a"}, {URL: "http://h", ClientSecret: "a"}, {URL: "http://h", ClientID: "a", Token: noToken},
		{URL: "http://h", ClientID: "a", ClientSecret: "b", Token: noToken}, {URL: "http://a:b@h", ClientID: "a", ClientSecret: "b"},
	} {
		_, err := middleware.NewIntrospection(config)
		assert.Error(t, err)
	}
}

// answering is a transport that answers each question with one text.
type answering string

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

func introspect(t testing.TB, answer string) (*middleware.Caller, error) {
	t.Helper()
	introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{
		URL: "http://issuer", ClientID: "a", ClientSecret: "b", Client: &http.Client{Transport: answering(answer)},
	})
	require.NoError(t, err)
	auth, err := middleware.New(middleware.Config{Verifier: introspection, Accounts: introspection, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return auth.Authenticate(t.Context(), "abc")
}

// TestIntrospectionInactiveNeedsNothingElse: only the member "active" of such an answer
// counts.
func TestIntrospectionInactiveNeedsNothingElse(t *testing.T) {
	for _, answer := range []string{`{"active":false}`, `{"active":false,"aud":1}`, `{"active":false,"exp":"never"}`} {
		_, err := introspect(t, answer)
		assert.ErrorIs(t, err, tokens.ErrInvalid, answer)
	}
}

// TestIntrospectionTimes: the issuer may leave out each of them (RFC 7662 section 2.2).
func TestIntrospectionTimes(t *testing.T) {
	const sub = `{"active":true,"sub":"65f0c0ffee65f0c0ffee0001"`
	for members, want := range map[string]error{
		`,"exp":0}`:                           tokens.ErrExpired,
		`,"exp":-5}`:                          tokens.ErrExpired,
		`,"exp":1700000000}`:                  tokens.ErrExpired,
		`,"nbf":4102444800}`:                  tokens.ErrNotYetValid,
		`,"nbf":4102444800,"exp":4102444900}`: tokens.ErrNotYetValid,
		`,"nbf":1700000000}`:                  nil,
		`}`:                                   nil,
	} {
		caller, err := introspect(t, sub+members)
		if want != nil {
			assert.ErrorIs(t, err, want, members)
			continue
		}
		require.NoError(t, err, members)
		assert.True(t, caller.Expiry.IsZero(), members)
	}
	now := time.Unix(1_800_000_000, 900_000_000)
	for members, want := range map[string]error{
		`,"exp":1800000000}`: tokens.ErrExpired, `,"exp":1800000001}`: nil, `,"nbf":1800000000}`: nil, `,"nbf":1800000001}`: tokens.ErrNotYetValid,
	} {
		introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{
			URL: "http://issuer", ClientID: "a", ClientSecret: "b", Client: &http.Client{Transport: answering(sub + members)}, Now: func() time.Time { return now },
		})
		require.NoError(t, err)
		_, err = introspection.Verify(t.Context(), "abc")
		assert.ErrorIs(t, err, want, members)
	}
	_, err := introspect(t, `{"active":true,"sub":"000000000000000000000000"}`)
	assert.ErrorIs(t, err, tokens.ErrMalformed)

	var questions atomic.Int64
	introspection := introspectionOf(t, time.Minute, func(string) string {
		questions.Add(1)
		return sub + "}"
	})
	verified(t, introspection, "token")
	verified(t, introspection, "token")
	assert.Equal(t, int64(1), questions.Load(), "an answer without an end is used again")
}

// TestIntrospectionKeepsTheTokenFromOtherHosts: 307 repeats the question, with the token,
// at another place.
func TestIntrospectionKeepsTheTokenFromOtherHosts(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch to := r.URL.Query().Get("to"); {
		case to != "":
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
		case r.FormValue("token") == "abc":
			fmt.Fprint(w, goodAnswer(""))
		}
	}
	plain, other := httptest.NewServer(http.HandlerFunc(answer)), httptest.NewServer(http.HandlerFunc(answer))
	secure := httptest.NewTLSServer(http.HandlerFunc(answer))
	for _, server := range []*httptest.Server{plain, other, secure} {
		t.Cleanup(server.Close)
	}
	localhost := strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)
	client := secure.Client()
	willing := *client
	willing.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	to := func(server *httptest.Server, target string) string {
		return server.URL + "/?to=" + url.QueryEscape(target)
	}

	times := func(redirects int) string {
		target := plain.URL
		for range redirects {
			target = to(plain, target)
		}
		return target
	}

	for name, test := range map[string]struct {
		url      string
		client   *http.Client
		followed bool
	}{
		"same place":             {to(plain, "/x"), nil, true},
		"same place, https":      {to(secure, "/x"), client, true},
		"http to https":          {to(plain, secure.URL), client, true},
		"https to http":          {to(secure, plain.URL), client, false},
		"another host":           {to(plain, localhost), nil, false},
		"another host, client":   {to(plain, localhost), client, false},
		"another port":           {to(plain, other.URL), nil, false},
		"for ever":               {plain.URL + "/loop", nil, false},
		"five times":             {times(5), nil, true},
		"six times":              {times(6), nil, false},
		"https to http, willing": {to(secure, plain.URL), &willing, true},
		"another host, willing":  {to(plain, localhost), &willing, true},
	} {
		introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{URL: test.url, ClientID: "a", ClientSecret: "b", Client: test.client})
		require.NoError(t, err)
		_, err = introspection.Verify(t.Context(), "abc")
		assert.Equal(t, test.followed, err == nil, "%s: %v", name, err)
		assert.NotErrorIs(t, err, tokens.ErrInvalid, name)
	}
	assert.Nil(t, client.CheckRedirect, "the client of the caller is not changed")
}

// issuerFunc answers questions about tokens.
type issuerFunc func(token string) (answer string)

func (f issuerFunc) RoundTrip(r *http.Request) (*http.Response, error) {
	return answering(f(r.FormValue("token"))).RoundTrip(r)
}

func introspectionOf(t *testing.T, cacheFor time.Duration, issuer issuerFunc) *middleware.Introspection {
	t.Helper()
	introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{
		URL: "http://issuer", ClientID: "a", ClientSecret: "b", CacheFor: cacheFor, Client: &http.Client{Transport: issuer},
	})
	require.NoError(t, err)
	return introspection
}

func goodAnswer(groups string) string {
	return `{"active":true,"sub":"65f0c0ffee65f0c0ffee0001","sid":"s","exp":4102444800,"groups":[` + groups + `]}`
}

func verified(t *testing.T, introspection *middleware.Introspection, token string) store.SessionRef {
	t.Helper()
	access, err := introspection.Verify(t.Context(), token)
	require.NoError(t, err)
	ref, err := store.ParseSessionRef(access.Subject, access.SessionID, access.Generation)
	require.NoError(t, err)
	return ref
}

// TestIntrospectionSlowOldAnswerGivesNoGroup: a request begins while the account is in
// a group, and its answer comes late. It does not count for a request that begins
// after the account has left the group.
func TestIntrospectionSlowOldAnswerGivesNoGroup(t *testing.T) {
	arrived, proceed, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var questions atomic.Int64
	introspection := introspectionOf(t, 0, func(string) string {
		if questions.Add(1) > 1 {
			return goodAnswer("")
		}
		close(arrived)
		<-proceed
		return goodAnswer(`"admin"`)
	})
	go func() {
		defer close(done)
		_, err := introspection.Verify(context.Background(), "token")
		assert.NoError(t, err)
	}()
	<-arrived
	ref := verified(t, introspection, "token")
	close(proceed)
	<-done
	account, err := introspection.FindBySession(t.Context(), ref)
	require.NoError(t, err)
	assert.Empty(t, account.Groups)
}

// TestIntrospectionFreshAsksAboutTheCallersToken: another token of the session neither
// has a good caller refused nor keeps a bad one.
func TestIntrospectionFreshAsksAboutTheCallersToken(t *testing.T) {
	var bad atomic.Pointer[string]
	var broken atomic.Bool
	introspection := introspectionOf(t, time.Minute, func(token string) string {
		if broken.Load() {
			return "<html>"
		}
		switch gone := bad.Load(); {
		case gone == nil:
			return goodAnswer("")
		case *gone == token:
			return `{"active":false}`
		}
		return goodAnswer(`"added"`)
	})
	mine, other := "mine", "other"
	ref := verified(t, introspection, mine)
	seen, err := introspection.FindBySession(t.Context(), ref)
	require.NoError(t, err)
	verified(t, introspection, other)

	bad.Store(&other)
	fresh, err := introspection.FindBySessionFresh(t.Context(), ref, seen)
	require.NoError(t, err)
	assert.Equal(t, []string{"added"}, fresh.Groups)
	bad.Store(&mine)
	broken.Store(true)
	_, err = introspection.FindBySessionFresh(t.Context(), ref, seen)
	require.Error(t, err, "nobody knows more than before")
	assert.False(t, store.Refused(err), "an outage is no refusal: %v", err)
	broken.Store(false)
	_, err = introspection.FindBySessionFresh(t.Context(), ref, seen)
	assert.ErrorIs(t, err, store.ErrSessionEnded)
	_, err = introspection.Verify(t.Context(), mine)
	assert.ErrorIs(t, err, tokens.ErrInvalid, "what is known to be bad is not taken from memory")

	_, err = introspection.FindBySession(t.Context(), store.SessionRef{AccountID: ref.AccountID, SessionID: "s", Generation: 1})
	assert.ErrorIs(t, err, store.ErrUnavailable, "nobody has asked about it, so nobody knows that it is bad")
}

// TestIntrospectionWithoutACacheAsksOnce: an answer of this very request needs no second one.
func TestIntrospectionWithoutACacheAsksOnce(t *testing.T) {
	a := newAuthority(t)
	auth := a.resourceServer(t, nil)
	assert.Equal(t, 403, statusOf(auth.RequireGroup("g"), a.issue(t, a.account.ID).AccessToken))
	assert.Equal(t, int64(1), a.asked.Load())
}

// TestIntrospectionCacheCountsFromTheQuestion: the answer may be as old as the question, and a clock
// that was set back does not make it younger.
func TestIntrospectionCacheCountsFromTheQuestion(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var questions int
	introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{
		URL: "http://issuer", ClientID: "a", ClientSecret: "b", CacheFor: time.Minute, Now: func() time.Time { return now },
		Client: &http.Client{Transport: issuerFunc(func(string) string {
			questions++
			now = now.Add(59 * time.Second)
			return goodAnswer("")
		})},
	})
	require.NoError(t, err)
	verified(t, introspection, "token")
	verified(t, introspection, "token")
	assert.Equal(t, 1, questions)
	now = now.Add(time.Second)
	verified(t, introspection, "token")
	assert.Equal(t, 2, questions)
	now = now.Add(-time.Hour)
	verified(t, introspection, "token")
	assert.Equal(t, 3, questions)
}

// transportFunc is a transport without a network.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestIntrospectionQuestion: what the issuer is asked (RFC 7662 section 2.1, RFC 6749 section 2.3.1).
func TestIntrospectionQuestion(t *testing.T) {
	ctx := context.WithValue(t.Context(), outsideKey{}, "outside")
	for name, test := range map[string]struct {
		config        middleware.IntrospectionConfig
		authorization string
	}{
		"client secret": {middleware.IntrospectionConfig{ClientID: "a:%41", ClientSecret: "b+c d"}, "a%3A%2541:b%2Bc+d"},
		"bearer": {middleware.IntrospectionConfig{Token: func(ctx context.Context) (string, error) {
			assert.Equal(t, "outside", ctx.Value(outsideKey{}))
			return "own", nil
		}}, "Bearer own"},
	} {
		for _, status := range []int{200, 500} {
			body := &brokenBody{Reader: strings.NewReader("")}
			config := test.config
			config.URL = "http://issuer/introspect"
			config.Client = &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
				assert.Equal(t, "POST", r.Method, name)
				assert.Equal(t, config.URL, r.URL.String(), name)
				assert.Equal(t, formType, r.Header.Get("Content-Type"), name)
				assert.Equal(t, "application/json", r.Header.Get("Accept"), name)
				assert.Equal(t, "outside", r.Context().Value(outsideKey{}), name)
				authorization := r.Header.Get("Authorization")
				if id, secret, isBasic := r.BasicAuth(); isBasic {
					authorization = id + ":" + secret
				}
				assert.Equal(t, test.authorization, authorization, name)
				assert.NoError(t, r.ParseForm(), name)
				assert.Equal(t, url.Values{"token": {"abc"}, "token_type_hint": {"access_token"}}, r.PostForm, name)
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: struct {
					io.Reader
					io.Closer
				}{strings.NewReader(goodAnswer("")), body}}, nil
			})}
			introspection, err := middleware.NewIntrospection(config)
			require.NoError(t, err)
			_, err = introspection.Verify(ctx, "abc")
			assert.Equal(t, status == 200, err == nil, "%s: %v", name, err)
			assert.True(t, body.closed, "%s: else the connection is lost", name)
		}
	}
}

// TestIntrospectionAnswerIsPassedOn: each member of it, and the groups in order, so that
// Account.InGroup finds them.
func TestIntrospectionAnswerIsPassedOn(t *testing.T) {
	const id = "65f0c0ffee65f0c0ffee0001"
	answer := `{"active":true,"sub":"` + id + `","sid":"s","client_id":"app","jti":"j","iss":"https://i","aud":["api","b"],
		"iat":1700000000,"exp":4102444800,"username":"ada","groups":["b","a","c"]}`
	introspection := introspectionOf(t, 0, func(string) string { return answer })
	access, err := introspection.Verify(t.Context(), "abc")
	require.NoError(t, err)
	assert.Equal(t, tokens.Claims{
		Subject: id, ClientID: "app", SessionID: "s", Generation: access.Generation, ID: "j", Issuer: "https://i", Audience: []string{"api", "b"},
		IssuedAt: time.Unix(1700000000, 0).UTC(), Expiry: time.Unix(4102444800, 0).UTC(),
	}, access.Claims)
	caller, err := introspect(t, answer)
	require.NoError(t, err)
	assert.Equal(t, "ada", caller.Account.Name)
	for _, group := range []string{"a", "b", "c"} {
		assert.True(t, caller.Account.InGroup(group), group)
	}
	_, err = introspect(t, strings.Replace(answer, "ada", strings.Repeat("a", 64<<10), 1))
	assert.Error(t, err, "an answer has an end")
}

// TestIntrospectionRedirects: the last place decides, not the first, and a port that is left out is one.
func TestIntrospectionRedirects(t *testing.T) {
	for _, test := range []struct {
		path     []string
		followed bool
	}{
		{[]string{"http://a/", "http://a/x", "http://a/y"}, true},
		{[]string{"http://a/", "https://a/", "https://a/x"}, true},
		{[]string{"https://a/", "http://a/"}, false},
		{[]string{"https://a:8443/", "http://a:8443/"}, false},
		{[]string{"http://a/", "https://a/", "http://a/"}, false},
		{[]string{"http://a/", "https://b/"}, false},
		{[]string{"http://A/", "http://a/"}, true},
	} {
		next := 0
		introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{
			URL: test.path[0], ClientID: "a", ClientSecret: "b",
			Client: &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
				if next++; next == len(test.path) {
					return answering(goodAnswer("")).RoundTrip(r)
				}
				header := http.Header{"Location": {test.path[next]}}
				return &http.Response{StatusCode: http.StatusTemporaryRedirect, Header: header, Body: http.NoBody}, nil
			})},
		})
		require.NoError(t, err)
		_, err = introspection.Verify(t.Context(), "abc")
		assert.Equal(t, test.followed, err == nil, "%v: %v", test.path, err)
	}
}

// TestIntrospectionWithTheAccountsOfTheIssuer: a service can ask the issuer about
// tokens and look at the accounts by itself. That is no reuse of a token.
func TestIntrospectionWithTheAccountsOfTheIssuer(t *testing.T) {
	a := newAuthority(t)
	introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{URL: a.URL, ClientID: "a p&i", ClientSecret: a.secret})
	require.NoError(t, err)
	auth, err := middleware.New(middleware.Config{Verifier: introspection, Accounts: a.kit.Accounts, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	response := a.issue(t, a.account.ID)
	lost := response.RefreshToken
	for range 4 { // replies are lost, so some generations are void: no question may count as one of them
		response, err = a.kit.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: lost, Origin: grant.Origin{ClientID: "app"}})
		require.NoError(t, err)
		a.kit.Sleep(time.Minute)
	}
	for range 3 {
		for range 3 {
			assert.Equal(t, 200, statusOf(auth.RequireGroup("editors"), response.AccessToken))
		}
		response, err = a.kit.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: response.RefreshToken, Origin: grant.Origin{ClientID: "app"}})
		require.NoError(t, err)
	}
}

// TestIntrospectionTakesBothFormsOfAudience: RFC 7662 section 2.2.
func TestIntrospectionTakesBothFormsOfAudience(t *testing.T) {
	for _, aud := range []string{`"api"`, `["api","other"]`, `[]`, `null`} {
		caller, err := introspect(t, `{"active":true,"sub":"65f0c0ffee65f0c0ffee0001","exp":4102444800,"aud":`+aud+`}`)
		require.NoError(t, err, aud)
		assert.Equal(t, "65f0c0ffee65f0c0ffee0001", caller.AccountID.Hex())
	}
}

func FuzzIntrospectionAnswer(f *testing.F) {
	f.Add(`{"active":true,"sub":"65f0c0ffee65f0c0ffee0001","exp":4102444800,"aud":"api","groups":["b","a"]}`)
	f.Add(`{"active":false}`)
	f.Add(`{"active":true,"aud":[1]}`)
	f.Fuzz(func(t *testing.T, answer string) {
		caller, err := introspect(t, answer)
		if err != nil {
			var failure *middleware.Error
			require.ErrorAs(t, err, &failure)
			require.Contains(t, []int{401, 503}, failure.Status)
			return
		}
		var members map[string]any
		require.NoError(t, json.Unmarshal([]byte(answer), &members))
		require.Equal(t, true, members["active"])
		require.Len(t, members["sub"], 24)
		require.NotNil(t, caller.Account)
	})
}
