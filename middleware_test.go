package oauthsv_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/mongostore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/tokens"
)

// The whole kit from outside: a real HTTP server, every row of what a user can
// observe, over each store.

// eachStore runs a test over every backend there is.
func eachStore(t *testing.T, test func(t *testing.T, backend store.Backend)) {
	t.Run("memstore", func(t *testing.T) { test(t, memstore.New()) })
	t.Run("boltstore", func(t *testing.T) {
		backend, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = backend.Close() })
		test(t, backend)
	})
	t.Run("mongostore", func(t *testing.T) {
		backend, err := mongostore.Open(t.Context(), mongotest.URI(t), mongostore.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = backend.Close() })
		test(t, backend)
	})
}

const (
	issuerURL = "https://login.example.org"
	audience  = "https://api.example.org"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// kit is a server of the whole kit, with a clock to set.
type kit struct {
	t        *testing.T
	url      string
	accounts *store.Accounts
	issuer   *tokens.Issuer
	server   *grant.Server
	account  *store.Account // "ada", with password "secret", in group "editors"

	mu     sync.Mutex
	now    time.Time
	events []grant.Event
}

// options change the kit before it is built.
type options struct {
	issuer     string
	store      func(*store.Config)
	grant      func(*grant.Config)
	middleware func(*middleware.Config)
}

func newKit(t *testing.T, backend store.Backend, o options) *kit {
	t.Helper()
	k := &kit{t: t, now: epoch}
	keys, err := tokens.ParseKeys([]byte(strings.Repeat("0123456789abcdef", 4)))
	require.NoError(t, err)
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	k.issuer, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: ring, Issuer: cmp.Or(o.issuer, issuerURL), Audience: audience, Now: k.clock})
	require.NoError(t, err)
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)

	storeConfig := store.Config{Backend: backend, Passwords: hasher, Now: k.clock}
	if o.store != nil {
		o.store(&storeConfig)
	}
	k.accounts, err = store.NewAccounts(storeConfig)
	require.NoError(t, err)
	middlewareConfig := middleware.Config{
		Verifier: k.issuer.Verifier(), Accounts: k.accounts, Realm: "test", TokenReused: grant.TokenReused(k.record),
	}
	if o.middleware != nil {
		o.middleware(&middlewareConfig)
	}
	auth, err := middleware.New(middlewareConfig)
	require.NoError(t, err)
	grantConfig := grant.Config{
		Accounts: k.accounts, Issuer: k.issuer, Now: k.clock, Event: k.record,
		MayIntrospect: auth.MayIntrospect(func(account *store.Account) bool { return account.InGroup("introspect") }),
	}
	if o.grant != nil {
		o.grant(&grantConfig)
	}
	k.server, err = grant.NewServer(grantConfig)
	require.NoError(t, err)

	k.account, err = k.accounts.Create(t.Context(), store.NewAccount{
		Name: "ada", Email: "Ada@example.org", Password: "secret", Groups: []string{"editors"},
	})
	require.NoError(t, err)

	caller := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, known := middleware.AccountID(r.Context())
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		fmt.Fprint(w, known, " ", id.Hex(), " ", string(body))
	})
	mux := http.NewServeMux()
	k.server.Mount(mux)
	mux.Handle("/protected", auth.Require(caller))
	mux.Handle("/optional", auth.Optional(caller))
	mux.Handle("/editors", auth.RequireGroup("editors")(caller))
	mux.Handle("/admins", auth.RequireGroup("admin")(caller))
	mux.Handle("/nested", auth.Require(auth.RequireGroup("editors")(caller)))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	k.url = web.URL
	return k
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kit) sleep(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

func (k *kit) record(_ context.Context, event grant.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, event)
}

// takeEvents returns the types of what happened since the last call.
func (k *kit) takeEvents() (types []grant.EventType) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, event := range k.events {
		types = append(types, event.Type)
	}
	k.events = nil
	return types
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
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(k.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(k.t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

const formType = "application/x-www-form-urlencoded"

func (k *kit) token(form string, headers ...string) answer {
	k.t.Helper()
	return k.send("POST", "/token", form, append(headers, "Content-Type", formType)...)
}

const passwordForm = "grant_type=password&username=ada&password=secret"

func (k *kit) login() grant.Response { k.t.Helper(); return k.mustToken(passwordForm) }

func (k *kit) refresh(refreshToken string) answer {
	k.t.Helper()
	return k.token(refreshForm(refreshToken))
}

func refreshForm(refreshToken string) string {
	return "grant_type=refresh_token&refresh_token=" + refreshToken
}

func (k *kit) mustRefresh(refreshToken string) grant.Response {
	k.t.Helper()
	return k.mustToken(refreshForm(refreshToken))
}

func (k *kit) mustToken(form string) (response grant.Response) {
	k.t.Helper()
	got := k.token(form)
	require.Equal(k.t, 200, got.status, got.body)
	require.NoError(k.t, json.Unmarshal([]byte(got.body), &response))
	return response
}

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

func TestTokenSuccess(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{grant: func(c *grant.Config) { c.AcceptJSON = true }})
		for name, test := range map[string]struct{ contentType, body string }{
			"name":                      {formType, passwordForm},
			"name in capitals":          {formType, "grant_type=password&username=ADA&password=secret"},
			"e-mail":                    {formType, "grant_type=password&username=aDA%40example.org&password=secret"},
			"charset":                   {formType + "; charset=UTF-8", passwordForm},
			"content type in capitals":  {strings.ToUpper(formType), passwordForm},
			"scope is ignored":          {formType, passwordForm + "&scope=admin"},
			"unknown parameters":        {formType, passwordForm + "&x=1&x=2&resource=r"},
			"empty optional parameters": {formType, passwordForm + "&client_id=&client_secret=&scope="},
			"a client without registry": {formType, passwordForm + "&client_id=app&client_secret=x"},
			"JSON":                      {"application/json", `{"grant_type":"password","username":"ada","password":"secret","scope":"x"}`},
		} {
			t.Run(name, func(t *testing.T) {
				got := k.send("POST", "/token", test.body, "Content-Type", test.contentType)
				require.Equal(t, 200, got.status, got.body)
				assertTokenHeaders(t, got)
				members := got.json(t)
				assert.Len(t, members, 4)
				assert.Equal(t, "Bearer", members["token_type"])
				assert.Equal(t, 900.0, members["expires_in"])
				assert.Contains(t, k.get("/protected", members["access_token"].(string)).body, k.account.ID.Hex())
				again := k.refresh(members["refresh_token"].(string))
				require.Equal(t, 200, again.status, again.body)
				assertTokenHeaders(t, again)
			})
		}
	})
}

func TestTokenErrors(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		disabled, err := k.accounts.Create(t.Context(), store.NewAccount{Name: "grace", Email: "grace@example.org", Password: "secret"})
		require.NoError(t, err)
		require.NoError(t, k.accounts.Disable(t.Context(), disabled.ID))
		tokens := k.login()

		for name, test := range map[string]struct {
			method, contentType, query, body string
			headers                          []string
			status                           int
			code                             string
		}{
			"no parameters":          {status: 400, code: "invalid_request"},
			"no grant_type":          {body: "username=ada&password=secret", status: 400, code: "invalid_request"},
			"no username":            {body: "grant_type=password&password=secret", status: 400, code: "invalid_request"},
			"no password":            {body: "grant_type=password&username=ada", status: 400, code: "invalid_request"},
			"empty password":         {body: "grant_type=password&username=ada&password=", status: 400, code: "invalid_request"},
			"no refresh_token":       {body: "grant_type=refresh_token", status: 400, code: "invalid_request"},
			"grant_type twice":       {body: passwordForm + "&grant_type=password", status: 400, code: "invalid_request"},
			"password twice":         {body: passwordForm + "&password=secret", status: 400, code: "invalid_request"},
			"scope twice":            {body: passwordForm + "&scope=a&scope=b", status: 400, code: "invalid_request"},
			"client_id twice":        {body: passwordForm + "&client_id=a&client_id=a", status: 400, code: "invalid_request"},
			"no content type":        {contentType: "-", body: passwordForm, status: 400, code: "invalid_request"},
			"text":                   {contentType: "text/plain", body: passwordForm, status: 400, code: "invalid_request"},
			"multipart":              {contentType: "multipart/form-data; boundary=x", body: passwordForm, status: 400, code: "invalid_request"},
			"broken content type":    {contentType: formType + "; charset", body: passwordForm, status: 400, code: "invalid_request"},
			"JSON while off":         {contentType: "application/json", body: `{"grant_type":"password"}`, status: 400, code: "invalid_request"},
			"bad escape":             {body: passwordForm + "&x=%zz", status: 400, code: "invalid_request"},
			"semicolon":              {body: passwordForm + ";x=1", status: 400, code: "invalid_request"},
			"password in the query":  {query: "?password=secret", body: passwordForm, status: 400, code: "invalid_request"},
			"token in the query":     {query: "?refresh_token=x", body: passwordForm, status: 400, code: "invalid_request"},
			"secret in the query":    {query: "?client_secret=x", body: passwordForm, status: 400, code: "invalid_request"},
			"broken query":           {query: "?a=1;password=x", body: passwordForm, status: 400, code: "invalid_request"},
			"client in two ways":     {body: passwordForm + "&client_secret=x", headers: []string{"Authorization", "Basic YXBwOng="}, status: 400, code: "invalid_request"},
			"two client ids":         {body: passwordForm + "&client_id=other", headers: []string{"Authorization", "Basic YXBwOng="}, status: 400, code: "invalid_request"},
			"unknown name":           {body: "grant_type=password&username=nobody&password=secret", status: 400, code: "invalid_grant"},
			"unknown e-mail":         {body: "grant_type=password&username=nobody@example.org&password=secret", status: 400, code: "invalid_grant"},
			"impossible name":        {body: "grant_type=password&username=a+b&password=secret", status: 400, code: "invalid_grant"},
			"invalid UTF-8":          {body: "grant_type=password&username=%ff&password=%ff", status: 400, code: "invalid_grant"},
			"wrong password":         {body: "grant_type=password&username=ada&password=Secret", status: 400, code: "invalid_grant"},
			"password too long":      {body: "grant_type=password&username=ada&password=" + strings.Repeat("x", 1025), status: 400, code: "invalid_grant"},
			"disabled":               {body: "grant_type=password&username=grace&password=secret", status: 400, code: "invalid_grant"},
			"malformed token":        {body: refreshForm("x"), status: 400, code: "invalid_grant"},
			"access token":           {body: refreshForm(tokens.AccessToken), status: 400, code: "invalid_grant"},
			"another client":         {body: refreshForm(tokens.RefreshToken) + "&client_id=other", status: 400, code: "invalid_grant"},
			"other grant":            {body: "grant_type=client_credentials", status: 400, code: "unsupported_grant_type"},
			"grant in capitals":      {body: "grant_type=Password&username=ada&password=secret", status: 400, code: "unsupported_grant_type"},
			"broken Basic":           {body: passwordForm, headers: []string{"Authorization", "Basic !"}, status: 401, code: "invalid_client"},
			"broken escape in Basic": {body: passwordForm, headers: []string{"Authorization", "Basic JXp6Og=="}, status: 401, code: "invalid_client"},
			"two Authorizations":     {body: passwordForm, headers: []string{"Authorization", "Basic YTpi", "Authorization", "Basic YTpi"}, status: 401, code: "invalid_client"},
			"GET":                    {method: "GET", status: 405, code: "invalid_request"},
			"PUT":                    {method: "PUT", body: passwordForm, status: 405, code: "invalid_request"},
			"OPTIONS":                {method: "OPTIONS", status: 405, code: "invalid_request"},
			"too large":              {body: passwordForm + "&x=" + strings.Repeat("x", 64<<10), status: 413, code: "invalid_request"},
		} {
			t.Run(name, func(t *testing.T) {
				method, headers := "POST", test.headers
				if test.method != "" {
					method = test.method
				}
				switch test.contentType {
				case "":
					headers = append(headers, "Content-Type", formType)
				case "-":
				default:
					headers = append(headers, "Content-Type", test.contentType)
				}
				got := k.send(method, "/token"+test.query, test.body, headers...)
				assert.Equal(t, test.status, got.status)
				assertTokenHeaders(t, got)
				members := got.json(t)
				assert.Equal(t, test.code, members["error"])
				assert.NotEmpty(t, members["error_description"])
				assert.Equal(t, test.status == 405, got.header.Get("Allow") == "POST")
				assert.Equal(t, test.status == 401, strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic "))
			})
		}
		assert.Equal(t, 200, k.refresh(tokens.RefreshToken).status, "none of this has ended the session")
	})
}

// TestNoAnswerTellsNames: byte for byte, but for the date, an unknown name, a
// wrong password and a disabled account look alike.
func TestNoAnswerTellsNames(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		known := k.token("grant_type=password&username=ada&password=wrong")
		require.NoError(t, k.accounts.Disable(t.Context(), k.account.ID))
		disabled := k.token(passwordForm)
		unknown := k.token("grant_type=password&username=nobody&password=secret")
		for _, got := range []*answer{&known, &disabled, &unknown} {
			got.header.Del("Date")
		}
		assert.Equal(t, known, unknown)
		assert.Equal(t, known, disabled)
		for _, event := range k.events {
			assert.NotContains(t, fmt.Sprintf("%+v", event), "nobody", "a submitted name is often a password")
		}
	})
}

func TestClientIDIsRecorded(t *testing.T) {
	k := newKit(t, memstore.New(), options{})
	for sent, want := range map[string]string{
		"&client_id=app":                         "app",
		"":                                       "default",
		"&client_id=%00":                         "default",
		"&client_id=" + strings.Repeat("x", 257): "default",
		"&client_id=" + url.QueryEscape("a b\u00e9"): "default",
	} {
		response := k.mustToken(passwordForm + sent)
		parsed, err := k.issuer.VerifyRefresh(response.RefreshToken)
		require.NoError(t, err)
		assert.Equal(t, want, parsed.ClientID)
	}
	got := k.token(passwordForm, "Authorization", "Basic "+"YSUyMGI6") // "a%20b:"
	require.Equal(t, 200, got.status)
	parsed, err := k.issuer.VerifyRefresh(got.json(t)["refresh_token"].(string))
	require.NoError(t, err)
	assert.Equal(t, "a b", parsed.ClientID)
}

func TestRefreshRotates(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		first := k.login()
		k.sleep(time.Minute)
		second := k.mustRefresh(first.RefreshToken)
		assert.NotEqual(t, first.RefreshToken, second.RefreshToken)
		assert.Equal(t, 200, k.get("/protected", first.AccessToken).status, "an access token lives on")
		assert.Equal(t, 200, k.get("/protected", second.AccessToken).status)

		k.sleep(10 * time.Second)
		replay := k.mustRefresh(first.RefreshToken)
		third := k.mustRefresh(replay.RefreshToken)
		assert.Equal(t, []grant.EventType{
			grant.EventLoginSucceeded, grant.EventTokenRefreshed, grant.EventRefreshTokenReplayed, grant.EventTokenRefreshed,
		}, k.takeEvents())

		assert.Equal(t, 200, k.get("/protected", third.AccessToken).status)
		k.sleep(time.Minute)
		got := k.refresh(second.RefreshToken)
		assert.Equal(t, 400, got.status)
		assert.Equal(t, "invalid_grant", got.json(t)["error"])
		assert.Equal(t, []grant.EventType{grant.EventRefreshTokenReused}, k.takeEvents())
		assert.Equal(t, 400, k.refresh(third.RefreshToken).status)
		assert.Equal(t, 401, k.get("/protected", third.AccessToken).status)
	})
}

// TestLostReply: the answer to a refresh never came; the client asks again, a month
// later even, and again. Each answer voids the one before.
func TestLostReply(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		first := k.login()
		k.sleep(time.Minute)
		lost := k.mustRefresh(first.RefreshToken)
		k.sleep(29 * 24 * time.Hour)
		lostToo := k.mustRefresh(first.RefreshToken)
		k.sleep(time.Minute)
		recovered := k.mustRefresh(first.RefreshToken)
		replayed := k.mustRefresh(first.RefreshToken)
		k.takeEvents()
		for _, void := range []grant.Response{lostToo, lost} {
			got := k.get("/protected", void.AccessToken)
			assert.Equal(t, 401, got.status)
			assert.Contains(t, got.header.Get("WWW-Authenticate"), `error="invalid_token"`)
		}
		// The first one has run out by itself.
		assert.Equal(t, []grant.EventType{grant.EventRefreshTokenReused}, k.takeEvents())
		assert.Equal(t, 200, k.get("/protected", recovered.AccessToken).status)
		assert.Equal(t, 200, k.get("/protected", replayed.AccessToken).status)
		next := k.mustRefresh(recovered.RefreshToken)
		assert.Equal(t, 200, k.get("/protected", next.AccessToken).status)

		k.sleep(time.Minute)
		assert.Equal(t, 400, k.refresh(lostToo.RefreshToken).status, "a void refresh token ends the session")
		assert.Equal(t, 401, k.get("/protected", next.AccessToken).status)
	})
}

// TestQuietThief: a thief refreshes before the owner and uses nothing until the
// owner has asked again. The owner's next answered refresh finds the thief out.
func TestQuietThief(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		stolen := k.login().RefreshToken
		k.sleep(5 * time.Minute)
		thief := k.mustRefresh(stolen)
		k.sleep(5 * time.Minute)
		owner := k.mustRefresh(stolen)
		k.takeEvents()

		assert.Equal(t, 401, k.get("/protected", thief.AccessToken).status, "what the thief has is void")
		asking := k.login() // another session of the same account, in a group that may ask
		require.NoError(t, k.accounts.AddToGroup(t.Context(), k.account.ID, "introspect"))
		got := k.send("POST", "/introspect", "token="+thief.AccessToken, "Content-Type", formType, "Authorization", "Bearer "+asking.AccessToken)
		assert.JSONEq(t, `{"active":false}`, got.body)
		assert.Equal(t, []grant.EventType{
			grant.EventRefreshTokenReused, grant.EventLoginSucceeded, grant.EventRefreshTokenReused,
		}, k.takeEvents(), "and it shows")

		assert.Equal(t, 200, k.get("/protected", owner.AccessToken).status)
		k.sleep(5 * time.Minute)
		assert.Equal(t, 400, k.refresh(stolen).status, "the thief's other token ends the session")
		assert.Equal(t, 400, k.refresh(owner.RefreshToken).status)
	})
}

// TestConcurrentLateRetries: many callers at once ask again for a reply that was
// lost. The generation moves by exactly one, and everybody gets it.
func TestConcurrentLateRetries(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		first := k.login()
		k.mustRefresh(first.RefreshToken)
		k.sleep(time.Hour)
		k.takeEvents()
		answers := k.refreshAtOnce(64, first.RefreshToken)
		for _, response := range answers {
			token, err := k.issuer.VerifyRefresh(response.RefreshToken)
			require.NoError(t, err)
			assert.Equal(t, int64(3), token.Generation)
			assert.Equal(t, 200, k.get("/protected", response.AccessToken).status)
		}
		recovered := 0
		for _, event := range k.takeEvents() {
			if event == grant.EventRefreshTokenRecovered {
				recovered++
			}
		}
		assert.Equal(t, 1, recovered)
	})
}

func TestExpiry(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{store: func(c *store.Config) {
			c.RefreshTTL, c.SessionTTL = time.Hour, 90*time.Minute
		}})
		first := k.login()
		k.sleep(15*time.Minute - 1)
		assert.Equal(t, 200, k.get("/protected", first.AccessToken).status)
		k.sleep(1)
		assert.Equal(t, 401, k.get("/protected", first.AccessToken).status)

		k.sleep(44 * time.Minute) // 59 minutes
		second := k.mustRefresh(first.RefreshToken)
		k.sleep(20*time.Minute + 500*time.Millisecond) // 79 minutes and a half second
		third := k.mustRefresh(second.RefreshToken)
		assert.Equal(t, int64(10*60+59), third.ExpiresIn, "not beyond the session's end")
		k.sleep(10*time.Minute + 59*time.Second + 500*time.Millisecond - 1)
		assert.Equal(t, 200, k.get("/protected", third.AccessToken).status)
		k.sleep(1)
		assert.Equal(t, 401, k.get("/protected", third.AccessToken).status)
		assert.Equal(t, 400, k.refresh(third.RefreshToken).status)
	})
}

func TestConcurrentRefreshes(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		first := k.login()
		for _, response := range k.refreshAtOnce(64, first.RefreshToken) {
			token, err := k.issuer.VerifyRefresh(response.RefreshToken)
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

func TestProtectedRows(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		good := k.login()
		gone := func(end func(id store.ID, session string) error) string {
			name := fmt.Sprintf("gone-%d", time.Now().UnixNano())
			account, err := k.accounts.Create(t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", NoPassword: true})
			require.NoError(t, err)
			response, err := k.server.Issue(t.Context(), account.ID, grant.Origin{})
			require.NoError(t, err)
			require.NoError(t, end(account.ID, response.SessionID))
			return response.AccessToken
		}
		foreign, err := k.issuer.SignAccess(tokens.Claims{Subject: "no-id", ClientID: "c", SessionID: "s", Generation: 1, Expiry: epoch.Add(time.Hour)})
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
			"no JWT":                {"/protected", []string{"Authorization", "Bearer abc"}, 401, invalidToken},
			"longest":               {"/protected", []string{"Authorization", "Bearer " + strings.Repeat("a", 8192)}, 401, invalidToken},
			"flipped":               {"/protected", []string{"Authorization", "Bearer " + good.AccessToken[:len(good.AccessToken)-8] + "AAAAAAAA"}, 401, invalidToken},
			"padded":                {"/protected", []string{"Authorization", "Bearer " + good.AccessToken + "=="}, 401, invalidToken},
			"refresh token":         {"/protected", []string{"Authorization", "Bearer " + good.RefreshToken}, 401, invalidToken},
			"subject is no id":      {"/protected", []string{"Authorization", "Bearer " + foreign}, 401, invalidToken},
			"optional, bad":         {"/optional", []string{"Authorization", "Bearer abc"}, 401, invalidToken},
			"revoked session": {"/protected", []string{"Authorization", "Bearer " + gone(func(id store.ID, session string) error {
				return k.accounts.EndSession(t.Context(), id, session)
			})}, 401, invalidToken},
			"account disabled": {"/protected", []string{"Authorization", "Bearer " + gone(func(id store.ID, _ string) error {
				return k.accounts.Disable(t.Context(), id)
			})}, 401, invalidToken},
			"account gone": {"/protected", []string{"Authorization", "Bearer " + gone(func(id store.ID, _ string) error {
				return k.accounts.Remove(t.Context(), id)
			})}, 401, invalidToken},
			"not in the group": {"/admins", []string{"Authorization", "Bearer " + good.AccessToken}, 403, scope},
		} {
			t.Run(name, func(t *testing.T) {
				got := k.send("GET", test.path, "", test.headers...)
				require.Equal(t, test.status, got.status, got.body)
				challenge := got.header.Get("WWW-Authenticate")
				if test.status == 200 {
					known := strings.Contains(strings.Join(test.headers, " "), good.AccessToken)
					assert.Equal(t, known, strings.HasPrefix(got.body, "true "+k.account.ID.Hex()))
					assert.Empty(t, challenge)
					return
				}
				assert.True(t, strings.HasPrefix(challenge, `Bearer realm="test"`), challenge)
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
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		token := k.login().AccessToken
		assert.Equal(t, 403, k.get("/admins", token).status)
		require.NoError(t, k.accounts.AddToGroup(t.Context(), k.account.ID, "admin"))
		assert.Equal(t, 200, k.get("/admins", token).status, "with the next request, the token being the same")
		require.NoError(t, k.accounts.RemoveFromGroup(t.Context(), k.account.ID, "admin"))
		assert.Equal(t, 403, k.get("/admins", token).status)
	})
}

func TestOtherPlaces(t *testing.T) {
	k := newKit(t, memstore.New(), options{middleware: func(c *middleware.Config) {
		c.Cookie, c.Form, c.Query = "session", true, true
	}})
	token := k.login().AccessToken
	const sameOrigin, crossSite = "same-origin", "cross-site"
	form := "access_token=" + token + "&a=1"
	for name, test := range map[string]struct {
		method, query, body, site string
		headers                   []string
		status                    int
		private                   bool
	}{
		"cookie":                       {headers: []string{"Cookie", "session=" + token}, status: 200, private: true},
		"cookie cleared":               {headers: []string{"Cookie", "session="}, status: 401},
		"cookie twice":                 {headers: []string{"Cookie", "session=" + token + "; session=" + token}, status: 400},
		"cookie malformed":             {headers: []string{"Cookie", "session=a,b"}, status: 400},
		"cookie bad":                   {headers: []string{"Cookie", "session=abc"}, status: 401},
		"cookie, unsafe, same origin":  {method: "POST", site: sameOrigin, headers: []string{"Cookie", "session=" + token}, status: 200, private: true},
		"cookie, unsafe, cross site":   {method: "POST", site: crossSite, headers: []string{"Cookie", "session=" + token}, status: 403},
		"cookie, safe, cross site":     {site: crossSite, headers: []string{"Cookie", "session=" + token}, status: 200, private: true},
		"header, unsafe, cross site":   {method: "POST", site: crossSite, headers: []string{"Authorization", "Bearer " + token}, status: 200},
		"query":                        {query: "?access_token=" + token, status: 200, private: true},
		"query twice":                  {query: "?access_token=" + token + "&access_token=" + token, status: 400},
		"query empty":                  {query: "?access_token=", status: 400},
		"form":                         {method: "POST", body: form, headers: []string{"Content-Type", formType}, status: 200},
		"form, PUT":                    {method: "PUT", body: form, headers: []string{"Content-Type", formType + ";charset=utf-8"}, status: 200},
		"form, GET":                    {method: "GET", body: form, headers: []string{"Content-Type", formType}, status: 401},
		"form twice":                   {method: "POST", body: form + "&access_token=x", headers: []string{"Content-Type", formType}, status: 400},
		"form malformed":               {method: "POST", body: form + "&%zz", headers: []string{"Content-Type", formType}, status: 400},
		"form of another type":         {method: "POST", body: form, headers: []string{"Content-Type", "text/plain"}, status: 401},
		"form too large":               {method: "POST", body: form + strings.Repeat("x", 64<<10), headers: []string{"Content-Type", formType}, status: 401},
		"header beside a large form":   {method: "POST", body: strings.Repeat("x", 1<<20), headers: []string{"Content-Type", formType, "Authorization", "Bearer " + token}, status: 200},
		"header and cookie":            {headers: []string{"Cookie", "session=" + token, "Authorization", "Bearer " + token}, status: 400},
		"header and query":             {query: "?access_token=" + token, headers: []string{"Authorization", "Bearer " + token}, status: 400},
		"form and query":               {method: "POST", query: "?access_token=" + token, body: form, headers: []string{"Content-Type", formType}, status: 400},
		"another scheme and a cookie":  {headers: []string{"Cookie", "session=" + token, "Authorization", "Basic YTpi"}, status: 200, private: true},
		"nothing":                      {status: 401},
		"form without a token":         {method: "POST", body: "a=1", headers: []string{"Content-Type", formType}, status: 401},
		"malformed form and no token":  {method: "POST", body: "a=%zz", headers: []string{"Content-Type", formType}, status: 401},
		"refused cookie stays private": {headers: []string{"Cookie", "session=abc"}, status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			method := "GET"
			if test.method != "" {
				method = test.method
			}
			headers := test.headers
			if test.site != "" {
				headers = append(headers, "Sec-Fetch-Site", test.site)
			}
			got := k.send(method, "/protected"+test.query, test.body, headers...)
			require.Equal(t, test.status, got.status, got.body)
			cache := got.header.Get("Cache-Control")
			if test.status != 200 {
				assert.Contains(t, cache, "private")
				return
			}
			assert.Equal(t, test.private, cache == "private")
			assert.Equal(t, "true "+k.account.ID.Hex()+" "+test.body, got.body, "the handler finds the body unread")
		})
	}
}

// TestOutage: a store that does not answer is 503 with Retry-After everywhere,
// and never looks like a bad token.
func TestOutage(t *testing.T) {
	backend, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	k := newKit(t, backend, options{
		grant:      func(c *grant.Config) { c.Logger = logger },
		middleware: func(c *middleware.Config) { c.Logger = logger },
	})
	tokens := k.login()
	require.NoError(t, backend.Close())
	for name, got := range map[string]answer{
		"password":     k.token(passwordForm),
		"unknown name": k.token("grant_type=password&username=nobody&password=x"),
		"refresh":      k.refresh(tokens.RefreshToken),
		"protected":    k.get("/protected", tokens.AccessToken),
		"optional":     k.get("/optional", tokens.AccessToken),
		"group":        k.get("/admins", tokens.AccessToken),
		"revoke":       k.send("POST", "/revoke", "token="+tokens.AccessToken, "Content-Type", formType),
		"introspect":   k.send("POST", "/introspect", "token="+tokens.AccessToken, "Content-Type", formType, "Authorization", "Bearer "+tokens.AccessToken),
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
}

func TestOverloadedHasher(t *testing.T) {
	k := newKit(t, memstore.New(), options{})
	busy := newKit(t, memstore.New(), options{store: func(c *store.Config) { c.Passwords = onceHasher{PasswordHasher: c.Passwords} }})
	for _, form := range []string{passwordForm, "grant_type=password&username=nobody&password=x"} {
		got := busy.token(form)
		assert.Equal(t, 503, got.status)
		assert.NotEmpty(t, got.header.Get("Retry-After"))
		assert.Equal(t, "temporarily_unavailable", got.json(t)["error"])
	}
	assert.Equal(t, 200, k.token(passwordForm).status)
}

// onceHasher can hash, for the account to be made, and is then overloaded.
type onceHasher struct{ store.PasswordHasher }

func (onceHasher) Verify(context.Context, string, func() (string, error)) (bool, bool, error) {
	return false, false, password.ErrOverloaded
}

func TestApprove(t *testing.T) {
	k := newKit(t, memstore.New(), options{grant: func(c *grant.Config) {
		c.Approve = func(_ context.Context, account *store.Account, request grant.PasswordRequest) error {
			switch request.ClientID {
			case "second-factor":
				return &grant.Error{Code: "mfa_required", Description: "a second factor is needed", Status: 403}
			case "broken":
				return fmt.Errorf("the terms service is down")
			case "lost":
				return fmt.Errorf("the terms of this user: %w", store.ErrNotFound)
			}
			return nil
		}
	}})
	assert.Equal(t, 200, k.token(passwordForm).status)
	got := k.token(passwordForm + "&client_id=second-factor")
	assert.Equal(t, 403, got.status)
	assert.Equal(t, map[string]any{"error": "mfa_required", "error_description": "a second factor is needed"}, got.json(t))
	assert.Equal(t, 503, k.token(passwordForm+"&client_id=broken").status)
	assert.Equal(t, 503, k.token(passwordForm+"&client_id=lost").status, "any error that is not a *grant.Error")
	assert.Equal(t, 400, k.token("grant_type=password&username=ada&password=wrong&client_id=second-factor").status, "not asked before the password")
	assert.Equal(t, []grant.EventType{
		grant.EventLoginSucceeded, grant.EventLoginRefused, grant.EventLoginRefused, grant.EventLoginRefused, grant.EventLoginFailed,
	}, k.takeEvents())
	sessions, err := k.accounts.Sessions(t.Context(), k.account.ID)
	require.NoError(t, err)
	assert.Len(t, sessions, 1)
}

func TestSessionEvictedEvent(t *testing.T) {
	k := newKit(t, memstore.New(), options{store: func(c *store.Config) { c.MaxSessions = 1 }})
	first := k.login()
	k.login()
	assert.Equal(t, []grant.EventType{grant.EventLoginSucceeded, grant.EventSessionEvicted, grant.EventLoginSucceeded}, k.takeEvents())
	assert.Equal(t, 401, k.get("/protected", first.AccessToken).status)
}

func TestRevocation(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		revoke := func(token string) answer {
			return k.send("POST", "/revoke", "token="+token, "Content-Type", formType)
		}
		for name, choose := range map[string]func(first, second grant.Response) string{
			"access token":              func(_, second grant.Response) string { return second.AccessToken },
			"refresh token":             func(_, second grant.Response) string { return second.RefreshToken },
			"access token, old":         func(first, _ grant.Response) string { return first.AccessToken },
			"refresh token, old":        func(first, _ grant.Response) string { return first.RefreshToken },
			"access token, expired":     func(first, _ grant.Response) string { k.sleep(time.Hour); return first.AccessToken },
			"with a hint that is wrong": func(first, _ grant.Response) string { return first.AccessToken + "&token_type_hint=refresh_token" },
		} {
			t.Run(name, func(t *testing.T) {
				other := k.login()
				first := k.login()
				second := k.mustRefresh(first.RefreshToken)
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
		k.sleep(40 * 24 * time.Hour)
		assert.Equal(t, 200, revoke(late.RefreshToken).status, "the session itself has expired")

		good := k.login()
		for _, garbage := range []string{"x", "a.b.c", good.AccessToken[:len(good.AccessToken)-6] + "AAAAAA"} {
			assert.Equal(t, 200, revoke(garbage).status)
		}
		assert.Equal(t, 200, k.get("/protected", good.AccessToken).status)
		for body, status := range map[string]int{"": 400, "token=": 400, "token=a&token=b": 400} {
			assert.Equal(t, status, k.send("POST", "/revoke", body, "Content-Type", formType).status, body)
		}
		assert.Equal(t, 405, k.send("GET", "/revoke?token=x", "").status)
		assert.Equal(t, 400, k.send("POST", "/revoke?token=x", "", "Content-Type", formType).status)
	})
}

func TestIntrospection(t *testing.T) {
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{})
		server, err := k.accounts.Create(t.Context(), store.NewAccount{Name: "server", Email: "server@example.org", Groups: []string{"introspect"}, NoPassword: true})
		require.NoError(t, err)
		ask := func(token string, headers ...string) answer {
			if len(headers) == 0 {
				own, err := k.server.Issue(t.Context(), server.ID, grant.Origin{})
				require.NoError(t, err)
				headers = []string{"Authorization", "Bearer " + own.AccessToken}
			}
			return k.send("POST", "/introspect", "token="+token, append(headers, "Content-Type", formType)...)
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
			"iss": issuerURL, "aud": []any{audience}, "iat": float64(epoch.Unix()), "exp": float64(epoch.Unix() + 900),
			"groups": []any{"editors"},
		}, members)

		for name, token := range map[string]string{"refresh token": tokens.RefreshToken, "garbage": "x"} {
			got := ask(token)
			assert.Equal(t, 200, got.status, name)
			assert.Equal(t, `{"active":false}`, got.body, name)
		}
		// It counts as use: the token before is reuse afterwards.
		second := k.mustRefresh(tokens.RefreshToken)
		ask(second.AccessToken)
		k.sleep(time.Minute)
		assert.Equal(t, 400, k.refresh(tokens.RefreshToken).status)
		assert.Equal(t, `{"active":false}`, ask(second.AccessToken).body, "the session has ended")

		expired := k.login()
		k.sleep(15 * time.Minute)
		assert.Equal(t, `{"active":false}`, ask(expired.AccessToken).body)
		disabled := k.login()
		require.NoError(t, k.accounts.Disable(t.Context(), k.account.ID))
		assert.Equal(t, `{"active":false}`, ask(disabled.AccessToken).body)

		require.NoError(t, k.accounts.Enable(t.Context(), k.account.ID))
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
		}
		assert.Equal(t, 400, ask("").status)
		assert.Equal(t, 405, k.send("GET", "/introspect?token=x", "").status)
		assert.Equal(t, 400, k.send("POST", "/introspect?token=x", "", "Content-Type", formType).status)
	})
}

func TestClients(t *testing.T) {
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
	eachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, backend, options{grant: func(c *grant.Config) { c.Clients = clients }})
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
		k.sleep(59 * time.Minute)
		ours = k.mustToken(refreshForm(ours.RefreshToken) + "&client_id=app")
		k.sleep(30*time.Minute + 50*time.Second)
		last := k.mustToken(refreshForm(ours.RefreshToken) + "&client_id=app")
		assert.Equal(t, int64(10), last.ExpiresIn, "the session of this client ends after 90 minutes")

		revoke := func(form string, headers ...string) answer {
			return k.send("POST", "/revoke", form, append(headers, "Content-Type", formType)...)
		}
		got := revoke("token="+last.AccessToken, basic("web", secret)...)
		assert.Equal(t, 400, got.status)
		assert.Equal(t, "invalid_grant", got.json(t)["error"])
		assert.Equal(t, 401, revoke("token="+last.AccessToken+"&client_id=who").status)
		assert.Equal(t, 200, k.get("/protected", last.AccessToken).status)
		assert.Equal(t, 200, revoke("token=garbage&client_id=app").status)
		assert.Equal(t, 200, revoke("token="+last.AccessToken+"&client_id=app").status)
		assert.Equal(t, 401, k.get("/protected", last.AccessToken).status)

		fresh := k.mustToken(passwordForm + "&client_id=app")
		ask := func(headers ...string) answer {
			return k.send("POST", "/introspect", "token="+fresh.AccessToken, append(headers, "Content-Type", formType)...)
		}
		assert.Contains(t, ask(basic("api", secret)...).body, `"active":true`)
		assert.Equal(t, `{"active":false}`, ask(basic("other-api", secret)...).body, "tokens of another audience")
		assert.Equal(t, 401, ask(basic("web", secret)...).status)
		assert.Equal(t, 401, ask(basic("api", "x")...).status)
	})
}

// TestMetadata: where the endpoints are, and what they take, follows from the server.
func TestMetadata(t *testing.T) {
	clients, err := grant.NewClients(grant.Client{ID: "app"})
	require.NoError(t, err)
	const basic, post, none = "client_secret_basic", "client_secret_post", "none"
	for name, test := range map[string]struct {
		issuer        string
		path          string
		change        func(*grant.Config)
		methods       []any
		introspection []any
	}{
		"as it is":          {issuerURL, "", nil, []any{none}, []any{"Bearer"}},
		"slash at the end":  {issuerURL + "/", "", nil, []any{none}, []any{"Bearer"}},
		"path":              {issuerURL + "/tenant/a", "/tenant/a", nil, []any{none}, []any{"Bearer"}},
		"path with a slash": {issuerURL + "/tenant/a/", "/tenant/a", nil, []any{none}, []any{"Bearer"}},
		"clients":           {issuerURL, "", func(c *grant.Config) { c.Clients = clients }, []any{basic, post, none}, []any{basic, post, "Bearer"}},
		"clients alone":     {issuerURL, "", func(c *grant.Config) { c.Clients, c.MayIntrospect = clients, nil }, []any{basic, post, none}, []any{basic, post}},
		"no introspection":  {issuerURL, "", func(c *grant.Config) { c.MayIntrospect = nil }, []any{none}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, memstore.New(), options{issuer: test.issuer, grant: test.change})
			want := map[string]any{
				"issuer": test.issuer, "token_endpoint": issuerURL + test.path + "/token", "revocation_endpoint": issuerURL + test.path + "/revoke",
				"grant_types_supported":                      []any{"password", "refresh_token"},
				"response_types_supported":                   []any{},
				"token_endpoint_auth_methods_supported":      test.methods,
				"revocation_endpoint_auth_methods_supported": test.methods,
			}
			if test.introspection != nil {
				want["introspection_endpoint"] = issuerURL + test.path + "/introspect"
				want["introspection_endpoint_auth_methods_supported"] = test.introspection
			}
			assert.Equal(t, want, k.send("GET", "/.well-known/oauth-authorization-server"+test.path, "").json(t))

			// Every URL it names answers.
			for endpoint, status := range map[string]int{"/token": 400, "/revoke": 400, "/introspect": 401, "/.well-known/jwks.json": 405} {
				if endpoint == "/introspect" && test.introspection == nil {
					status = 404
				}
				got := k.send("POST", test.path+endpoint, "x=y", "Content-Type", formType)
				if test.change != nil && endpoint != "/.well-known/jwks.json" && status == 400 && len(test.methods) > 1 {
					status = 401 // no client is named
				}
				assert.Equal(t, status, got.status, endpoint)
			}
		})
	}
}

func TestKeysAreMetadata(t *testing.T) {
	k := newKit(t, memstore.New(), options{})
	const metadata, jwks = "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"
	assert.JSONEq(t, `{"keys":[]}`, k.send("GET", jwks, "").body, "a shared secret is never published")
	assert.NotContains(t, k.send("GET", metadata, "").body, "jwks_uri")

	public, err := tokens.GenerateKey(tokens.EdDSA)
	require.NoError(t, err)
	before := k.send("GET", jwks, "")
	require.NoError(t, k.issuer.Keys().Replace(k.issuer.Keys().Active(), public))
	after := k.send("GET", jwks, "")
	assert.NotEqual(t, before.header.Get("ETag"), after.header.Get("ETag"))
	assert.Equal(t, issuerURL+jwks, k.send("GET", metadata, "").json(t)["jwks_uri"])
	published := after.json(t)["keys"].([]any)
	require.Len(t, published, 1)
	members := published[0].(map[string]any)
	assert.NotEmpty(t, members["x"])
	delete(members, "x")
	assert.Equal(t, map[string]any{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": public.ID()}, members)

	for _, path := range []string{metadata, jwks} {
		got := k.send("GET", path, "")
		assert.Equal(t, "application/json", got.header.Get("Content-Type"))
		assert.Contains(t, got.header.Get("Cache-Control"), "public, max-age=")
		assert.Equal(t, 304, k.send("GET", path, "", "If-None-Match", got.header.Get("ETag")).status)
		assert.Equal(t, 200, k.send("HEAD", path, "").status)
		assert.Equal(t, 405, k.send("POST", path, "").status)
	}
}
