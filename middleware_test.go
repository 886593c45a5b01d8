package oauthsv_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

// The whole kit from outside, over each store: log in, call, refresh, and whatever
// can go wrong with that. The tests of each endpoint stand beside package grant, those
// of protected resources beside package middleware.

// kit is a whole kit behind an HTTP server.
type kit struct {
	*middlewaretest.Kit
	t       *testing.T
	url     string
	account *store.Account // "ada"
}

func newKit(t *testing.T, config middlewaretest.Config) *kit {
	t.Helper()
	k := &kit{Kit: middlewaretest.New(t, config), t: t}
	k.account = k.Account("ada")
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	k.Server.Mount(mux)
	mux.Handle("/protected", k.Auth.Require(nothing))
	mux.Handle("/optional", k.Auth.Optional(nothing))
	mux.Handle("/admins", k.Auth.RequireGroup("admin")(nothing))
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

// send makes a request; headers are pairs of name and value.
func (k *kit) send(method, path, body string, headers ...string) answer {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, strings.NewReader(body))
	require.NoError(k.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(k.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(k.t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

func (k *kit) get(path, token string) answer {
	k.t.Helper()
	return k.send("GET", path, "", "Authorization", "Bearer "+token)
}

func (k *kit) post(path, form string, headers ...string) answer {
	k.t.Helper()
	return k.send("POST", path, form, append(headers, "Content-Type", "application/x-www-form-urlencoded")...)
}

const passwordForm = "grant_type=password&username=ada&password=" + middlewaretest.Password

func (k *kit) login() grant.Response {
	k.t.Helper()
	return k.tokens(k.post("/token", passwordForm))
}

func (k *kit) refresh(refreshToken string) answer {
	k.t.Helper()
	return k.post("/token", "grant_type=refresh_token&refresh_token="+refreshToken)
}

func (k *kit) mustRefresh(refreshToken string) grant.Response {
	k.t.Helper()
	return k.tokens(k.refresh(refreshToken))
}

// tokens are those of a good answer.
func (k *kit) tokens(got answer) (response grant.Response) {
	k.t.Helper()
	require.Equal(k.t, 200, got.status, got.body)
	require.NoError(k.t, json.Unmarshal([]byte(got.body), &response))
	return response
}

func TestRefreshRotatesAndReuseEndsTheSession(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		first := k.login()
		k.Sleep(time.Minute)
		second := k.mustRefresh(first.RefreshToken)
		assert.NotEqual(t, first.RefreshToken, second.RefreshToken)
		assert.Equal(t, 200, k.get("/protected", first.AccessToken).status, "an access token lives on")
		assert.Equal(t, 200, k.get("/protected", second.AccessToken).status)

		k.Sleep(10 * time.Second)
		replay := k.mustRefresh(first.RefreshToken)
		third := k.mustRefresh(replay.RefreshToken)
		assert.Equal(t, []grant.EventType{
			grant.EventLoginSucceeded, grant.EventTokenRefreshed, grant.EventRefreshTokenReplayed, grant.EventTokenRefreshed,
		}, k.TakeEvents())

		assert.Equal(t, 200, k.get("/protected", third.AccessToken).status)
		k.Sleep(time.Minute)
		got := k.refresh(second.RefreshToken)
		assert.Equal(t, 400, got.status)
		assert.Equal(t, "invalid_grant", got.json(t)["error"])
		assert.Equal(t, []grant.EventType{grant.EventRefreshTokenReused}, k.TakeEvents())
		assert.Equal(t, 400, k.refresh(third.RefreshToken).status)
		assert.Equal(t, 401, k.get("/protected", third.AccessToken).status)
	})
}

// TestLostReplyIsGivenAgain: the answer to a refresh never came; the client asks
// again, a month later even, and again. Each answer voids the one before.
func TestLostReplyIsGivenAgain(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		first := k.login()
		k.Sleep(time.Minute)
		lost := k.mustRefresh(first.RefreshToken)
		k.Sleep(29 * 24 * time.Hour)
		lostToo := k.mustRefresh(first.RefreshToken)
		k.Sleep(time.Minute)
		recovered := k.mustRefresh(first.RefreshToken)
		replayed := k.mustRefresh(first.RefreshToken)
		k.TakeEvents()
		for _, void := range []grant.Response{lostToo, lost} {
			got := k.get("/protected", void.AccessToken)
			assert.Equal(t, 401, got.status)
			assert.Contains(t, got.header.Get("WWW-Authenticate"), `error="invalid_token"`)
		}
		// The first one has run out by itself.
		assert.Equal(t, []grant.EventType{grant.EventRefreshTokenReused}, k.TakeEvents())
		assert.Equal(t, 200, k.get("/protected", recovered.AccessToken).status)
		assert.Equal(t, 200, k.get("/protected", replayed.AccessToken).status)
		next := k.mustRefresh(recovered.RefreshToken)
		assert.Equal(t, 200, k.get("/protected", next.AccessToken).status)

		k.Sleep(time.Minute)
		assert.Equal(t, 400, k.refresh(lostToo.RefreshToken).status, "a void refresh token ends the session")
		assert.Equal(t, 401, k.get("/protected", next.AccessToken).status)
	})
}

// TestQuietThiefIsFoundOut: a thief refreshes before the owner and uses nothing
// until the owner has asked again. The owner's next answered refresh finds the
// thief out.
func TestQuietThiefIsFoundOut(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		stolen := k.login().RefreshToken
		k.Sleep(5 * time.Minute)
		thief := k.mustRefresh(stolen)
		k.Sleep(5 * time.Minute)
		owner := k.mustRefresh(stolen)
		k.TakeEvents()

		assert.Equal(t, 401, k.get("/protected", thief.AccessToken).status, "what the thief has is void")
		asking := k.login() // another session of the same account, in a group that may ask
		require.NoError(t, k.Accounts.AddToGroup(t.Context(), k.account.ID, "introspect"))
		got := k.post("/introspect", "token="+thief.AccessToken, "Authorization", "Bearer "+asking.AccessToken)
		assert.JSONEq(t, `{"active":false}`, got.body)
		assert.Equal(t, []grant.EventType{
			grant.EventRefreshTokenReused, grant.EventLoginSucceeded, grant.EventRefreshTokenReused,
		}, k.TakeEvents(), "and it shows")

		assert.Equal(t, 200, k.get("/protected", owner.AccessToken).status)
		k.Sleep(5 * time.Minute)
		assert.Equal(t, 400, k.refresh(stolen).status, "the thief's other token ends the session")
		assert.Equal(t, 400, k.refresh(owner.RefreshToken).status)
	})
}

// TestConcurrentLateRetriesMoveOneGeneration: many callers at once ask again for a
// reply that was lost. The generation moves by exactly one, and everybody gets it.
func TestConcurrentLateRetriesMoveOneGeneration(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		first := k.login()
		k.mustRefresh(first.RefreshToken)
		k.Sleep(time.Hour)
		k.TakeEvents()
		answers := k.refreshAtOnce(64, first.RefreshToken)
		for _, response := range answers {
			token, err := k.Issuer.VerifyRefresh(response.RefreshToken)
			require.NoError(t, err)
			assert.Equal(t, int64(3), token.Generation)
			assert.Equal(t, 200, k.get("/protected", response.AccessToken).status)
		}
		recovered := 0
		for _, event := range k.TakeEvents() {
			if event == grant.EventRefreshTokenRecovered {
				recovered++
			}
		}
		assert.Equal(t, 1, recovered)
	})
}

func TestNoTokenOutlivesItsSession(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend, Store: func(c *store.Config) {
			c.RefreshTTL, c.SessionTTL = time.Hour, 90*time.Minute
		}})
		login := k.Now()
		first := k.login()
		k.Sleep(15*time.Minute - 1)
		assert.Equal(t, 200, k.get("/protected", first.AccessToken).status)
		k.Sleep(1)
		assert.Equal(t, 401, k.get("/protected", first.AccessToken).status)

		k.Sleep(44 * time.Minute) // 59 minutes
		second := k.mustRefresh(first.RefreshToken)
		k.Sleep(20*time.Minute + 500*time.Millisecond) // 79 minutes and a half second
		third := k.mustRefresh(second.RefreshToken)
		assert.Equal(t, int64(10*60+59), third.ExpiresIn, "not beyond the session's end")
		for _, test := range []struct {
			response        grant.Response
			access, refresh time.Duration // after the login
		}{
			{first, 15 * time.Minute, time.Hour},
			{second, 74 * time.Minute, 90 * time.Minute},
			{third, 90 * time.Minute, 90 * time.Minute},
		} {
			for token, after := range map[string]time.Duration{
				test.response.AccessToken: test.access, test.response.RefreshToken: test.refresh,
			} {
				claims, err := k.Issuer.VerifyForRevocation(token) // it ignores the clock
				require.NoError(t, err)
				assert.Equal(t, login.Add(after), claims.Expiry.UTC(), "what others see, who do not ask the store")
			}
		}
		k.Sleep(10*time.Minute + 59*time.Second + 500*time.Millisecond - 1)
		assert.Equal(t, 200, k.get("/protected", third.AccessToken).status)
		k.Sleep(1)
		assert.Equal(t, 401, k.get("/protected", third.AccessToken).status)
		assert.Equal(t, 400, k.refresh(third.RefreshToken).status)
	})
}

func TestConcurrentRefreshesMoveOneGeneration(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		first := k.login()
		for _, response := range k.refreshAtOnce(64, first.RefreshToken) {
			token, err := k.Issuer.VerifyRefresh(response.RefreshToken)
			require.NoError(t, err)
			assert.Equal(t, int64(2), token.Generation, "moved by exactly one")
			assert.Equal(t, 200, k.get("/protected", response.AccessToken).status)
		}
	})
}

// refreshAtOnce refreshes from so many goroutines, and every one is answered.
func (k *kit) refreshAtOnce(callers int, refreshToken string) []grant.Response {
	answers := make([]grant.Response, callers)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			got := k.refresh(refreshToken)
			assert.Equal(k.t, 200, got.status)
			assert.NoError(k.t, json.Unmarshal([]byte(got.body), &answers[i]))
		})
	}
	all.Wait()
	return answers
}

// TestOutageNeverLooksLikeABadToken: a store that does not answer is 503 with
// Retry-After everywhere, and never looks like a bad token.
func TestOutageNeverLooksLikeABadToken(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		closer, canEnd := backend.(io.Closer)
		if !canEnd {
			return // what is in memory is always there
		}
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		k := newKit(t, middlewaretest.Config{
			Backend:    backend,
			Grant:      func(c *grant.Config) { c.Logger = logger },
			Middleware: func(c *middleware.Config) { c.Logger = logger },
		})
		tokens := k.login()
		require.NoError(t, closer.Close())
		for name, got := range map[string]answer{
			"password":     k.post("/token", passwordForm),
			"unknown name": k.post("/token", "grant_type=password&username=nobody&password=x"),
			"refresh":      k.refresh(tokens.RefreshToken),
			"protected":    k.get("/protected", tokens.AccessToken),
			"optional":     k.get("/optional", tokens.AccessToken),
			"group":        k.get("/admins", tokens.AccessToken),
			"revoke":       k.post("/revoke", "token="+tokens.AccessToken),
			"introspect":   k.post("/introspect", "token="+tokens.AccessToken, "Authorization", "Bearer "+tokens.AccessToken),
		} {
			t.Run(name, func(t *testing.T) {
				assert.Equal(t, 503, got.status)
				assert.Equal(t, "temporarily_unavailable", got.json(t)["error"])
				assert.NotEmpty(t, got.header.Get("Retry-After"))
				assert.Empty(t, got.header.Get("WWW-Authenticate"))
			})
		}
		assert.Equal(t, 5, strings.Count(log.String(), "store: unavailable"), "the operator is told: %s", &log)
		assert.NotContains(t, log.String(), tokens.AccessToken)
		assert.Equal(t, 401, k.get("/protected", "abc").status, "no store is needed to refuse this")
		assert.Equal(t, 400, k.refresh("abc").status)
	})
}
