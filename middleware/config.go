package middleware

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// Verifier verifies access tokens. *[tokens.Verifier], *[tokens.RemoteVerifier] and
// *[Introspection] are Verifiers. Implementations are safe for concurrent use.
type Verifier interface {
	// Verify returns what a genuine token says. It returns an error that matches
	// tokens.ErrInvalid for any other token. Every other error counts as an outage.
	Verify(ctx context.Context, token string) (tokens.AccessToken, error)
}

// AccountFinder finds the account behind a genuine access token. *[store.Accounts]
// and *[Introspection] are AccountFinders. Implementations are safe for concurrent
// use.
//
// Both methods return store.ErrNotFound, store.ErrDisabled, store.ErrSessionEnded or
// store.ErrSuperseded for a caller who must be refused. Every other error counts as
// an outage. Nobody changes an account that they have returned.
type AccountFinder interface {
	// FindBySession returns the account, if it is enabled and has the session. It
	// may answer from memory, and must not refuse for what it has in memory alone.
	FindBySession(ctx context.Context, ref store.SessionRef) (*store.Account, error)
	// FindBySessionFresh does the same without the memory. It is asked before a
	// caller is refused for what the account lacks, such as a group. seen is what
	// FindBySession has returned. A finder without a memory returns it as it is.
	FindBySessionFresh(ctx context.Context, ref store.SessionRef, seen *store.Account) (*store.Account, error)
}

// Config configures an [Authenticator].
type Config struct {
	// Verifier checks that tokens are genuine. Required. In the process that issues
	// the tokens it is what the method Verifier of tokens.Issuer returns.
	Verifier Verifier
	// Accounts finds the accounts. Leave it out in a service that has no access to
	// them: a genuine token is then enough, and the context holds no account. Such a
	// service learns that a session has ended when its access token expires.
	Accounts AccountFinder
	// Realm names the protected area in challenges (RFC 9110 section 11.5). The
	// default is "api".
	Realm string

	// Tokens are taken from the Authorization header. Each of the next three fields
	// adds another place. A request that uses two places is refused.

	// Cookie is the name of a cookie to take tokens from. Browsers send cookies
	// unasked, so a request with an unsafe method must then pass CrossOrigin.
	Cookie string
	// CrossOrigin protects requests with cookie tokens. The default is a
	// http.CrossOriginProtection without trusted origins.
	CrossOrigin *http.CrossOriginProtection
	// Form takes tokens from the parameter access_token of form bodies of at most
	// 64 KiB, unless the method is GET or HEAD (RFC 6750 section 2.2). The handler
	// can still read the whole body.
	Form bool
	// Query takes tokens from the parameter access_token of the query (RFC 6750
	// section 2.3). Logs and histories keep URLs: leave it off if you can.
	Query bool

	// WriteError, if set, writes the answers to requests that are refused, for
	// example as HTML. Call [Authenticator.WriteDefaultError] in it for the answers
	// that you want to leave as they are.
	WriteError func(w http.ResponseWriter, r *http.Request, err *Error)
	// TokenReused, if set, is called where an access token shows that two holders
	// have the refresh token of a session, see store.ErrSuperseded. The request is
	// refused. Set this to the method TokenReused of grant.Server. In a process that
	// has none, grant.TokenReused makes one of a function for events. The default
	// writes a warning to Logger.
	TokenReused func(ctx context.Context, ref store.SessionRef)
	// Logger is told of outages, and at debug level why a request was refused: the
	// clients are not told. It is warned once of a genuine token that is for another
	// issuer or audience. The default is slog.Default().
	Logger *slog.Logger
}

// New checks the whole configuration and returns one error that names each wrong
// field.
func New(config Config) (*Authenticator, error) {
	var problems []string
	if config.Verifier == nil {
		problems = append(problems, "Verifier is required: take (*tokens.Issuer).Verifier, tokens.NewRemoteVerifier or middleware.NewIntrospection")
	}
	config.Realm = cmp.Or(config.Realm, "api")
	if strings.ContainsFunc(config.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		problems = append(problems, fmt.Sprintf("Realm is %q: it must be printable ASCII without quotation marks and backslashes, such as api", config.Realm))
	}
	if config.Cookie != "" && (&http.Cookie{Name: config.Cookie}).Valid() != nil {
		problems = append(problems, fmt.Sprintf("Cookie is %q, which is no name of a cookie: give one such as access_token", config.Cookie))
	}
	if config.CrossOrigin == nil {
		config.CrossOrigin = http.NewCrossOriginProtection()
	}
	config.Logger = cmp.Or(config.Logger, slog.Default())
	if config.TokenReused == nil {
		config.TokenReused = func(ctx context.Context, ref store.SessionRef) {
			config.Logger.WarnContext(ctx, "refresh_token_reused", "account_id", ref.AccountID.Hex(), "session_id", ref.SessionID, "reason", store.ErrSuperseded)
		}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("middleware: configuration: %s", strings.Join(problems, "; "))
	}
	a := &Authenticator{config: config}
	if a.config.WriteError == nil {
		a.config.WriteError = func(w http.ResponseWriter, _ *http.Request, err *Error) { a.WriteDefaultError(w, err) }
	}
	return a, nil
}
