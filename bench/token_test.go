package bench

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-oauth2/oauth2/v4"
	"github.com/go-oauth2/oauth2/v4/generates"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	"github.com/go-oauth2/oauth2/v4/server"
	oauth2store "github.com/go-oauth2/oauth2/v4/store"
	"github.com/golang-jwt/jwt/v5"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
)

// rootPassword is the password of every account here.
const rootPassword = "nine-kettles-sing-at-noon"

// clear compares passwords in the clear, as the others' memory stores do, so that
// what is measured is not the hash.
type clear struct{}

func (clear) Hash(_ context.Context, password string) (string, error) {
	return "clear:" + password, nil
}
func (clear) Verify(_ context.Context, password string, stored func() (string, error)) (match, outdated bool, err error) {
	hash, err := stored()
	return hash == "clear:"+password, false, err
}

// ours is our token endpoint over a backend, with the account root. Its clock and
// its costs are those of a server, not those of a test.
func ours(tb testing.TB, backend store.Backend, hasher store.PasswordHasher) http.Handler {
	tb.Helper()
	kit := middlewaretest.New(tb, middlewaretest.Config{
		Backend: backend, Issuer: issuerURL, Now: time.Now,
		// A user has a few sessions, not as many as the benchmark logs in.
		Store: func(c *store.Config) { c.Passwords, c.MaxSessions = hasher, 4 },
		Grant: func(c *grant.Config) { c.Event = func(context.Context, grant.Event) {} },
	})
	_, err := kit.Accounts.EnsureRoot(tb.Context(), "root", "root@localhost", rootPassword)
	require.NoError(tb, err)
	return kit.Server.TokenHandler()
}

func fositeServer(tb testing.TB) http.Handler {
	tb.Helper()
	memory := storage.NewMemoryStore()
	memory.Clients["app"] = &fosite.DefaultClient{
		ID: "app", Public: true, GrantTypes: []string{"password", "refresh_token"}, Scopes: []string{"offline"},
	}
	memory.Users["root"] = storage.MemoryUserRelation{Username: "root", Password: rootPassword}
	config := &fosite.Config{
		GlobalSecret: []byte(strings.Repeat("s", 32)), AccessTokenLifespan: 15 * time.Minute, RefreshTokenLifespan: 720 * time.Hour,
	}
	provider := compose.Compose(config, memory, compose.NewOAuth2HMACStrategy(config),
		//lint:ignore SA1019 this is the grant that is compared
		compose.OAuth2ResourceOwnerPasswordCredentialsFactory, compose.OAuth2RefreshTokenGrantFactory)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		for _, scope := range request.GetRequestedScopes() {
			request.GrantScope(scope)
		}
		response, err := provider.NewAccessResponse(ctx, request)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	})
}

func goOAuth2(tb testing.TB) http.Handler {
	tb.Helper()
	manager := manage.NewDefaultManager()
	manager.SetPasswordTokenCfg(&manage.Config{AccessTokenExp: 15 * time.Minute, RefreshTokenExp: 720 * time.Hour, IsGenerateRefresh: true})
	manager.MustTokenStorage(oauth2store.NewMemoryTokenStore())
	manager.MapAccessGenerate(generates.NewJWTAccessGenerate("", []byte(strings.Repeat("s", 64)), jwt.SigningMethodHS512))
	clients := oauth2store.NewClientStore()
	require.NoError(tb, clients.Set("app", &models.Client{ID: "app", Public: true}))
	manager.MapClientStorage(clients)
	endpoint := server.NewDefaultServer(manager)
	endpoint.SetAllowedGrantType(oauth2.PasswordCredentials, oauth2.Refreshing)
	endpoint.SetClientInfoHandler(server.ClientFormHandler)
	endpoint.SetPasswordAuthorizationHandler(func(_ context.Context, _, username, password string) (string, error) {
		if username == "root" && password == rootPassword {
			return username, nil
		}
		return "", errRefused
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = endpoint.HandleTokenRequest(w, r) })
}

// recorder is a response writer that costs little, for the harness to add little.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { r.body = append(r.body, p...); return len(p), nil }

func post(handler http.Handler, form string) (status int, body string) {
	r, err := http.NewRequest("POST", "/token", strings.NewReader(form))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := &recorder{header: make(http.Header), status: http.StatusOK}
	handler.ServeHTTP(w, r)
	return w.status, string(w.body)
}

const (
	credentials = "grant_type=password&client_id=app&scope=offline&username="
	login       = credentials + "root&password="
)

// mustPost returns the refresh token of the answer.
func mustPost(tb testing.TB, handler http.Handler, form string) (refreshToken string) {
	status, body := post(handler, form)
	const member = `"refresh_token":"`
	at := strings.Index(body, member)
	if status != http.StatusOK || at < 0 || !strings.Contains(body, `"access_token":"`) {
		tb.Fatalf("status %d: %s", status, body)
	}
	body = body[at+len(member):]
	return body[:strings.IndexByte(body, '"')]
}

func refreshForm(token string) string {
	return "grant_type=refresh_token&client_id=app&refresh_token=" + url.QueryEscape(token)
}

// check shows that a token endpoint does its work.
func check(b *testing.B, handler http.Handler) {
	b.Helper()
	status, _ := post(handler, login+"wrong")
	require.NotEqual(b, http.StatusOK, status)
	first := mustPost(b, handler, login+rootPassword)
	second := mustPost(b, handler, refreshForm(first))
	require.NotEqual(b, first, second)
	status, _ = post(handler, refreshForm(second+"x"))
	require.NotEqual(b, http.StatusOK, status)
}

func tokenEndpoints(b *testing.B, run func(*testing.B, http.Handler)) {
	b.Run("oauthsv", func(b *testing.B) { run(b, ours(b, memstore.New(), clear{})) })
	b.Run("ory/fosite_(opaque_tokens)", func(b *testing.B) { run(b, fositeServer(b)) })
	b.Run("go-oauth2/oauth2", func(b *testing.B) { run(b, goOAuth2(b)) })
}

// nothing answers each request at once, with an answer of the usual size. What it costs is what
// the requests and the reading of the answers cost in all rows.
func nothing(tb testing.TB) http.Handler {
	handler := ours(tb, memstore.New(), clear{})
	_, answer := post(handler, login+rootPassword)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte(answer))
	})
}

// BenchmarkPasswordGrant is a login, form in and JSON out, without a hash.
func BenchmarkPasswordGrant(b *testing.B) {
	tokenEndpoints(b, func(b *testing.B, handler http.Handler) {
		check(b, handler)
		b.ReportAllocs()
		for b.Loop() {
			if status, body := post(handler, login+rootPassword); status != http.StatusOK {
				b.Fatalf("status %d: %s", status, body)
			}
		}
	})
}

// BenchmarkRefreshGrant is a refresh, form in and JSON out.
func BenchmarkRefreshGrant(b *testing.B) {
	tokenEndpoints(b, func(b *testing.B, handler http.Handler) {
		check(b, handler)
		refreshes(b, handler)
	})
	b.Run("nothing,_which_all_rows_contain", func(b *testing.B) { refreshes(b, nothing(b)) })
}

func refreshes(b *testing.B, handler http.Handler) {
	token := mustPost(b, handler, login+rootPassword)
	b.ReportAllocs()
	for b.Loop() {
		token = mustPost(b, handler, refreshForm(token))
	}
}

// BenchmarkLogin is what a login costs beside its hash, with the default costs.
func BenchmarkLogin(b *testing.B) {
	hasher, err := password.New(password.Config{})
	require.NoError(b, err)
	b.Run("oauthsv", func(b *testing.B) {
		handler := ours(b, memstore.New(), hasher)
		for b.Loop() {
			mustPost(b, handler, login+rootPassword)
		}
	})
	b.Run("limit:_argon2id", func(b *testing.B) {
		for b.Loop() {
			if _, err := hasher.Hash(b.Context(), rootPassword); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkConcurrentRefresh is refreshes of many users at once over a file, which
// share disk syncs.
func BenchmarkConcurrentRefresh(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run("boltstore/callers="+strconv.Itoa(callers), func(b *testing.B) {
			backend, err := boltstore.Open(b.TempDir()+"/bench.db", boltstore.Config{})
			require.NoError(b, err)
			defer backend.Close()
			handler := ours(b, backend, clear{})
			accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: clear{}})
			require.NoError(b, err)
			refreshes := make(chan string, callers)
			for i := range callers {
				name := "user" + strconv.Itoa(i)
				_, err := accounts.Create(b.Context(), store.NewAccount{Name: name, Email: name + "@localhost", Password: rootPassword})
				require.NoError(b, err)
				refreshes <- mustPost(b, handler, credentials+name+"&password="+rootPassword)
			}
			concurrently(b, callers, func() {
				token := <-refreshes
				refreshes <- mustPost(b, handler, refreshForm(token))
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
		})
	}
}
