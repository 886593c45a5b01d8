package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// Verifier tells genuine access tokens. *tokens.Verifier is one. An error that
// does not match tokens.ErrInvalid counts as an outage.
type Verifier interface {
	Verify(ctx context.Context, token string) (tokens.AccessToken, error)
}

// AccountFinder finds the account behind a genuine access token.
// *store.Accounts is one; another can be written over a table of one's own.
type AccountFinder interface {
	// AuthenticateSession returns the account if it exists, is enabled, and has
	// the session; else store.ErrNotFound, store.ErrDisabled or
	// store.ErrSessionEnded. Any other error counts as an outage. The account is
	// not changed by anybody afterwards.
	AuthenticateSession(ctx context.Context, ref store.SessionRef) (*store.Account, error)
}

// Config configures an [Authenticator].
type Config struct {
	// Verifier checks that tokens are genuine. Required.
	Verifier Verifier
	// Accounts finds whose they are. Required.
	Accounts AccountFinder
	// Realm is the realm of challenges (RFC 9110 section 11.5). The default is
	// "api".
	Realm string

	// Tokens are taken from the Authorization header. Each of the following adds
	// another place; a request that uses two is refused.

	// Cookie is the name of a cookie to take tokens from. Requests with unsafe
	// methods must then pass CrossOrigin, since browsers send cookies unasked.
	Cookie string
	// CrossOrigin is the protection for cookie tokens. The default is a
	// http.CrossOriginProtection without trusted origins.
	CrossOrigin *http.CrossOriginProtection
	// Form takes tokens from the parameter access_token of form bodies of at most
	// 64 KiB, unless the method is GET or HEAD (RFC 6750 section 2.2). The
	// handler finds the body unread.
	Form bool
	// Query takes tokens from the parameter access_token of the query (RFC 6750
	// section 2.3). Logs and histories keep URLs: leave it off if you can.
	Query bool

	// WriteError, if set, writes the answer to a request that is refused. The
	// default is Authenticator.WriteError.
	WriteError func(w http.ResponseWriter, r *http.Request, err *Error)
	// TokenReused, if set, is called where an access token shows that two holders
	// have the refresh token of a session, see store.ErrSuperseded. The request is
	// refused. Set it to the method TokenReused of your grant.Server, so that all
	// events go the same way. The default writes a warning to Logger.
	TokenReused func(ctx context.Context, ref store.SessionRef)
	// Logger is told of outages, as no client is told what has failed, and at debug
	// level why a request was answered with 401. The default is slog.Default().
	Logger *slog.Logger
}

// Authenticator is the middleware. It is safe for concurrent use.
type Authenticator struct {
	config Config
}

// New checks the whole configuration and returns one error that names each wrong
// field.
func New(config Config) (*Authenticator, error) {
	var problems []string
	if config.Verifier == nil {
		problems = append(problems, "Verifier is required")
	}
	if config.Accounts == nil {
		problems = append(problems, "Accounts is required")
	}
	if config.Realm == "" {
		config.Realm = "api"
	}
	for _, r := range config.Realm {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			problems = append(problems, `Realm must be printable ASCII without " and \`)
			break
		}
	}
	if config.Cookie != "" && (&http.Cookie{Name: config.Cookie}).Valid() != nil {
		problems = append(problems, "Cookie is not the name of a cookie")
	}
	if config.CrossOrigin == nil {
		config.CrossOrigin = http.NewCrossOriginProtection()
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("middleware: configuration: %s", strings.Join(problems, "; "))
	}
	if config.TokenReused == nil {
		config.TokenReused = func(ctx context.Context, ref store.SessionRef) {
			config.Logger.WarnContext(ctx, "refresh_token_reused", "account_id", ref.AccountID.Hex(), "session_id", ref.SessionID, "reason", store.ErrSuperseded)
		}
	}
	a := &Authenticator{config: config}
	if config.WriteError == nil {
		a.config.WriteError = func(w http.ResponseWriter, r *http.Request, err *Error) { a.WriteError(w, r, err) }
	}
	return a, nil
}

// Require lets a request through if it has a good access token.
func (a *Authenticator) Require(next http.Handler) http.Handler {
	return a.wrap(next, rule{})
}

// RequireGroup lets a request through if it has a good access token of an account
// in the group. It needs no Require around it; inside one it does not look up the
// account a second time.
func (a *Authenticator) RequireGroup(group string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return a.wrap(next, rule{group: group, inGroup: true}) }
}

// Optional lets a request through if it has a good access token or no credentials
// at all; bad ones are refused.
func (a *Authenticator) Optional(next http.Handler) http.Handler {
	return a.wrap(next, rule{optional: true})
}

// rule is what a request must meet.
type rule struct {
	optional bool
	inGroup  bool
	group    string
}

func (a *Authenticator) wrap(next http.Handler, rule rule) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, known := FromContext(r.Context())
		if !known || caller.by != a {
			var err error
			caller, err = a.AuthenticateRequest(r)
			if rule.optional && errors.Is(err, ErrNoCredentials) {
				next.ServeHTTP(w, r)
				return
			}
			if err != nil {
				a.refuse(w, r, err)
				return
			}
			r = r.WithContext(NewContext(r.Context(), caller))
		}
		if rule.inGroup && !caller.Account.InGroup(rule.group) {
			fresh, err := a.fresh(r.Context(), caller)
			if err == nil && !fresh.Account.InGroup(rule.group) {
				err = ErrNotInGroup
			}
			if err != nil {
				a.refuse(w, r, err)
				return
			}
			caller = fresh
			r = r.WithContext(NewContext(r.Context(), caller))
		}
		if caller.Private {
			keepPrivate(w.Header())
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Authenticator) refuse(w http.ResponseWriter, r *http.Request, err error) {
	answer := asError(err)
	switch answer.Status {
	case http.StatusServiceUnavailable:
		a.config.Logger.WarnContext(r.Context(), "a request could not be authenticated", "error", answer.Err)
	case http.StatusUnauthorized:
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
// [Authenticator.Authenticate] does with them. It is for those who want no
// wrapper. Every error is an *[Error], for [Authenticator.WriteError].
func (a *Authenticator) AuthenticateRequest(r *http.Request) (*Caller, error) {
	token, from, err := a.tokenOf(r)
	if err != nil {
		return nil, asError(err)
	}
	if from == fromCookie {
		if err := a.config.CrossOrigin.Check(r); err != nil {
			return nil, asError(fmt.Errorf("%w: %w", ErrCrossOrigin, err))
		}
	}
	caller, err := a.Authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	caller.Private = from == fromCookie || from == fromQuery
	return caller, nil
}

// freshFinder is an AccountFinder that may answer from memory, and can be asked to
// look again before anyone is refused. *store.Accounts is one.
type freshFinder interface {
	AuthenticateFresh(ctx context.Context, ref store.SessionRef, seen *store.Account) (*store.Account, error)
}

// fresh looks the caller's account up again, if the finder may have had it in
// memory.
func (a *Authenticator) fresh(ctx context.Context, caller *Caller) (*Caller, error) {
	finder, canLookAgain := a.config.Accounts.(freshFinder)
	if !canLookAgain {
		return caller, nil
	}
	account, err := finder.AuthenticateFresh(ctx, store.SessionRef{
		AccountID: caller.Account.ID, SessionID: caller.SessionID, Generation: caller.generation,
	}, caller.Account)
	if err != nil {
		return nil, asError(err)
	}
	again := *caller
	again.Account = account
	return &again, nil
}

// Authenticate checks an access token and looks up its account and session. Every
// error is an *[Error] that wraps the reason of package tokens or store.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (*Caller, error) {
	access, err := a.config.Verifier.Verify(ctx, token)
	if err != nil {
		// What verifies has the form, so it is looked at only now.
		if !isToken68(token) {
			err = ErrMalformedCredentials
		}
		return nil, asError(err)
	}
	id, err := store.ParseID(access.Subject)
	if err != nil {
		return nil, asError(fmt.Errorf("%w: the subject is no account id", tokens.ErrMalformed))
	}
	ref := store.SessionRef{AccountID: id, SessionID: access.SessionID, Generation: access.Generation}
	account, err := a.config.Accounts.AuthenticateSession(ctx, ref)
	if errors.Is(err, store.ErrSuperseded) {
		a.config.TokenReused(ctx, ref)
	}
	if err != nil {
		return nil, asError(err)
	}
	return &Caller{Account: account, SessionID: access.SessionID, generation: ref.Generation, by: a}, nil
}

// bearer tells whether an Authorization header is of the Bearer scheme, and what
// follows the scheme.
func bearer(header string) (token string, isBearer bool) {
	const scheme = "Bearer"
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	rest := header[len(scheme):]
	if rest != "" && rest[0] != ' ' {
		// Either the name of a longer scheme, or no header at all.
		return rest, !isTokenCharacter(rest[0])
	}
	return strings.TrimLeft(rest, " "), true
}

// isTokenCharacter: RFC 9110 section 5.6.2.
func isTokenCharacter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
