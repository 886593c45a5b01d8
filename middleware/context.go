package middleware

import (
	"context"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// Caller is who makes a request.
type Caller struct {
	// AccountID is the ObjectID of the caller's account.
	AccountID store.ID
	// Account is the caller's account as it was when the request came. It is shared
	// and must not be changed. It is nil where Config.Accounts was left out.
	//
	// With store.Config.CacheTTL it may be some moments old. Before you refuse a
	// caller for what it says, ask [Authenticator.FreshAccount].
	Account *store.Account
	// SessionID is the session of the access token.
	SessionID string
	// ClientID is the client that the access token was issued to.
	ClientID string
	// Expiry is when the access token expires. A stream should end then, or
	// authenticate again. It is the zero time where it is not known: an issuer may
	// leave it out of its answer to an [Introspection] (RFC 7662 section 2.2).
	Expiry time.Time
	// Private says that the token came from a place that shared caches do not look
	// at: a cookie or the query. The answer then needs "Cache-Control: private". The
	// wrappers set it by themselves.
	Private bool

	verified   bool // false where the caller was put into the context by hand
	generation int64
	by         *Authenticator
}

func (c *Caller) ref() store.SessionRef {
	return store.SessionRef{AccountID: c.AccountID, SessionID: c.SessionID, Generation: c.generation}
}

type contextKey struct{}

// callerContext is a context with a caller in it. The two are one allocation, which is what
// [context.WithValue] alone would need.
type callerContext struct {
	context.Context
	caller Caller
}

func (c *callerContext) Value(key any) any {
	if key == (contextKey{}) {
		return &c.caller
	}
	return c.Context.Value(key)
}

// with returns a context with a copy of the caller in it.
func with(ctx context.Context, caller *Caller) context.Context {
	return &callerContext{ctx, *caller}
}

// NewContext returns a context with a copy of the caller in it. It is for code that
// uses [Authenticator.AuthenticateRequest], and for tests of handlers that only read
// the context. A caller with an Account needs no AccountID.
func NewContext(ctx context.Context, caller *Caller) context.Context {
	copied := &callerContext{ctx, *caller}
	if account := copied.caller.Account; account != nil {
		copied.caller.AccountID = account.ID
	}
	return copied
}

// NewContext does what the function [NewContext] does, and the wrappers of this
// Authenticator accept the caller: they let the request through without a token. It
// is for tests of protected handlers. The wrappers of any other Authenticator ask
// for a token all the same.
func (a *Authenticator) NewContext(ctx context.Context, caller *Caller) context.Context {
	accepted := *caller
	accepted.by = a
	return NewContext(ctx, &accepted)
}

// FromContext returns the caller, or false where the request was let in without one.
func FromContext(ctx context.Context) (*Caller, bool) {
	caller, found := ctx.Value(contextKey{}).(*Caller)
	return caller, found
}

// MustFromContext returns the caller. It panics where there is none: wrap the
// handler with [Authenticator.Require].
func MustFromContext(ctx context.Context) *Caller {
	caller, found := FromContext(ctx)
	if !found {
		panic("middleware: no caller in the context: wrap the handler with Require or RequireGroup")
	}
	return caller
}

// AccountID returns the ObjectID of the caller's account, or false where the request
// was let in without a caller.
func AccountID(ctx context.Context) (store.ID, bool) {
	caller, found := FromContext(ctx)
	if !found {
		return store.NilID, false
	}
	return caller.AccountID, true
}

// MustAccountID returns the ObjectID of the caller's account. It panics where there
// is no caller: wrap the handler with [Authenticator.Require].
func MustAccountID(ctx context.Context) store.ID { return MustFromContext(ctx).AccountID }

// Account returns the caller's account, which must not be changed, or false where
// there is none. See [Caller] for how old it may be.
func Account(ctx context.Context) (*store.Account, bool) {
	caller, found := FromContext(ctx)
	if !found || caller.Account == nil {
		return nil, false
	}
	return caller.Account, true
}

// MustAccount returns the caller's account, which must not be changed. It panics
// where there is none: wrap the handler with [Authenticator.Require] of an
// Authenticator with Config.Accounts.
func MustAccount(ctx context.Context) *store.Account {
	caller := MustFromContext(ctx)
	if caller.Account == nil {
		panic("middleware: no account in the context: the Authenticator has no Config.Accounts")
	}
	return caller.Account
}

// SessionID returns the session of the caller's access token, or false where the
// request was let in without a caller.
func SessionID(ctx context.Context) (string, bool) {
	caller, found := FromContext(ctx)
	if !found {
		return "", false
	}
	return caller.SessionID, true
}

// ClientID returns the client that the caller's access token was issued to, or false
// where the request was let in without a caller.
func ClientID(ctx context.Context) (string, bool) {
	caller, found := FromContext(ctx)
	if !found {
		return "", false
	}
	return caller.ClientID, true
}

// Expiry returns when the caller's access token expires, or false where the request
// was let in without a caller.
func Expiry(ctx context.Context) (time.Time, bool) {
	caller, found := FromContext(ctx)
	if !found {
		return time.Time{}, false
	}
	return caller.Expiry, true
}
