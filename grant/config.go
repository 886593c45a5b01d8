package grant

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// Config configures a [Server].
type Config struct {
	// Accounts knows who may log in, and keeps the sessions. Required.
	Accounts *store.Accounts
	// Issuer signs the tokens, and its URL is where the endpoints stand. Required.
	Issuer *tokens.Issuer

	// AccessTTL is how long an access token is good, in whole seconds. The
	// default is 15 minutes. Refresh tokens live as long as their session.
	AccessTTL time.Duration
	// Clients, if set, are the only clients that may use the server, each with the
	// grants and lifetimes of its own. Without it the server records the client_id
	// that a client sends, and checks no secret.
	Clients ClientRegistry
	// DefaultClientID is what tokens say of a client that sends no well-formed
	// client_id. The default is "default".
	DefaultClientID string
	// RefreshCookies are, by client_id, the clients whose refresh token is kept in a
	// cookie. With Clients, set Client.RefreshCookie instead.
	RefreshCookies map[string]*RefreshCookie
	// MayIntrospect, if set, reports whether a request that names no confidential
	// client may ask about tokens. The method MayIntrospect of
	// middleware.Authenticator makes one, for callers with an access token. Without
	// it only confidential clients with Client.MayIntrospect may ask.
	//
	// An error that matches tokens.ErrInvalid, or that store.Refused is true for,
	// says that the request has a bad access token. Any other error counts as an
	// outage.
	MayIntrospect func(*http.Request) (bool, error)
	// AcceptJSON lets clients send JSON objects with the members of the form. The
	// default is off, as RFC 6749 knows forms only.
	AcceptJSON bool
	// RecordOrigin keeps the client's address and user agent in the session, so that
	// users recognize their sessions. The default is off.
	RecordOrigin bool

	// Approve, if set, is asked once the password was found right, before the
	// session starts. If it returns an *Error, that is the answer: for example that
	// a second factor is missing. Any other error is answered with 503.
	//
	// A refusal does not count as a failed login, unless its Err is or wraps
	// store.ErrCredentials. Set that for a wrong code of a second factor: else it can be
	// guessed without limit. Approve sees the request's context. A handler around the
	// endpoint can put there what the client sends besides, for example in a header.
	Approve func(ctx context.Context, account *store.Account, request PasswordRequest) error
	// Event, if set, is called with what happens, on the goroutine of the request.
	// The default writes to Logger.
	Event func(ctx context.Context, event Event)
	// Logger is told of outages. The default is slog.Default().
	Logger *slog.Logger
	// TrustedProxies are the networks of the proxies in front of this server. Without
	// them all users of a proxy have its address, and share one count of failed logins.
	// From these networks the header X-Forwarded-For is believed: the client is its
	// right-most hop outside them. From anywhere else it is ignored.
	TrustedProxies []netip.Prefix
	// ClientAddress, if set, returns the address of a request's client, for events,
	// sessions and the throttling of failed logins. It replaces TrustedProxies, for
	// proxies that use another header.
	ClientAddress func(*http.Request) string
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// NewServer checks the whole configuration and returns one error that names each
// wrong field.
func NewServer(config Config) (*Server, error) {
	var problems []string
	if config.Accounts == nil {
		problems = append(problems, "Accounts is required: make it with store.NewAccounts")
	}
	if config.Issuer == nil {
		problems = append(problems, "Issuer is required: make it with tokens.NewIssuer")
	}
	config.AccessTTL = cmp.Or(config.AccessTTL, 15*time.Minute)
	if config.AccessTTL < time.Second {
		problems = append(problems, fmt.Sprintf("AccessTTL is %v: it must be at least 1s, such as 15m", config.AccessTTL))
	}
	config.DefaultClientID = cmp.Or(config.DefaultClientID, "default")
	if !wellFormedClientID(config.DefaultClientID) {
		problems = append(problems, fmt.Sprintf("DefaultClientID is %q: it must be 1 to 256 printable ASCII characters, such as app", config.DefaultClientID))
	}
	if config.Clients != nil && len(config.RefreshCookies) > 0 {
		problems = append(problems, "RefreshCookies has no effect where Clients is set: set Client.RefreshCookie")
	}
	problems = append(problems, cookieProblems(config.RefreshCookies)...)
	for id := range config.RefreshCookies {
		if !wellFormedClientID(id) {
			problems = append(problems, fmt.Sprintf("RefreshCookies has a client %q: a client id must be 1 to 256 printable ASCII characters, such as app", id))
			break
		}
	}
	config.Logger = cmp.Or(config.Logger, slog.Default())
	if config.Event == nil {
		config.Event = func(ctx context.Context, event Event) {
			config.Logger.LogAttrs(ctx, event.level(), string(event.Type), event.attributes()...)
		}
	}
	networks := make([]netip.Prefix, len(config.TrustedProxies))
	for i, network := range config.TrustedProxies {
		if networks[i] = plainNetwork(network); !networks[i].IsValid() {
			problems = append(problems, fmt.Sprintf("TrustedProxies[%d] is %v, which is no network: give one such as netip.MustParsePrefix(\"10.0.0.0/8\")", i, network))
		}
	}
	if config.ClientAddress == nil {
		config.ClientAddress = (&addressFinder{trusted: networks, logger: config.Logger}).find
	} else if len(config.TrustedProxies) > 0 {
		problems = append(problems, "TrustedProxies has no effect where ClientAddress is set")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("grant: configuration: %s", strings.Join(problems, "; "))
	}
	return &Server{config: config, accessTTL: int64(config.AccessTTL / time.Second), counters: newCounters()}, nil
}
