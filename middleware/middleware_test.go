package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
	"github.com/oauthsv/oauthsv/tokens"
)

func TestHandlerFindsItsCaller(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	auth, account, token := k.Auth, k.account, k.token
	ran := false
	auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ran = true
		id, found := middleware.AccountID(r.Context())
		assert.True(t, found)
		assert.Equal(t, account.ID, id)
		whole, found := middleware.Account(r.Context())
		assert.True(t, found)
		assert.Equal(t, "ada", whole.Name)
		session, found := middleware.SessionID(r.Context())
		assert.True(t, found)
		assert.Len(t, session, 22)
		client, found := middleware.ClientID(r.Context())
		assert.True(t, found)
		assert.Equal(t, "app", client)
		expiry, found := middleware.Expiry(r.Context())
		assert.True(t, found)
		assert.True(t, expiry.Equal(k.Now().Add(15*time.Minute)), "%v", expiry)
		assert.Equal(t, account.ID, middleware.MustAccountID(r.Context()))
		assert.Equal(t, whole, middleware.MustAccount(r.Context()))
		assert.Equal(t, session, middleware.MustFromContext(r.Context()).SessionID)
		assert.Equal(t, "outside", r.Context().Value(outsideKey{}), "what stood in the context is still there")
	})).ServeHTTP(httptest.NewRecorder(), request(token).WithContext(context.WithValue(t.Context(), outsideKey{}, "outside")))
	assert.True(t, ran)

	_, found := middleware.AccountID(t.Context())
	assert.False(t, found)
	_, found = middleware.Account(t.Context())
	assert.False(t, found)
	_, found = middleware.SessionID(t.Context())
	assert.False(t, found)
	_, found = middleware.ClientID(t.Context())
	assert.False(t, found)
	_, found = middleware.Expiry(t.Context())
	assert.False(t, found)
	for _, get := range []func(){
		func() { middleware.MustFromContext(t.Context()) },
		func() { middleware.MustAccountID(t.Context()) },
		func() { middleware.MustAccount(t.Context()) },
		func() { _, _ = auth.FreshAccount(t.Context()) },
	} {
		assert.PanicsWithValue(t, "middleware: no caller in the context: wrap the handler with Require or RequireGroup", get)
	}
}

// outsideKey is the key of a value that an outer middleware puts into the context.
type outsideKey struct{}

func TestCallerByHandPassesItsOwnWrappersOnly(t *testing.T) {
	auth, account, _ := newAuth(t, nil)
	other, _, _ := newAuth(t, nil)
	caller := &middleware.Caller{Account: account}
	ctx := middleware.NewContext(t.Context(), caller)
	assert.Equal(t, account.ID, middleware.MustAccountID(ctx))

	// A caller without an account.
	ctx = middleware.NewContext(t.Context(), &middleware.Caller{AccountID: account.ID, SessionID: "s"})
	id, found := middleware.AccountID(ctx)
	assert.True(t, found)
	assert.Equal(t, account.ID, id)
	_, found = middleware.Account(ctx)
	assert.False(t, found)
	assert.Panics(t, func() { middleware.MustAccount(ctx) })
	expiry, found := middleware.Expiry(ctx)
	assert.True(t, found, "there is a caller, though nobody knows when the token expires")
	assert.Zero(t, expiry)

	serve := func(ctx context.Context, protect func(http.Handler) http.Handler) int {
		recorder := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
		protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(recorder, r)
		return recorder.Code
	}
	byOther, byAuth := other.NewContext(t.Context(), caller), auth.NewContext(t.Context(), caller)
	byHand := middleware.NewContext(t.Context(), caller) // which the calls before have not changed
	unasked, _, _ := newAuth(t, func(c *middleware.Config) {
		c.Accounts = finderFunc(func(context.Context, store.SessionRef) (*store.Account, error) { return nil, store.ErrNotFound })
	})
	nowhere := unasked.NewContext(t.Context(), &middleware.Caller{Account: &store.Account{ID: store.NewID()}})
	for name, test := range map[string]struct {
		ctx     context.Context
		protect func(http.Handler) http.Handler
		want    int
	}{
		"its own caller":              {byAuth, auth.Require, 200},
		"its own, in the group":       {byAuth, auth.RequireGroup("editors"), 200},
		"its own, not in the group":   {byAuth, auth.RequireGroup("admin"), 403},
		"its own, without an account": {auth.NewContext(t.Context(), &middleware.Caller{AccountID: account.ID}), auth.RequireGroup("editors"), 403},
		"its own, in no store":        {nowhere, unasked.RequireGroup("admin"), 403},
		"its own, optional":           {byAuth, auth.Optional, 200},
		"another's caller":            {byOther, auth.Require, 401},
		"another's, in the group":     {byOther, auth.RequireGroup("editors"), 401},
		"nobody's caller":             {byHand, auth.Require, 401},
	} {
		assert.Equal(t, test.want, serve(test.ctx, test.protect), name)
	}
	fresh, err := unasked.FreshAccount(nowhere)
	require.NoError(t, err, "no store is asked about a caller by hand")
	assert.Equal(t, middleware.MustAccount(nowhere), fresh)
	assert.Panics(t, func() { _, _ = other.FreshAccount(byAuth) }, "it is none of its callers")
}

// TestAuthenticatedCallerStaysOne: code that cannot use a wrapper puts the caller into the context,
// and the wrappers behind it do what they do for their own.
func TestAuthenticatedCallerStaysOne(t *testing.T) {
	var asked []store.SessionRef
	auth, account, token := newAuth(t, func(c *middleware.Config) {
		c.Query = true
		c.Accounts = finderFunc(func(_ context.Context, ref store.SessionRef) (*store.Account, error) {
			asked = append(asked, ref)
			return &store.Account{ID: ref.AccountID}, nil
		})
	})
	r := httptest.NewRequest("GET", "/?access_token="+token, nil)
	caller, err := auth.AuthenticateRequest(r)
	require.NoError(t, err)
	r = r.WithContext(auth.NewContext(r.Context(), caller))
	recorder := httptest.NewRecorder()
	auth.Require(http.NotFoundHandler()).ServeHTTP(recorder, r)
	assert.Equal(t, 404, recorder.Code)
	assert.Equal(t, "private", recorder.Header().Get("Cache-Control"), "the token came from the query")
	require.Len(t, asked, 1)
	auth.RequireGroup("editors")(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	require.Len(t, asked, 2, "it looks again before it refuses")
	assert.Equal(t, asked[0], asked[1])
	assert.Equal(t, account.ID, asked[1].AccountID)
}

// TestStoreIsAskedInTheContextOfTheRequest: so a caller who hangs up is waited for no longer, and
// what stands in the context can be traced.
func TestStoreIsAskedInTheContextOfTheRequest(t *testing.T) {
	asked := 0
	auth, _, token := newAuth(t, func(c *middleware.Config) {
		c.Accounts = finderFunc(func(ctx context.Context, ref store.SessionRef) (*store.Account, error) {
			asked++
			assert.Equal(t, "outside", ctx.Value(outsideKey{}))
			return &store.Account{ID: ref.AccountID}, nil
		})
	})
	r := request(token).WithContext(context.WithValue(t.Context(), outsideKey{}, "outside"))
	nobody := func(*store.Account) bool { return false }
	auth.RequireFunc(nobody)(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	_, err := auth.MayIntrospect(nobody)(r)
	assert.NoError(t, err)
	assert.Equal(t, 4, asked, "each looks twice")
}

// TestOptionalHidesTheCallerOfAnother: one of the staff is no user.
func TestOptionalHidesTheCallerOfAnother(t *testing.T) {
	staff, member, staffToken := newAuth(t, nil)
	users, _, userToken := newAuth(t, nil)
	var known bool
	var id store.ID
	look := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { id, known = middleware.AccountID(r.Context()) })
	// The staff have their own header; to users the request then has no credentials.
	asStaff := func(next http.Handler) http.Handler {
		return staff.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Authorization")
			next.ServeHTTP(w, r)
		}))
	}
	serve := func(h http.Handler, r *http.Request) int {
		id, known = store.NilID, false
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, r)
		return recorder.Code
	}
	assert.Equal(t, 200, serve(asStaff(users.Optional(look)), request(staffToken)))
	assert.False(t, known, "the handler takes the caller for a user")

	withBoth := request(staffToken)
	both := asStaff(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+userToken)
		users.Optional(look).ServeHTTP(w, r)
	}))
	assert.Equal(t, 200, serve(both, withBoth))
	assert.True(t, known)
	assert.NotEqual(t, member.ID, id)
	assert.Equal(t, 200, serve(asStaff(staff.Optional(look)), request(staffToken)))
	assert.Equal(t, member.ID, id, "its own caller stays")

	r := request("")
	r.Header.Del("Authorization")
	r = r.WithContext(middleware.NewContext(r.Context(), &middleware.Caller{AccountID: member.ID}))
	assert.Equal(t, 200, serve(users.Optional(look), r))
	assert.True(t, known, "a caller that the service has put there by hand stays")
}

// TestWithoutAccountsAGenuineTokenIsEnough: a resource server that has no access to
// the accounts.
func TestWithoutAccountsAGenuineTokenIsEnough(t *testing.T) {
	auth, account, token := newAuth(t, func(c *middleware.Config) { c.Accounts = nil })
	ran := false
	auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ran = true
		caller := middleware.MustFromContext(r.Context())
		assert.Equal(t, account.ID, caller.AccountID)
		assert.Len(t, caller.SessionID, 22)
		assert.Equal(t, "app", caller.ClientID)
		_, found := middleware.Account(r.Context())
		assert.False(t, found)
		assert.Panics(t, func() { _, _ = auth.FreshAccount(r.Context()) })
	})).ServeHTTP(httptest.NewRecorder(), request(token))
	assert.True(t, ran)
	for _, make := range []func(){
		func() { auth.RequireGroup("editors") },
		func() { auth.RequireFunc(func(*store.Account) bool { return true }) },
		func() { auth.MayIntrospect(func(*store.Account) bool { return true }) },
	} {
		assert.Panics(t, make, "said at construction")
	}
}

// TestLooksAgainBeforeRefusing: an account in memory may lack a group that was added
// a moment ago, or have one that was taken away.
func TestLooksAgainBeforeRefusing(t *testing.T) {
	var groups []string
	finder := &memoryFinder{now: func() []string { return groups }}
	auth, _, token := newAuth(t, func(c *middleware.Config) { c.Accounts = finder })
	inGroup := func(a *store.Account) bool { return a.InGroup("g") }
	serve := func() (status int) {
		recorder := httptest.NewRecorder()
		auth.RequireFunc(inGroup)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			assert.True(t, inGroup(middleware.MustAccount(r.Context())), "the handler sees what let the caller in")
		})).ServeHTTP(recorder, request(token))
		return recorder.Code
	}
	assert.Equal(t, 403, serve())
	assert.Equal(t, 1, finder.fresh)
	groups = []string{"g"}
	assert.Equal(t, 200, serve(), "added a moment ago")
	assert.Equal(t, 2, finder.fresh)

	auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.False(t, inGroup(middleware.MustAccount(r.Context())))
		account, err := auth.FreshAccount(r.Context())
		assert.NoError(t, err)
		assert.True(t, inGroup(account))
		finder.err = store.ErrSessionEnded
		_, err = auth.FreshAccount(r.Context())
		var refused *middleware.Error
		assert.ErrorAs(t, err, &refused)
		assert.Equal(t, 401, refused.Status)
	})).ServeHTTP(httptest.NewRecorder(), request(token))
	finder.err = nil
	auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := middleware.MustFromContext(r.Context())
		auth.RequireFunc(inGroup)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		assert.False(t, inGroup(before.Account), "the caller outside is as the wrapper outside has found it")
	})).ServeHTTP(httptest.NewRecorder(), request(token))
	finder.memory = []string{"g"}
	fresh := finder.fresh
	assert.Equal(t, 200, serve())
	assert.Equal(t, fresh, finder.fresh, "no look is needed to let somebody in")
}

// memoryFinder answers from memory, and afresh when it is asked to.
type memoryFinder struct {
	memory []string
	now    func() []string
	fresh  int
	err    error
}

func (f *memoryFinder) FindBySession(_ context.Context, ref store.SessionRef) (*store.Account, error) {
	return &store.Account{ID: ref.AccountID, Groups: f.memory}, nil
}

func (f *memoryFinder) FindBySessionFresh(_ context.Context, ref store.SessionRef, _ *store.Account) (*store.Account, error) {
	f.fresh++
	return &store.Account{ID: ref.AccountID, Groups: f.now()}, f.err
}

func TestAuthenticateReturnsTypedErrors(t *testing.T) {
	auth, account, token := newAuth(t, nil)
	caller, err := auth.AuthenticateRequest(request(token))
	require.NoError(t, err)
	assert.Equal(t, account.ID, caller.Account.ID)
	caller, err = auth.Authenticate(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, account.ID, caller.Account.ID)

	_, err = auth.AuthenticateRequest(httptest.NewRequest("GET", "/", nil))
	assert.ErrorIs(t, err, middleware.ErrNoCredentials)
	_, err = auth.AuthenticateRequest(request("a b"))
	assert.ErrorIs(t, err, middleware.ErrMalformedCredentials)
	_, err = auth.AuthenticateRequest(request("abc"))
	assert.ErrorIs(t, err, tokens.ErrMalformed)
	var failure *middleware.Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, 401, failure.Status)
	var written *middleware.Error
	again, _, _ := newAuth(t, func(c *middleware.Config) {
		c.WriteError = func(_ http.ResponseWriter, _ *http.Request, err *middleware.Error) { written = err }
	})
	again.WriteError(httptest.NewRecorder(), request(""), failure)
	assert.Same(t, failure, written, "what they returned is written as it is")

	recorder := httptest.NewRecorder()
	auth.WriteError(recorder, request(token), middleware.ErrNotAllowed)
	assert.Equal(t, 403, recorder.Code)
	assert.Contains(t, recorder.Header().Get("WWW-Authenticate"), `Bearer realm="api", error="insufficient_scope"`)
}

// TestOwnAccountFinderIsAsked: the account comes from a table of the user's own.
func TestOwnAccountFinderIsAsked(t *testing.T) {
	finder := finderFunc(func(_ context.Context, ref store.SessionRef) (*store.Account, error) {
		return &store.Account{ID: ref.AccountID, Name: "mine"}, nil
	})
	auth, account, token := newAuth(t, func(c *middleware.Config) { c.Accounts = finder })
	caller, err := auth.Authenticate(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, "mine", caller.Account.Name)
	assert.Equal(t, account.ID, caller.Account.ID)

	broken := finderFunc(func(context.Context, store.SessionRef) (*store.Account, error) {
		return nil, errors.New("table is locked")
	})
	auth, _, token = newAuth(t, func(c *middleware.Config) { c.Accounts = broken })
	_, err = auth.Authenticate(t.Context(), token)
	var failure *middleware.Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, 503, failure.Status)
}

type finderFunc func(context.Context, store.SessionRef) (*store.Account, error)

func (f finderFunc) FindBySession(ctx context.Context, ref store.SessionRef) (*store.Account, error) {
	return f(ctx, ref)
}

func (f finderFunc) FindBySessionFresh(ctx context.Context, ref store.SessionRef, _ *store.Account) (*store.Account, error) {
	return f(ctx, ref)
}

func TestWriteErrorReplacesTheAnswer(t *testing.T) {
	auth, _, _ := newAuth(t, func(c *middleware.Config) {
		c.WriteError = func(w http.ResponseWriter, _ *http.Request, err *middleware.Error) {
			http.Error(w, "no: "+err.Code, http.StatusTeapot)
		}
	})
	recorder := httptest.NewRecorder()
	auth.Require(http.NotFoundHandler()).ServeHTTP(recorder, request("abc"))
	assert.Equal(t, http.StatusTeapot, recorder.Code)
	assert.Equal(t, "no: invalid_token\n", recorder.Body.String())

	// WriteError writes as the wrappers do, WriteDefaultError as they would.
	recorder = httptest.NewRecorder()
	auth.WriteError(recorder, request("abc"), middleware.ErrNotAllowed)
	assert.Equal(t, http.StatusTeapot, recorder.Code)
	assert.Equal(t, "no: insufficient_scope\n", recorder.Body.String())
	recorder = httptest.NewRecorder()
	auth.WriteDefaultError(recorder, &middleware.Error{Status: 401, Code: middleware.CodeInvalidToken})
	assert.Equal(t, 401, recorder.Code)
	assert.Contains(t, recorder.Header().Get("WWW-Authenticate"), "Bearer")
}

// TestRetryAfterIsNeverTooShort: the header has whole seconds, so a part of one counts as one.
func TestRetryAfterIsNeverTooShort(t *testing.T) {
	auth, _, _ := newAuth(t, nil)
	for wait, header := range map[time.Duration][]string{
		0: nil, 1: {"1"}, time.Second: {"1"}, time.Second + 1: {"2"}, 90 * time.Second: {"90"}, time.Hour - 1: {"3600"},
	} {
		recorder := httptest.NewRecorder()
		auth.WriteDefaultError(recorder, &middleware.Error{Status: 503, Code: middleware.CodeTemporarilyUnavailable, RetryAfter: wait})
		assert.Equal(t, header, recorder.Header()["Retry-After"], wait)
	}
}

// TestMayIntrospectTellsARefusalFromAnOutage: what grant.Config.MayIntrospect asks for.
func TestMayIntrospectTellsARefusalFromAnOutage(t *testing.T) {
	var found error
	k := newKit(t, middlewaretest.Config{Middleware: func(c *middleware.Config) {
		c.Cookie = "c"
		accounts := c.Accounts
		c.Accounts = finderFunc(func(ctx context.Context, ref store.SessionRef) (*store.Account, error) {
			if found != nil {
				return nil, found
			}
			return accounts.FindBySession(ctx, ref)
		})
	}})
	may := k.Auth.MayIntrospect(func(account *store.Account) bool { return account.InGroup("introspect") })
	good := k.Request("POST", "/", k.Account("server", "introspect"))
	crossSite := httptest.NewRequest("POST", "/", nil)
	crossSite.Header.Set("Cookie", "c="+k.token)
	crossSite.Header.Set("Sec-Fetch-Site", "cross-site")
	outage := errors.New("table is locked")
	for name, test := range map[string]struct {
		request *http.Request
		finds   error
		allowed bool
		err     error
	}{
		"in the group":        {request: good, allowed: true},
		"not in the group":    {request: request(k.token)},
		"nobody":              {request: httptest.NewRequest("POST", "/", nil)},
		"another scheme":      {request: func() *http.Request { r := request(""); r.Header.Set("Authorization", "Basic YTpi"); return r }()},
		"malformed":           {request: request("a b"), err: tokens.ErrInvalid},
		"bad token":           {request: request("abc"), err: tokens.ErrInvalid},
		"from another site":   {request: crossSite, err: tokens.ErrInvalid},
		"a session that ends": {request: good, finds: store.ErrSessionEnded, err: store.ErrSessionEnded},
		"outage":              {request: good, finds: outage, err: outage},
	} {
		found = test.finds
		allowed, err := may(test.request)
		assert.Equal(t, test.allowed, allowed, name)
		assert.ErrorIs(t, err, test.err, name)
	}
}

// TestReuseIsReported: where an access token shows that two holders have a refresh token. The
// default is a warning in the log.
func TestReuseIsReported(t *testing.T) {
	var log bytes.Buffer
	var told []store.SessionRef
	tell := func(_ context.Context, ref store.SessionRef) { told = append(told, ref) }
	superseded := finderFunc(func(context.Context, store.SessionRef) (*store.Account, error) { return nil, store.ErrSuperseded })
	for _, own := range []bool{true, false} {
		auth, account, token := newAuth(t, func(c *middleware.Config) {
			c.Accounts, c.Logger = superseded, slog.New(slog.NewTextHandler(&log, nil))
			if c.TokenReused = nil; own {
				c.TokenReused = tell
			}
		})
		recorder := httptest.NewRecorder()
		auth.Require(http.NotFoundHandler()).ServeHTTP(recorder, request(token))
		assert.Equal(t, 401, recorder.Code)
		if own {
			require.Len(t, told, 1)
			assert.Equal(t, account.ID, told[0].AccountID)
			assert.Len(t, told[0].SessionID, 22)
			assert.Empty(t, log.String())
			continue
		}
		assert.Len(t, told, 1)
		assert.Contains(t, log.String(), "level=WARN msg=refresh_token_reused account_id="+account.ID.Hex()+" session_id=")
		assert.Contains(t, log.String(), " reason=\""+store.ErrSuperseded.Error())
	}

	// Where accounts are cached, the fresh look may be the first to see it.
	told = nil
	auth, account, token := newAuth(t, func(c *middleware.Config) {
		c.TokenReused = tell
		c.Accounts = &memoryFinder{now: func() []string { return nil }, err: store.ErrSuperseded}
	})
	recorder := httptest.NewRecorder()
	auth.RequireGroup("editors")(http.NotFoundHandler()).ServeHTTP(recorder, request(token))
	assert.Equal(t, 401, recorder.Code)
	require.Len(t, told, 1)
	assert.Equal(t, account.ID, told[0].AccountID)
}

func TestErrorTextNamesStatusAndCause(t *testing.T) {
	auth, _, _ := newAuth(t, nil)
	_, err := auth.AuthenticateRequest(httptest.NewRequest("GET", "/", nil))
	assert.EqualError(t, err, "middleware: status 401: middleware: no credentials")
	_, err = auth.Authenticate(t.Context(), "abc")
	assert.ErrorContains(t, err, "middleware: status 401 invalid_token: tokens: malformed token")
	assert.EqualError(t, &middleware.Error{Status: 503, Code: "temporarily_unavailable"}, "middleware: status 503 temporarily_unavailable")
}

// TestResponseWriterIsUntouched: the handler gets the very writer of the server.
func TestResponseWriterIsUntouched(t *testing.T) {
	auth, _, token := newAuth(t, nil)
	recorder := httptest.NewRecorder()
	check := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { assert.Same(t, recorder, w) })
	for _, handler := range []http.Handler{auth.Require(check), auth.Optional(check), auth.RequireGroup("editors")(check)} {
		handler.ServeHTTP(recorder, request(token))
	}
}

// countingFinder counts look-ups.
type countingFinder struct {
	middleware.AccountFinder
	count int
}

func (f *countingFinder) FindBySession(ctx context.Context, ref store.SessionRef) (*store.Account, error) {
	f.count++
	return f.AccountFinder.FindBySession(ctx, ref)
}

func TestNestedWrappersLookUpOnce(t *testing.T) {
	var finder *countingFinder
	auth, _, token := newAuth(t, func(c *middleware.Config) {
		finder = &countingFinder{AccountFinder: c.Accounts}
		c.Accounts = finder
	})
	recorder := httptest.NewRecorder()
	auth.Require(auth.RequireGroup("editors")(auth.Optional(http.NotFoundHandler()))).ServeHTTP(recorder, request(token))
	assert.Equal(t, 404, recorder.Code)
	assert.Equal(t, 1, finder.count)

	// A caller that another authenticator let in is none of this one's.
	other, _, _ := newAuth(t, nil)
	recorder = httptest.NewRecorder()
	auth.Require(other.Require(http.NotFoundHandler())).ServeHTTP(recorder, request(token))
	assert.Equal(t, 401, recorder.Code)
}

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := middleware.New(middleware.Config{Realm: `"`, Cookie: "a b"})
	for _, field := range []string{"Verifier", "Realm", "Cookie"} {
		assert.ErrorContains(t, err, field)
	}
	verifier := newKit(t, middlewaretest.Config{}).Issuer.Verifier()
	for _, test := range []struct {
		config       func(value string) middleware.Config
		field        string
		good, refuse []string
	}{
		{func(s string) middleware.Config { return middleware.Config{Realm: s} }, "Realm", []string{"", " ", "~", "a b"}, []string{"\x1f", "\x7f", `"`, `\`, "\u00e9"}},
		{func(s string) middleware.Config { return middleware.Config{Cookie: s} }, "Cookie", []string{"", "a", "__Host-a"}, []string{" ", "a;b", "\u00e9"}},
	} {
		for i, value := range append(test.good, test.refuse...) {
			config := test.config(value)
			config.Verifier = verifier
			_, err := middleware.New(config)
			if i < len(test.good) {
				assert.NoError(t, err, "%s %q", test.field, value)
			} else {
				assert.ErrorContains(t, err, test.field, value)
			}
		}
	}
}

func FuzzAuthenticateRequest(f *testing.F) {
	auth, account, token := newAuth(f, func(c *middleware.Config) {
		c.Cookie, c.Form, c.Query = "c", true, true
		c.Logger = slog.New(slog.DiscardHandler)
	})
	f.Add("GET", "Bearer "+token, "", "", "")
	f.Add("POST", "", "c=abc", "access_token=abc", "access_token=abc")
	f.Fuzz(func(t *testing.T, method, authorization, cookie, query, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Method, r.URL.RawQuery = method, query
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		r.Header.Set("Cookie", cookie)
		caller, err := auth.AuthenticateRequest(r)
		if err != nil {
			var failure *middleware.Error
			require.ErrorAs(t, err, &failure)
			require.Contains(t, []int{400, 401, 403}, failure.Status)
			return
		}
		require.Equal(t, account.ID, caller.Account.ID)
		require.True(t, strings.Contains(authorization+cookie+query+body, token[:20]))
	})
}

// BenchmarkProtected is one request through the middleware.
func BenchmarkProtected(b *testing.B) {
	mongotest.EachStore(b, func(b *testing.B, backend store.Backend) {
		k := newKit(b, middlewaretest.Config{Backend: backend, Now: time.Now})
		handler := k.Auth.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, found := middleware.AccountID(r.Context()); !found {
				b.Error("no caller")
			}
		}))
		r, recorder := request(k.token), httptest.NewRecorder()
		b.ReportAllocs()
		for b.Loop() {
			handler.ServeHTTP(recorder, r)
		}
	})
}

// BenchmarkFindOne is what a protected request over MongoDB cannot be faster than:
// the driver's own look-up, decoded into the same struct.
func BenchmarkFindOne(b *testing.B) {
	uri := mongotest.URI(b)
	backend, err := mongostore.Open(b.Context(), uri, mongostore.Config{})
	require.NoError(b, err)
	defer backend.Close()
	account := newKit(b, middlewaretest.Config{Backend: backend}).account

	client, err := mongo.Connect(b.Context(), options.Client().ApplyURI(uri))
	require.NoError(b, err)
	defer func() { _ = client.Disconnect(context.Background()) }()
	location, err := url.Parse(uri)
	require.NoError(b, err)
	collection := client.Database(strings.TrimPrefix(location.Path, "/")).Collection("accounts")
	b.ReportAllocs()
	for b.Loop() {
		var found store.Account
		if err := collection.FindOne(b.Context(), bson.D{{Key: "_id", Value: account.ID}}).Decode(&found); err != nil {
			b.Fatal(err)
		}
	}
}
