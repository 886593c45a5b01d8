package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// IntrospectionConfig configures an [Introspection].
type IntrospectionConfig struct {
	// URL is the introspection endpoint of the issuer. Required. Use https beyond
	// loopback: the client secret and the tokens cross the network.
	URL string
	// ClientID and ClientSecret authenticate this service as a confidential client
	// (RFC 6749 section 2.3.1). Either they or Token is required.
	ClientID, ClientSecret string
	// Token returns an access token for this service, of an account that may
	// introspect. It is called for each question and must be safe for concurrent use.
	Token func(ctx context.Context) (string, error)
	// Audience, if set, must be among the audiences of the tokens.
	Audience string

	// CacheFor is how long an answer that a token is good may be used again. What the
	// issuer revokes then works here for as long. The default is 0: each request
	// asks. Answers that a token is not good are never kept.
	CacheFor time.Duration
	// Client asks. The default has a timeout of 5 seconds.
	//
	// A redirect may lead to the same host and port, or from http to https on the
	// same host. No other redirect is followed, because the server there would learn
	// the token and could answer what it likes. If Client has its own CheckRedirect,
	// that decides instead.
	Client *http.Client
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Introspection asks the introspection endpoint of an issuer in another process (RFC
// 7662). Use it as both the Verifier and the Accounts of [Config] where a service must
// know at once that a session has ended, or needs groups, or where the issuer signs
// with HS512. The accounts it finds have an ID, a Name and Groups.
//
// A token that the issuer calls inactive is refused. If the issuer does not answer, or
// refuses to answer this service, that is an outage. It is safe for concurrent use.
//
// Do not read anything into the Generation of a token from here. The issuer does not tell
// the generation of a session, so it is a number of this package's own.
type Introspection struct {
	config IntrospectionConfig
	// answers counts the good answers. Its negative value is the Generation of a token, which
	// leads FindBySession to the answer that Verify has used for the same request.
	answers atomic.Int64
	// byToken holds the last good answer about each token, for CacheFor.
	byToken *otter.Cache[string, *introspected]
	// byRef holds the answers that Verify has used. A reference names one answer, so
	// no other request can replace it, neither one that asked earlier nor one with
	// another token of the session. Whoever finds an answer here finds their own.
	byRef *otter.Cache[store.SessionRef, *introspected]
}

var (
	_ Verifier      = (*Introspection)(nil)
	_ AccountFinder = (*Introspection)(nil)
)

// introspected is an answer that a token is good.
type introspected struct {
	compact string
	token   tokens.AccessToken
	ref     store.SessionRef
	account *store.Account
	asked   time.Time
}

const (
	maxAnswer  = 64 << 10
	maxAnswers = 10_000
)

// NewIntrospection checks the whole configuration and returns one error that names
// each wrong field. It does not ask yet.
func NewIntrospection(config IntrospectionConfig) (*Introspection, error) {
	var problems []string
	location, err := url.Parse(config.URL)
	if err != nil || location.Host == "" || location.User != nil || location.Scheme != "https" && location.Scheme != "http" {
		problems = append(problems, "URL must be an absolute http or https URL without user, such as https://login.example.org/introspect")
	}
	byClient := config.ClientID != "" && config.ClientSecret != ""
	if byClient == (config.Token != nil) || !byClient && config.ClientID+config.ClientSecret != "" {
		problems = append(problems, "either ClientID and ClientSecret or Token is required")
	}
	if config.CacheFor < 0 {
		problems = append(problems, fmt.Sprintf("CacheFor is %v: it must not be negative", config.CacheFor))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("middleware: introspection configuration: %s", strings.Join(problems, "; "))
	}
	client := *cmp.Or(config.Client, &http.Client{Timeout: 5 * time.Second})
	if client.CheckRedirect == nil {
		client.CheckRedirect = checkRedirect
	}
	config.Client = &client
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Introspection{config: config, byToken: newAnswers[string](), byRef: newAnswers[store.SessionRef]()}, nil
}

func newAnswers[K comparable]() *otter.Cache[K, *introspected] {
	return otter.Must(&otter.Options[K, *introspected]{
		MaximumSize: maxAnswers,
		// Upkeep runs on the goroutine that finds it due, not on one of its own.
		Executor: func(work func()) { work() },
	})
}

// errInactive says what the issuer has answered.
var errInactive = fmt.Errorf("%w: the issuer says that the token is not active", tokens.ErrInvalid)

// Verify asks the issuer about a token, unless an answer may be used again. It
// returns an error that matches tokens.ErrInvalid if the token is not good.
func (i *Introspection) Verify(ctx context.Context, token string) (tokens.AccessToken, error) {
	if !isToken68(token) {
		return tokens.AccessToken{}, tokens.ErrMalformed
	}
	answer, found := i.byToken.GetIfPresent(token)
	if !found || !i.isRecent(answer) {
		var err error
		if answer, err = i.ask(ctx, token); err != nil {
			return tokens.AccessToken{}, err
		}
	}
	i.byRef.Set(answer.ref, answer)
	return answer.token, nil
}

// isRecent reports whether an answer may be used again.
func (i *Introspection) isRecent(answer *introspected) bool {
	now := i.config.Now()
	age := now.Sub(answer.asked)
	expiry := answer.token.Expiry
	return age >= 0 && age < i.config.CacheFor && (expiry.IsZero() || now.Before(expiry))
}

// FindBySession returns the account that the answer to Verify has named. ref must be
// made from the token that Verify has returned, with its Generation.
func (i *Introspection) FindBySession(_ context.Context, ref store.SessionRef) (*store.Account, error) {
	answer, found := i.byRef.GetIfPresent(ref)
	if !found {
		return nil, fmt.Errorf("%w: the token was not verified here, or too long ago", store.ErrUnavailable)
	}
	return answer.account, nil
}

// FindBySessionFresh asks the issuer again about the token that ref was made from. It
// returns seen if every request asks, or if the token was verified too long ago.
func (i *Introspection) FindBySessionFresh(ctx context.Context, ref store.SessionRef, seen *store.Account) (*store.Account, error) {
	answer, found := i.byRef.GetIfPresent(ref)
	if i.config.CacheFor == 0 || !found {
		return seen, nil
	}
	fresh, err := i.ask(ctx, answer.compact)
	if errors.Is(err, tokens.ErrInvalid) {
		return nil, store.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	return fresh.account, nil
}
