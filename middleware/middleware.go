package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// Authenticator is the middleware. It is safe for concurrent use. Make it with
// [New].
type Authenticator struct {
	config Config
	// warned is whether a genuine token for another service was warned of.
	warned atomic.Bool
}

// Require lets a request through if it has a good access token.
func (a *Authenticator) Require(next http.Handler) http.Handler {
	return a.wrap(next, false, nil)
}

// Optional lets a request through if it has a good access token or no credentials at
// all. It refuses bad credentials. Without credentials next finds no caller, even if
// another Authenticator has put one into the context.
func (a *Authenticator) Optional(next http.Handler) http.Handler {
	return a.wrap(next, true, nil)
}

// RequireGroup lets a request through if it has a good access token of an account in
// the group. It needs no [Authenticator.Require] around it.
//
// It panics without Config.Accounts: nobody knows the groups then.
func (a *Authenticator) RequireGroup(group string) func(http.Handler) http.Handler {
	return a.RequireFunc(func(account *store.Account) bool { return account.InGroup(group) })
}

// RequireFunc lets a request through if it has a good access token of an account
// that allowed reports true for. It needs no [Authenticator.Require] around it.
// allowed must be safe for concurrent use and must not change the account.
//
// With an account from memory allowed is asked once more, about a fresh one, before
// the request is refused. So a group that was added a moment ago counts.
//
// It panics without Config.Accounts: nobody knows the account then.
func (a *Authenticator) RequireFunc(allowed func(*store.Account) bool) func(http.Handler) http.Handler {
	if a.config.Accounts == nil {
		panic("middleware: RequireGroup and RequireFunc need Config.Accounts: without it no account is known")
	}
	return func(next http.Handler) http.Handler { return a.wrap(next, false, allowed) }
}

// wrap lets requests through to next. allowed may be nil.
func (a *Authenticator) wrap(next http.Handler, optional bool, allowed func(*store.Account) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, known := FromContext(r.Context())
		if !known || caller.by != a {
			ctx := &callerContext{Context: r.Context()}
			err := a.authenticateRequest(r, &ctx.caller)
			if optional && errors.Is(err, ErrNoCredentials) {
				if known && caller.by != nil {
					// next must not take the caller of another Authenticator, such as
					// one of the staff, for a user of this one.
					r = r.WithContext(context.WithValue(r.Context(), contextKey{}, nil))
				}
				next.ServeHTTP(w, r)
				return
			}
			if err != nil {
				a.refuse(w, r, err)
				return
			}
			caller = &ctx.caller
			r = r.WithContext(ctx)
		}
		if allowed != nil {
			checked, err := a.check(r.Context(), caller, allowed)
			if err != nil {
				a.refuse(w, r, err)
				return
			}
			if checked != caller {
				caller = checked
				r = r.WithContext(with(r.Context(), caller))
			}
		}
		if caller.Private {
			keepPrivate(w.Header())
		}
		next.ServeHTTP(w, r)
	})
}

// check returns the caller, with a fresh account where that was needed.
func (a *Authenticator) check(ctx context.Context, caller *Caller, allowed func(*store.Account) bool) (*Caller, error) {
	if caller.Account != nil && allowed(caller.Account) {
		return caller, nil
	}
	fresh, err := a.fresh(ctx, caller)
	if err != nil {
		return nil, err
	}
	if fresh == nil || !allowed(fresh) {
		return nil, ErrNotAllowed
	}
	again := *caller
	again.Account = fresh
	return &again, nil
}

// fresh looks the caller's account up again, if the finder may have had it in memory.
func (a *Authenticator) fresh(ctx context.Context, caller *Caller) (*store.Account, error) {
	if !caller.verified || a.config.Accounts == nil {
		return caller.Account, nil
	}
	ref := caller.ref()
	account, err := a.config.Accounts.FindBySessionFresh(ctx, ref, caller.Account)
	return account, a.noticeReuse(ctx, ref, err)
}

// FreshAccount returns the account of the request's caller, and not from the cache. Ask
// it before you refuse a caller for what [Account] says: with store.Config.CacheTTL
// that one may lack a group that was added a moment ago. Without a cache, the account
// is the one that was read when the request came. A request that lasts, such as a
// stream, is checked again with [Authenticator.AuthenticateRequest].
//
// Every error is an *[Error], for [Authenticator.WriteError]. It panics where the
// handler is not wrapped by this Authenticator with Config.Accounts.
func (a *Authenticator) FreshAccount(ctx context.Context) (*store.Account, error) {
	caller := MustFromContext(ctx)
	if caller.by != a || caller.Account == nil {
		panic("middleware: FreshAccount: wrap the handler with Require of this Authenticator, and configure Accounts")
	}
	account, err := a.fresh(ctx, caller)
	if err != nil {
		return nil, asError(err)
	}
	return account, nil
}

func (a *Authenticator) refuse(w http.ResponseWriter, r *http.Request, err error) {
	answer := asError(err)
	switch answer.Status {
	case http.StatusServiceUnavailable:
		a.config.Logger.WarnContext(r.Context(), "a request could not be authenticated", "error", answer.Err)
	default:
		if misconfigured := errors.Is(err, tokens.ErrIssuer) || errors.Is(err, tokens.ErrAudience); misconfigured && !a.warned.Swap(true) {
			a.config.Logger.WarnContext(r.Context(), "a genuine token is for another issuer or audience: configure the same ones here as where tokens are signed (this is said once)", "error", answer.Err)
			break
		}
		// The client is told one thing for all reasons, so the operator needs the log.
		if a.config.Logger.Enabled(r.Context(), slog.LevelDebug) {
			a.config.Logger.DebugContext(r.Context(), "a request was refused", "error", answer.Err)
		}
	}
	a.config.WriteError(w, r, answer)
}

// keepPrivate makes an answer private to the caller. It adds to what stands there
// and takes nothing away: an outer middleware may have said no-store.
func keepPrivate(header http.Header) {
	for _, value := range header["Cache-Control"] {
		if strings.Contains(value, `"`) {
			continue // private="name" covers one field, not the answer
		}
		for directive := range strings.SplitSeq(value, ",") {
			directive = strings.TrimSpace(directive)
			if strings.EqualFold(directive, "no-store") || strings.EqualFold(directive, "private") {
				return
			}
		}
	}
	header.Add("Cache-Control", "private")
}

// AuthenticateRequest finds the credentials of a request and does what
// [Authenticator.Authenticate] does with them. It is for code that cannot use a
// wrapper. Every error is an *[Error], for [Authenticator.WriteError].
func (a *Authenticator) AuthenticateRequest(r *http.Request) (*Caller, error) {
	caller := new(Caller)
	if err := a.authenticateRequest(r, caller); err != nil {
		return nil, asError(err)
	}
	return caller, nil
}

// authenticateRequest fills in the caller, which may be used only if there is no error.
func (a *Authenticator) authenticateRequest(r *http.Request, caller *Caller) error {
	token, from, err := a.tokenOf(r)
	if err != nil {
		return err
	}
	if from == fromCookie {
		if err := a.config.CrossOrigin.Check(r); err != nil {
			return fmt.Errorf("%w: %w", ErrCrossOrigin, err)
		}
	}
	caller.Private = from == fromCookie || from == fromQuery
	return a.authenticate(r.Context(), token, caller)
}

// Authenticate checks an access token and, with Config.Accounts, finds its account.
// Every error is an *[Error] that wraps the reason, of package tokens or store.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (*Caller, error) {
	caller := new(Caller)
	if err := a.authenticate(ctx, token, caller); err != nil {
		return nil, asError(err)
	}
	return caller, nil
}

// authenticate fills in the caller, which may be used only if there is no error.
func (a *Authenticator) authenticate(ctx context.Context, token string, caller *Caller) error {
	access, err := a.config.Verifier.Verify(ctx, token)
	if err != nil {
		// What verifies has the form, so it is looked at only now.
		if !isToken68(token) {
			return ErrMalformedCredentials
		}
		return err
	}
	ref, err := store.ParseSessionRef(access.Subject, access.SessionID, access.Generation)
	if err != nil {
		return err
	}
	caller.AccountID, caller.SessionID, caller.generation = ref.AccountID, ref.SessionID, ref.Generation
	caller.ClientID, caller.Expiry = access.ClientID, access.Expiry
	caller.verified, caller.by = true, a
	if a.config.Accounts == nil {
		return nil
	}
	caller.Account, err = a.config.Accounts.FindBySession(ctx, ref)
	return a.noticeReuse(ctx, ref, err)
}

// noticeReuse returns err, and reports the reuse of a refresh token if err says so.
func (a *Authenticator) noticeReuse(ctx context.Context, ref store.SessionRef, err error) error {
	if err != nil && errors.Is(err, store.ErrSuperseded) {
		a.config.TokenReused(ctx, ref)
	}
	return err
}

// MayIntrospect returns a function for grant.Config.MayIntrospect: it allows callers
// with a good access token of an account that allowed reports true for. It panics
// without Config.Accounts.
func (a *Authenticator) MayIntrospect(allowed func(*store.Account) bool) func(*http.Request) (bool, error) {
	if a.config.Accounts == nil {
		panic("middleware: MayIntrospect needs Config.Accounts: without it no account is known")
	}
	return func(r *http.Request) (bool, error) {
		caller, err := a.AuthenticateRequest(r)
		if err == nil {
			_, err = a.check(r.Context(), caller, allowed)
		}
		switch {
		case errors.Is(err, ErrNoCredentials), errors.Is(err, ErrNotAllowed):
			return false, nil
		case errors.Is(err, ErrMalformedCredentials), errors.Is(err, ErrCrossOrigin):
			return false, tokens.ErrMalformed
		}
		return err == nil, err
	}
}
