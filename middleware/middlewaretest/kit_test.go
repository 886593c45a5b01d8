package middlewaretest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// t stands for the *testing.T of a test in the examples, which have none.
var t testing.TB = exampleT{}

type exampleT struct{ testing.TB }

func (exampleT) Helper()                  {}
func (exampleT) Cleanup(func())           {}
func (exampleT) Context() context.Context { return context.Background() }
func (exampleT) Output() io.Writer        { return io.Discard }

// failingT notes what a test was ended with.
type failingT struct {
	testing.TB
	fatal string
}

func (f *failingT) Fatalf(format string, arguments ...any) {
	f.fatal = fmt.Sprintf(format, arguments...)
	panic(f)
}

func fatalOf(t *testing.T, work func(testing.TB)) string {
	t.Helper()
	f := &failingT{TB: t}
	assert.PanicsWithValue(t, f, func() { work(f) })
	return f.fatal
}

func status(protect func(http.Handler) http.Handler, r *http.Request) int {
	recorder := httptest.NewRecorder()
	protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(recorder, r)
	return recorder.Code
}

func TestRequestHasARealToken(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	ada := kit.Account("Ada", "editors")
	r := kit.Request("POST", "/x?y=z", ada)
	assert.Equal(t, "POST /x?y=z", r.Method+" "+r.RequestURI)
	caller, err := kit.Auth.AuthenticateRequest(r)
	require.NoError(t, err)
	assert.Equal(t, ada.ID, caller.AccountID)
	assert.Equal(t, 200, status(kit.Auth.RequireGroup("editors"), r))
	assert.Equal(t, 403, status(kit.Auth.RequireGroup("admin"), r))
	require.NoError(t, kit.Accounts.EndSession(t.Context(), ada.ID, caller.SessionID))
	assert.Equal(t, 401, status(kit.Auth.Require, r))
	assert.Equal(t, 200, status(kit.Auth.Require, kit.Request("GET", "/", ada)), "a new session each time")
}

func TestAccountLogsInWithThePassword(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	ada := kit.Account("ada")
	assert.Equal(t, "ada@example.org", ada.Email)
	for _, username := range []string{"ada", "ada@example.org"} {
		_, err := kit.Server.Password(t.Context(), grant.PasswordRequest{Username: username, Password: middlewaretest.Password})
		assert.NoError(t, err)
	}
	assert.Equal(t, []grant.EventType{grant.EventLoginSucceeded, grant.EventLoginSucceeded}, kit.TakeEvents())
	assert.Empty(t, kit.TakeEvents())
}

func TestContextPassesTheWrappers(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	nobody := &store.Account{ID: store.NewID(), Groups: []string{"editors"}} // in no store
	ctx := kit.Context(t.Context(), nobody)
	assert.Equal(t, nobody.ID, middleware.MustAccountID(ctx))
	r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	assert.Equal(t, 200, status(kit.Auth.RequireGroup("editors"), r))
	assert.Equal(t, 403, status(kit.Auth.RequireGroup("admin"), r))
	other := middlewaretest.New(t, middlewaretest.Config{})
	assert.Equal(t, 401, status(other.Auth.Require, r))
}

// TestEveryPartHasTheClock: what one part makes expires in all others.
func TestEveryPartHasTheClock(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	assert.Equal(t, kit.Now(), kit.Now(), "it stands still")
	began := kit.Now()
	response := kit.Token(kit.Account("ada"))
	var all sync.WaitGroup
	for range 15 {
		all.Go(func() { kit.Sleep(time.Minute) })
	}
	all.Wait()
	assert.Equal(t, began.Add(15*time.Minute), kit.Now())
	_, err := kit.Auth.Authenticate(t.Context(), response.AccessToken)
	assert.ErrorIs(t, err, tokens.ErrExpired)
	refreshed, err := kit.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: response.RefreshToken})
	require.NoError(t, err)
	caller, err := kit.Auth.Authenticate(t.Context(), refreshed.AccessToken)
	require.NoError(t, err)
	assert.True(t, caller.Expiry.Equal(began.Add(30*time.Minute)))

	running := middlewaretest.New(t, middlewaretest.Config{Now: time.Now})
	running.Sleep(time.Hour)
	assert.WithinDuration(t, time.Now().Add(time.Hour), running.Now(), time.Minute)
}

func TestHooksChangeEachConfiguration(t *testing.T) {
	backend := memstore.New()
	var events []grant.EventType
	kit := middlewaretest.New(t, middlewaretest.Config{
		Backend: backend, Issuer: "https://other.example.org",
		Tokens: func(c *tokens.IssuerConfig) { c.Audience = "https://api.example.org" },
		Store:  func(c *store.Config) { c.MaxSessions = 1 },
		Grant: func(c *grant.Config) {
			c.AccessTTL = time.Minute
			c.Event = func(_ context.Context, event grant.Event) { events = append(events, event.Type) }
		},
		Middleware: func(c *middleware.Config) { c.Query = true },
	})
	ada := kit.Account("ada")
	_, err := backend.FindByID(t.Context(), ada.ID)
	assert.NoError(t, err)
	assert.Equal(t, "https://other.example.org", kit.Issuer.URL())
	assert.Equal(t, "https://api.example.org", kit.Issuer.Audience())
	response := kit.Token(ada)
	assert.Equal(t, int64(60), response.ExpiresIn)
	response = kit.Token(ada)
	assert.Equal(t, []grant.EventType{grant.EventSessionIssued, grant.EventSessionEvicted, grant.EventSessionIssued}, events)
	assert.Empty(t, kit.TakeEvents())
	assert.Equal(t, 200, status(kit.Auth.Require, httptest.NewRequest("GET", "/?access_token="+response.AccessToken, nil)))
}

// TestReuseSeenByTheMiddlewareIsAnEvent: the events of all parts go the same way.
func TestReuseSeenByTheMiddlewareIsAnEvent(t *testing.T) {
	var own []grant.EventType
	for _, config := range []middlewaretest.Config{{}, {Grant: func(c *grant.Config) {
		c.Event = func(_ context.Context, event grant.Event) { own = append(own, event.Type) }
	}}} {
		kit := middlewaretest.New(t, config)
		first := kit.Token(kit.Account("ada"))
		refresh := func() *grant.Response {
			response, err := kit.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: first.RefreshToken})
			require.NoError(t, err)
			return response
		}
		lost := refresh()
		kit.Sleep(time.Minute)
		refresh()
		kit.TakeEvents()
		own = nil
		_, err := kit.Auth.Authenticate(t.Context(), lost.AccessToken)
		assert.ErrorIs(t, err, store.ErrSuperseded)
		want := []grant.EventType{grant.EventRefreshTokenReused}
		if config.Grant != nil {
			assert.Equal(t, want, own)
			want = nil
		}
		assert.Equal(t, want, kit.TakeEvents())
	}
}

func TestGroupIntrospectMayIntrospect(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	for name, want := range map[string]int{"introspect": 400, "other": 401} { // 400: no token is named
		r := kit.Request("POST", "/introspect", kit.Account(name, name))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		recorder := httptest.NewRecorder()
		kit.Server.IntrospectionHandler().ServeHTTP(recorder, r)
		assert.Equal(t, want, recorder.Code, name)
	}
}

func TestFailureSaysWhatCannotBeMade(t *testing.T) {
	assert.Contains(t, fatalOf(t, func(t testing.TB) {
		middlewaretest.New(t, middlewaretest.Config{Issuer: "no URL"})
	}), "middlewaretest: the kit cannot be made: tokens: issuer configuration: ")
	assert.Contains(t, fatalOf(t, func(t testing.TB) {
		kit := middlewaretest.New(t, middlewaretest.Config{})
		kit.Account("ada")
		kit.Account("ada")
	}), `middlewaretest: the account "ada" cannot be made: `)
	assert.Contains(t, fatalOf(t, func(t testing.TB) {
		middlewaretest.New(t, middlewaretest.Config{}).Request("GET", "/", &store.Account{Name: "ada"})
	}), `middlewaretest: no tokens for the account "ada": `)
}

// loggingT keeps the log of a test, and ends when it is told to.
type loggingT struct {
	testing.TB
	log bytes.Buffer
	end func()
}

func (l *loggingT) Output() io.Writer { return &l.log }
func (l *loggingT) Cleanup(f func())  { l.end = f }

// TestLogTellsWhyARequestWasRefused: until the test has ended. A handler may run on,
// and package testing panics at what is logged then.
func TestLogTellsWhyARequestWasRefused(t *testing.T) {
	l := &loggingT{TB: t}
	kit := middlewaretest.New(l, middlewaretest.Config{})
	r := kit.Request("GET", "/", kit.Account("ada"))
	kit.Sleep(time.Hour)
	assert.Equal(t, 401, status(kit.Auth.Require, r))
	assert.Contains(t, l.log.String(), tokens.ErrExpired.Error())
	l.log.Reset()
	l.end()
	assert.Equal(t, 401, status(kit.Auth.Require, r))
	assert.Empty(t, l.log.String())
}

// TestHasherRefusesToRunInAProgram: a hash that costs nothing protects nobody.
func TestHasherRefusesToRunInAProgram(t *testing.T) {
	output, err := exec.Command("go", "run", "./testdata/hasher").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(output), "panic: middlewaretest: Hasher protects no password and works in tests alone: use password.New")
}
