package grant_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
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
	"github.com/oauthsv/oauthsv/tokens"
)

func TestGoCallsReturnTypedErrors(t *testing.T) {
	server, account := newServer(t, memstore.New(), nil)
	ctx := t.Context()
	response, err := server.Password(ctx, grant.PasswordRequest{Username: "ada", Password: middlewaretest.Password})
	require.NoError(t, err)
	assert.Equal(t, account.ID, response.AccountID)
	refreshed, err := server.Refresh(ctx, grant.RefreshRequest{RefreshToken: response.RefreshToken})
	require.NoError(t, err)
	assert.Equal(t, response.SessionID, refreshed.SessionID)
	issued, err := server.Issue(ctx, account.ID, grant.Origin{ClientID: "robot"})
	require.NoError(t, err)
	assert.NotEqual(t, response.SessionID, issued.SessionID)

	var failure *grant.Error
	_, err = server.Password(ctx, grant.PasswordRequest{Username: "ada", Password: "wrong"})
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, grant.CodeInvalidGrant, failure.Code)
	assert.ErrorIs(t, err, store.ErrCredentials)
	_, err = server.Refresh(ctx, grant.RefreshRequest{RefreshToken: issued.AccessToken})
	require.ErrorAs(t, err, &failure)
	assert.ErrorIs(t, err, tokens.ErrType)
	_, err = server.Issue(ctx, store.NewID(), grant.Origin{})
	require.ErrorAs(t, err, &failure)
	assert.ErrorIs(t, err, store.ErrNotFound)
}

// TestIssueSaysThatAnAccountIsDisabled: an administrator is told what is wrong, and
// no login has failed.
func TestIssueSaysThatAnAccountIsDisabled(t *testing.T) {
	var events []grant.EventType
	var accounts *store.Accounts
	server, account := newServer(t, memstore.New(), func(c *grant.Config) {
		accounts = c.Accounts
		c.Event = func(_ context.Context, event grant.Event) { events = append(events, event.Type) }
	})
	require.NoError(t, accounts.Disable(t.Context(), account.ID))
	_, err := server.Issue(t.Context(), account.ID, grant.Origin{})
	assert.ErrorIs(t, err, store.ErrDisabled)
	assert.NotErrorIs(t, err, store.ErrCredentials)
	assert.NotContains(t, err.Error(), "password")
	_, err = server.Issue(t.Context(), store.NewID(), grant.Origin{})
	assert.ErrorIs(t, err, store.ErrNotFound)
	assert.Equal(t, []grant.EventType{grant.EventIssueFailed, grant.EventIssueFailed}, events)
}

// TestErrorTextNamesTheCause: for the log of a program that calls Go.
func TestErrorTextNamesTheCause(t *testing.T) {
	server, account := newServer(t, memstore.New(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := server.Issue(ctx, account.ID, grant.Origin{})
	assert.EqualError(t, err, "grant: temporarily_unavailable: try again later: context canceled")
	assert.EqualError(t, grant.ProblemOf(err), "grant: try again later: "+err.Error())
	assert.EqualError(t, grant.Malformed("write less", "name"), "grant: the request is malformed")
}

func TestOriginIsRecordedOnlyIfAskedFor(t *testing.T) {
	for _, record := range []bool{false, true} {
		backend := memstore.New()
		server, account := newServer(t, backend, func(c *grant.Config) { c.RecordOrigin = record })
		_, err := server.Password(t.Context(), grant.PasswordRequest{
			Username: "ada", Password: middlewaretest.Password, Origin: grant.Origin{Address: "192.0.2.1", UserAgent: "curl\x1b[2J\n" + strings.Repeat("\u00e9", 200)},
		})
		require.NoError(t, err)
		found, err := backend.FindByID(t.Context(), account.ID)
		require.NoError(t, err)
		session := found.Sessions[0]
		if !record {
			assert.Empty(t, session.Address+session.UserAgent)
			continue
		}
		assert.Equal(t, "192.0.2.1", session.Address)
		assert.True(t, strings.HasPrefix(session.UserAgent, "curl[2J\u00e9"), "%q", session.UserAgent)
		assert.LessOrEqual(t, len(session.UserAgent), 256)
	}
}

// TestLogHoldsNoSecret: what is logged by default names accounts by id, holds no
// secret, and cannot be forged into another line.
func TestLogHoldsNoSecret(t *testing.T) {
	var log bytes.Buffer
	server, account := newServer(t, memstore.New(), func(c *grant.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	web := httptest.NewServer(server.TokenHandler())
	defer web.Close()
	for _, form := range []string{
		passwordForm + "&client_id=app",
		"grant_type=password&username=ada&password=hunter2",
		"grant_type=password&username=hunter2&password=ada",
		"grant_type=refresh_token&refresh_token=hunter2",
	} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", web.URL, strings.NewReader(form))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("User-Agent", "agent "+strings.Repeat("x", 1000))
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		response.Body.Close()
	}
	text := log.String()
	assert.Contains(t, text, "login_succeeded account_id="+account.ID.Hex())
	assert.Contains(t, text, `reason="wrong password"`)
	assert.Contains(t, text, `reason="unknown name"`)
	assert.Contains(t, text, "refresh_failed")
	assert.Contains(t, text, "address=127.0.0.1")
	assert.NotContains(t, text, "hunter2")
	assert.NotContains(t, text, middlewaretest.Password)
	assert.Equal(t, 4, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		assert.Less(t, len(line), 700)
	}
}

// TestOutagesAreLogged: an operator reads why. What clients do wrong is none.
func TestOutagesAreLogged(t *testing.T) {
	var log bytes.Buffer
	outage := store.ErrUnavailable
	server, _ := newServer(t, memstore.New(), func(c *grant.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Clients = brokenClients{}
		c.MayIntrospect = func(*http.Request) (bool, error) { return true, outage }
	})
	own := server.Problems(func(http.ResponseWriter, *http.Request) error { return outage })
	for path, handler := range map[string]http.Handler{"/revoke": server.RevocationHandler(), "/introspect": server.IntrospectionHandler(), "/own": own} {
		request := httptest.NewRequest("POST", path+"?key=hunter2", strings.NewReader("token=x&client_id=app"))
		request.Header.Set("Content-Type", formType)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		assert.Equal(t, 503, recorder.Code, path)
		assert.Equal(t, 1, strings.Count(log.String(), "a request could not be answered"), "%s: %s", path, &log)
		assert.Contains(t, log.String(), "level=WARN")
		assert.Contains(t, log.String(), "path="+path)
		assert.Contains(t, log.String(), outage.Error())
		assert.NotContains(t, log.String(), "hunter2", "a query may hold a secret")
		log.Reset()
	}
	outage = tokens.ErrExpired
	for path, handler := range map[string]http.Handler{
		"/revoke": server.RevocationHandler(), "/introspect": server.IntrospectionHandler(),
		"/own": server.Problems(func(http.ResponseWriter, *http.Request) error { return store.ErrNotFound }),
	} {
		request := httptest.NewRequest("POST", path, strings.NewReader(""))
		if path == "/introspect" {
			request.Header.Set("Content-Type", formType)
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		assert.Equal(t, 4, recorder.Code/100, path)
		assert.Empty(t, log.String(), path)
	}
}

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := grant.NewServer(grant.Config{AccessTTL: time.Millisecond, DefaultClientID: "\n"})
	for _, field := range []string{"Accounts", "Issuer", "AccessTTL", "DefaultClientID"} {
		assert.ErrorContains(t, err, field)
	}
	_, err = grant.NewClients(
		grant.Client{ID: ""}, grant.Client{ID: "a", SecretHash: "x"}, grant.Client{ID: "b", MayIntrospect: true},
		grant.Client{ID: "c", Grants: []string{"implicit"}}, grant.Client{ID: "d", AccessTTL: 1}, grant.Client{ID: "d"},
	)
	for _, problem := range []string{"ID must be", "SecretHash", "MayIntrospect", `"implicit"`, "AccessTTL", "twice"} {
		assert.ErrorContains(t, err, problem)
	}
	_, err = grant.HashClientSecret("hunter2")
	assert.ErrorContains(t, err, "too short")
	assert.NotContains(t, err.Error(), "hunter2")
}

// TestConfigurationBounds: the last value that is taken, and the first that is refused.
func TestConfigurationBounds(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	server := func(change func(*grant.Config)) error {
		config := grant.Config{Accounts: kit.Accounts, Issuer: kit.Issuer}
		change(&config)
		_, err := grant.NewServer(config)
		return err
	}
	client := func(c grant.Client) error {
		if c.ID == "" {
			c.ID = "app"
		}
		_, err := grant.NewClients(c)
		return err
	}
	hash := func(bytes int) string {
		return "$sha256$" + base64.RawStdEncoding.EncodeToString(make([]byte, bytes))
	}
	type values struct {
		field  string // as the error names it
		try    func(value any) error
		good   []any
		refuse []any
	}
	duration := func(name string, set func(*grant.Client, time.Duration), good, refuse []any) values {
		return values{name, func(value any) error {
			var c grant.Client
			set(&c, value.(time.Duration))
			return client(c)
		}, append(good, time.Duration(0), time.Second, time.Hour), append(refuse, time.Second-1, time.Nanosecond)}
	}
	ids, noIDs := []any{"a", " ", "~", strings.Repeat("x", 256)}, []any{"\x1f", "\x7f", "\u00e9", strings.Repeat("x", 257)}
	negative := []any{-time.Second, store.Off}
	for _, test := range []values{
		{"AccessTTL", func(v any) error { return server(func(c *grant.Config) { c.AccessTTL = v.(time.Duration) }) },
			[]any{time.Duration(0), time.Second, time.Hour}, append(negative, time.Second-1)},
		{"DefaultClientID", func(v any) error { return server(func(c *grant.Config) { c.DefaultClientID = v.(string) }) }, append(ids, ""), noIDs},
		{"RefreshCookies", func(v any) error {
			return server(func(c *grant.Config) { c.RefreshCookies = map[string]*grant.RefreshCookie{v.(string): {}} })
		}, ids, append(noIDs, "")},
		{"TrustedProxies", func(v any) error {
			return server(func(c *grant.Config) { c.TrustedProxies = []netip.Prefix{v.(netip.Prefix)} })
		}, []any{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::ffff:0.0.0.0/96"), netip.MustParsePrefix("::1/128")}, []any{netip.Prefix{}}},
		{"TrustedProxies has no effect", func(v any) error {
			return server(func(c *grant.Config) {
				c.ClientAddress = func(*http.Request) string { return "" }
				c.TrustedProxies = v.([]netip.Prefix)
			})
		}, []any{[]netip.Prefix(nil), []netip.Prefix{}}, []any{[]netip.Prefix{netip.MustParsePrefix("::1/128")}}},
		{"ID", func(v any) error { _, err := grant.NewClients(grant.Client{ID: v.(string)}); return err }, ids, append(noIDs, "")},
		{"SecretHash", func(v any) error { return client(grant.Client{SecretHash: v.(string)}) },
			[]any{"", hash(32)}, []any{hash(31), hash(33), hash(0), hash(32) + "=", hash(32)[1:], hash(32)[len("$sha256$"):], strings.TrimSuffix(hash(32), "A") + "B"}},
		{"Grants", func(v any) error { return client(grant.Client{Grants: v.([]string)}) },
			[]any{[]string(nil), []string{}, []string{"password"}, []string{"refresh_token"}}, []any{[]string{""}, []string{"password", "implicit"}}},
		duration("AccessTTL", func(c *grant.Client, d time.Duration) { c.AccessTTL = d }, nil, negative),
		duration("RefreshTTL", func(c *grant.Client, d time.Duration) { c.RefreshTTL = d }, nil, negative),
		duration("SessionTTL", func(c *grant.Client, d time.Duration) { c.SessionTTL = d }, []any{store.Off}, nil),
		{"too short", func(v any) error { _, err := grant.HashClientSecret(v.(string)); return err },
			[]any{strings.Repeat("x", 32)}, []any{strings.Repeat("x", 31), ""}},
	} {
		for _, value := range test.good {
			assert.NoError(t, test.try(value), "%s: %v", test.field, value)
		}
		for _, value := range test.refuse {
			assert.ErrorContains(t, test.try(value), test.field, "%s: %v", test.field, value)
		}
	}
}

func FuzzHandler(f *testing.F) {
	k := middlewaretest.New(f, middlewaretest.Config{
		// Else the first failed logins hide what is behind them.
		Store: func(c *store.Config) { c.Throttle = store.Throttle{FreeFailures: -1, AddressFailures: -1} },
		Grant: func(c *grant.Config) {
			c.AcceptJSON = true
			c.Event = func(context.Context, grant.Event) {}
			c.Logger = slog.New(slog.DiscardHandler)
		},
	})
	k.Account("ada")
	handler := k.Server.TokenHandler()
	f.Add("POST", "application/x-www-form-urlencoded", "a=b", passwordForm, "Basic YTpi")
	f.Add("POST", "application/json", "", `{"grant_type":"refresh_token","refresh_token":"a.b.c"}`, "")
	f.Fuzz(func(t *testing.T, method, contentType, query, body, authorization string) {
		request := httptest.NewRequest("POST", "/token", strings.NewReader(body))
		request.Method = method
		request.URL.RawQuery = query
		request.Header.Set("Content-Type", contentType)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		require.Contains(t, []int{200, 400, 401, 405, 413}, recorder.Code)
		require.Equal(t, "no-store", recorder.Header().Get("Cache-Control"))
		require.True(t, strings.HasPrefix(recorder.Body.String(), "{"))
	})
}

// BenchmarkRefresh is one refresh through the handler: form in, JSON out.
func BenchmarkRefresh(b *testing.B) {
	mongotest.EachStore(b, func(b *testing.B, backend store.Backend) {
		server, account := newServer(b, backend, func(c *grant.Config) { c.Logger = slog.New(slog.DiscardHandler) })
		handler := server.TokenHandler()
		response, err := server.Issue(b.Context(), account.ID, grant.Origin{})
		require.NoError(b, err)
		token := response.RefreshToken
		b.ReportAllocs()
		for b.Loop() {
			request := httptest.NewRequest("POST", "/token", strings.NewReader("grant_type=refresh_token&refresh_token="+token))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			body := recorder.Body.String()
			const field = `"refresh_token":"`
			token = body[strings.Index(body, field)+len(field) : len(body)-2]
		}
	})
}

// TestPasswordChangeKeepsToTheClient: the session that it starts has the lifetimes of the client, and an
// origin that is fit for records.
func TestPasswordChangeKeepsToTheClient(t *testing.T) {
	clients, err := grant.NewClients(grant.Client{ID: "app", SessionTTL: time.Minute})
	require.NoError(t, err)
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) { c.Clients, c.RecordOrigin = clients, true }})
	response, err := k.Server.ChangePassword(t.Context(), grant.PasswordChange{
		AccountID: k.account.ID, CurrentPassword: middlewaretest.Password, NewPassword: middlewaretest.Password + "s",
		Origin: grant.Origin{ClientID: "app", Address: "192.0.2.1", UserAgent: "curl\x1b\n"},
	})
	require.NoError(t, err)
	assert.Equal(t, k.Now().Add(time.Minute), response.RefreshExpiry.UTC())
	sessions, err := k.Accounts.Sessions(t.Context(), k.account.ID)
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	assert.Equal(t, []any{"app", "192.0.2.1", "curl"}, []any{sessions[0].ClientID, sessions[0].Address, sessions[0].UserAgent})

	created := k.Now()
	k.Sleep(10 * time.Second)
	_, err = k.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: response.RefreshToken, Origin: grant.Origin{ClientID: "app"}})
	require.NoError(t, err)
	sessions, err = k.Accounts.Sessions(t.Context(), k.account.ID)
	require.NoError(t, err)
	views := grant.ViewSessions(sessions, "")
	require.Len(t, views, 1)
	assert.Equal(t, []any{created, k.Now()}, []any{views[0].Created.UTC(), views[0].LastRefreshed.UTC()})
}

// TestProblemIsNotChangedByWriting: several requests may be answered with one.
func TestProblemIsNotChangedByWriting(t *testing.T) {
	server, _ := newServer(t, memstore.New(), nil)
	problem := &grant.Problem{Type: grant.ProblemRefusedValue, Status: 422, Detail: "no \xff"}
	server.WriteProblem(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), problem)
	assert.Equal(t, "no \xff", problem.Detail)
}
