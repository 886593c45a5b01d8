package middlewaretest

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// Password is the password of every account that [Kit.Account] makes. It can stand
// in a form as it is.
const Password = "nine-kettles-sing-at-noon"

// Config says how a kit differs from the default. The zero value is good.
type Config struct {
	// Backend keeps the accounts. The default is a new memstore.
	Backend store.Backend
	// Issuer is the URL of the issuer. The default is "https://login.example.org".
	Issuer string
	// Now is the clock that [Kit.Sleep] adds to. The default stands still at a fixed
	// moment, so that a test sees the same times in each run. Set time.Now where a
	// test needs a clock that goes by itself.
	Now func() time.Time

	// Each of the next fields, if set, is called with a configuration of the kit
	// before it is used, and may change it. For example, a test of a cookie sets
	// Middleware to a function that sets the field Cookie.

	// Tokens may change how tokens are signed. The key is a new secret.
	Tokens func(*tokens.IssuerConfig)
	// Store may change how accounts are kept. Passwords are hashed by [Hasher].
	Store func(*store.Config)
	// Grant may change the endpoints. The accounts of the group "introspect" may
	// ask the introspection endpoint. If Grant sets Event, [Kit.TakeEvents] returns
	// nothing, and that Event is also told of reused refresh tokens that the
	// middleware sees.
	Grant func(*grant.Config)
	// Middleware may change the middleware. Its log, which tells why a request was
	// refused, is part of the log of the test.
	Middleware func(*middleware.Config)
}

// Kit is a whole kit for one test. It is safe for concurrent use.
type Kit struct {
	Accounts *store.Accounts
	Issuer   *tokens.Issuer
	Server   *grant.Server
	Auth     *middleware.Authenticator

	t      testing.TB
	now    func() time.Time
	slept  atomic.Int64 // nanoseconds
	events recorder
}

// begin is when the clock of a kit starts, unless Config.Now says otherwise.
var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// New makes a kit. What it cannot make ends the test.
func New(t testing.TB, config Config) *Kit {
	t.Helper()
	k := &Kit{t: t, now: config.Now}
	if k.now == nil {
		k.now = func() time.Time { return begin }
	}
	if config.Backend == nil {
		config.Backend = memstore.New()
	}
	logger := testLogger(t)

	key, err := tokens.GenerateKey(tokens.HS512)
	k.must(err)
	keys, err := tokens.NewKeyring(key)
	k.must(err)
	issuerConfig := tokens.IssuerConfig{Keys: keys, Issuer: cmp.Or(config.Issuer, "https://login.example.org"), Now: k.Now}
	k.Issuer, err = tokens.NewIssuer(changed(issuerConfig, config.Tokens))
	k.must(err)

	storeConfig := store.Config{Backend: config.Backend, Passwords: Hasher(), Now: k.Now}
	k.Accounts, err = store.NewAccounts(changed(storeConfig, config.Store))
	k.must(err)

	grantConfig := changed(grant.Config{
		Accounts: k.Accounts, Issuer: k.Issuer, Event: k.events.add, Logger: logger, Now: k.Now, MayIntrospect: k.mayIntrospect,
	}, config.Grant)
	k.Server, err = grant.NewServer(grantConfig)
	k.must(err)

	middlewareConfig := middleware.Config{Verifier: k.Issuer.Verifier(), Accounts: k.Accounts, Logger: logger}
	if grantConfig.Event != nil {
		middlewareConfig.TokenReused = grant.TokenReused(grantConfig.Event)
	}
	k.Auth, err = middleware.New(changed(middlewareConfig, config.Middleware))
	k.must(err)
	return k
}

// changed returns a configuration after its hook, if there is one.
func changed[C any](config C, hook func(*C)) C {
	if hook != nil {
		hook(&config)
	}
	return config
}

func (k *Kit) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("middlewaretest: the kit cannot be made: %v", err)
	}
}

// mayIntrospect asks for the Authenticator late: it is made after the Server.
func (k *Kit) mayIntrospect(r *http.Request) (bool, error) {
	return k.Auth.MayIntrospect(func(account *store.Account) bool { return account.InGroup("introspect") })(r)
}

// Now is the clock of every part of the kit.
func (k *Kit) Now() time.Time { return k.now().Add(time.Duration(k.slept.Load())) }

// Sleep moves the clock forward, and returns at once. For example, a test sleeps for
// an hour to see an access token expire.
func (k *Kit) Sleep(d time.Duration) { k.slept.Add(int64(d)) }

// TakeEvents returns the types of what has happened since it was last called, in
// order.
func (k *Kit) TakeEvents() []grant.EventType { return k.events.take() }

// Account makes an account in the groups. Its e-mail is the name at example.org, and
// its password is [Password].
func (k *Kit) Account(name string, groups ...string) *store.Account {
	k.t.Helper()
	account, err := k.Accounts.Create(k.t.Context(), store.NewAccount{
		Name: name, Email: name + "@example.org", Password: Password, Groups: groups,
	})
	if err != nil {
		k.t.Fatalf("middlewaretest: the account %q cannot be made: %v", name, err)
	}
	return account
}

// Token starts a session of the account and returns its tokens, without a login.
func (k *Kit) Token(account *store.Account) *grant.Response {
	k.t.Helper()
	response, err := k.Server.Issue(k.t.Context(), account.ID, grant.Origin{})
	if err != nil {
		k.t.Fatalf("middlewaretest: no tokens for the account %q: %v", account.Name, err)
	}
	return response
}

// Request returns a request that the account makes, with an access token of a new
// session in its header. It has no body: set its field Body where the handler reads
// one. It is for handlers to serve, as that of httptest.NewRequest is.
func (k *Kit) Request(method, target string, account *store.Account) *http.Request {
	k.t.Helper()
	request := httptest.NewRequest(method, target, nil)
	request.Header.Set("Authorization", "Bearer "+k.Token(account).AccessToken)
	return request
}

// Context returns a context in which the account is the caller, as the functions of
// package middleware find it. The wrappers of Kit.Auth let its requests through
// without a token. The account need not be in the store. The caller has no session:
// use [Kit.Request] where the handler asks for one.
func (k *Kit) Context(ctx context.Context, account *store.Account) context.Context {
	return k.Auth.NewContext(ctx, &middleware.Caller{Account: account})
}
