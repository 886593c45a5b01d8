package middleware

import (
	"context"

	"github.com/oauthsv/oauthsv/store"
)

// Caller is who makes a request.
type Caller struct {
	// Account is the caller's account as it was when the request came. It is
	// shared and must not be changed.
	Account *store.Account
	// SessionID is the session of the access token.
	SessionID string
	// Private says that the token came from a place that caches do not look at,
	// a cookie or the query: the answer needs "Cache-Control: private", which the
	// wrappers set by themselves.
	Private bool

	generation int64
	by         *Authenticator
}

type contextKey struct{}

// NewContext returns a context with the caller in it, as the wrappers make it;
// for tests of handlers, and for those who use AuthenticateRequest.
func NewContext(ctx context.Context, caller *Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, caller)
}

// FromContext returns the caller, false where the request was let in without one.
func FromContext(ctx context.Context) (*Caller, bool) {
	caller, found := ctx.Value(contextKey{}).(*Caller)
	return caller, found
}

// AccountID returns the ObjectID of the caller's account, false where the request
// was let in without one.
func AccountID(ctx context.Context) (store.ID, bool) {
	caller, found := FromContext(ctx)
	if !found {
		return store.NilID, false
	}
	return caller.Account.ID, true
}

// Account returns the caller's account, which must not be changed, or false where
// the request was let in without one.
func Account(ctx context.Context) (*store.Account, bool) {
	caller, found := FromContext(ctx)
	if !found {
		return nil, false
	}
	return caller.Account, true
}

// SessionID returns the session of the caller's access token, false where the
// request was let in without one.
func SessionID(ctx context.Context) (string, bool) {
	caller, found := FromContext(ctx)
	if !found {
		return "", false
	}
	return caller.SessionID, true
}
