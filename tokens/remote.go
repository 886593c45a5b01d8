package tokens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ErrKeysUnavailable says that a [RemoteVerifier] does not know the key of a token and cannot
// fetch the keys of the issuer. The token may be good or bad, so the error does not match
// [ErrInvalid]. Treat it as an outage: answer with status 503 (RFC 9110 section 15.6.4).
var ErrKeysUnavailable = errors.New("tokens: the keys of the issuer cannot be fetched")

// RemoteConfig configures a [RemoteVerifier].
type RemoteConfig struct {
	// URL is the URL at which the issuer publishes its JWK set. Use https, except on
	// loopback: anybody who can change the answer can sign tokens. Required.
	URL string
	// Issuer, Audience, Leeway and Now are as in [VerifierConfig].
	Issuer   string
	Audience string
	Leeway   time.Duration
	Now      func() time.Time
	// Algorithms lists the algorithms that are accepted. HS512 is not possible,
	// because a shared secret is never published. The default is EdDSA, ES256 and
	// RS256.
	Algorithms []Algorithm

	// Interval is the time between two fetches while the issuer answers. The default
	// is 15 minutes.
	Interval time.Duration
	// RetryInterval is the time between two fetches while the issuer does not
	// answer. The default is 30 seconds.
	//
	// It also limits the fetches that tokens with unknown keys cause, so that forged
	// tokens cannot flood the issuer. They can cause 5 fetches at once, and then one
	// more in each RetryInterval, by the clock Now. If such a fetch does not bring a
	// key, tokens of that key cause no fetch for a RetryInterval.
	RetryInterval time.Duration
	// Client sends the requests. A fetch ends after 5 seconds, even if Client would
	// wait longer. The default is an empty http.Client.
	//
	// A redirect may lead to the same host and port, or from http to https on the
	// same host. No other redirect is followed, because the server there could sign
	// tokens. If Client has its own CheckRedirect, that decides instead.
	Client *http.Client
	// Logger receives a warning when a fetch fails, or when keys that it brought
	// cannot be used. The default is slog.Default().
	Logger *slog.Logger
}

// RemoteVerifier verifies access tokens of an issuer in another process. It fetches the
// public keys of the issuer. The issuer must sign with EdDSA, ES256 or RS256. Close a
// RemoteVerifier when you no longer need it. It is safe for concurrent use.
//
// Each JWK set that it fetches replaces the one before, even if no key in the new set
// can be used: the issuer has then withdrawn its keys. If several keys have one id, none
// of them is used. While the issuer is down, or answers with anything but a JWK set, the
// last set stays in force.
//
// Only a token with an unknown key waits for a fetch, and for one second at most.
//
// A RemoteVerifier does not know when a session ends or an account is disabled. The
// access tokens stay valid until they expire, by default 15 minutes after they were
// issued. It does not know the groups of an account either, because they are not in the
// token. If you need to know sooner, or need the groups, ask the introspection endpoint
// (RFC 7662).
//
// The issuer needs to see that its tokens are used: its middleware and its introspection
// endpoint mark a new generation of a session as used when they accept an access token.
// If no access token ever reaches them, set store.Config.LostReplyWindow to [store.Off]
// at the issuer.
//
// [store.Off]: https://pkg.go.dev/github.com/oauthsv/oauthsv/store#Off
type RemoteVerifier struct {
	config   RemoteConfig
	verifier *Verifier
	fetches  *fetches

	fetched, fetchesFailed atomic.Int64

	cancel context.CancelFunc
	done   chan struct{}
}

const (
	maxSetBytes     = 1 << 20
	unknownKeyWait  = time.Second
	fetchTimeout    = 5 * time.Second
	defaultInterval = 15 * time.Minute
	defaultRetry    = 30 * time.Second
)

// NewRemoteVerifier makes a RemoteVerifier and starts to fetch keys. It checks the whole
// configuration and returns one error that names each wrong field. It does not wait for
// the issuer: until the first fetch succeeds, [RemoteVerifier.Verify] returns
// [ErrKeysUnavailable].
func NewRemoteVerifier(config RemoteConfig) (*RemoteVerifier, error) {
	var problems []string
	location, err := url.Parse(config.URL)
	if err != nil || location.Host == "" || location.Scheme != "https" && location.Scheme != "http" {
		problems = append(problems, "URL must be an absolute http or https URL, such as https://login.example.org/.well-known/jwks.json")
	}
	if len(config.Algorithms) == 0 {
		config.Algorithms = []Algorithm{EdDSA, ES256, RS256}
	}
	for _, algorithm := range config.Algorithms {
		if !slices.Contains([]Algorithm{EdDSA, ES256, RS256}, algorithm) {
			problems = append(problems, fmt.Sprintf("Algorithms must not hold %q: those with a public key are EdDSA, ES256 and RS256", algorithm))
		}
	}
	config.Interval = cmp.Or(config.Interval, defaultInterval)
	config.RetryInterval = cmp.Or(config.RetryInterval, defaultRetry)
	if config.Interval < 0 || config.RetryInterval < 0 {
		problems = append(problems, fmt.Sprintf("Interval (%v) and RetryInterval (%v) must not be negative", config.Interval, config.RetryInterval))
	}
	var client http.Client
	if config.Client != nil {
		client = *config.Client
	}
	if client.CheckRedirect == nil {
		client.CheckRedirect = checkRedirect
	}
	config.Client = &client
	if config.Now == nil {
		config.Now = time.Now
	}
	config.Logger = cmp.Or(config.Logger, slog.Default())
	verifier, err := NewVerifier(VerifierConfig{
		Keys: new(Keyring), Issuer: config.Issuer, Audience: config.Audience, Leeway: config.Leeway, Now: config.Now,
	})
	if err != nil {
		problems = append(problems, err.Error())
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("tokens: remote verifier configuration: %s", strings.Join(problems, "; "))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &RemoteVerifier{
		config:   config,
		verifier: verifier,
		fetches:  newFetches(config.RetryInterval, config.Now),
		cancel:   cancel,
		done:     make(chan struct{}),
	}
	go r.refresh(ctx)
	return r, nil
}

// Close stops the fetching and waits until it has stopped. Verify goes on with the last
// keys.
func (r *RemoteVerifier) Close() {
	r.cancel()
	<-r.done
}

// Verify verifies an access token as [Verifier.Verify] does, with the keys of the
// issuer. For a token with an unknown key, the error matches [ErrUnknownKey] if the last
// fetch succeeded, and [ErrKeysUnavailable] if it failed or takes too long.
func (r *RemoteVerifier) Verify(ctx context.Context, compact string) (AccessToken, error) {
	token, err := r.verifier.Verify(ctx, compact)
	if err == nil || !errors.Is(err, ErrUnknownKey) {
		return token, err
	}
	id := keyIDOf(compact)
	if id == "" || len(id) > maxKeyID {
		return AccessToken{}, err // no key has such an id
	}
	timer := time.NewTimer(unknownKeyWait)
	defer timer.Stop()
	for range 2 { // a fetch under way may have begun before the key was published
		fetch := r.fetches.join(id)
		if fetch != nil {
			select {
			case <-fetch.done:
			case <-r.done: // closed
			case <-timer.C:
				return AccessToken{}, ErrKeysUnavailable
			case <-ctx.Done():
				return AccessToken{}, ErrKeysUnavailable
			}
		}
		// Look again even without a fetch: one may have ended since the first look.
		if token, err = r.verifier.Verify(ctx, compact); err == nil || !errors.Is(err, ErrUnknownKey) {
			return token, err
		}
		if fetch == nil || r.fetches.lastFailed() {
			break
		}
	}
	if r.fetches.lastFailed() {
		return AccessToken{}, ErrKeysUnavailable
	}
	return AccessToken{}, err
}

// keyIDOf returns the "kid" of a token, or "" if the token is malformed.
func keyIDOf(compact string) string {
	token, err := split([]byte(compact))
	if err != nil {
		return ""
	}
	header, err := decodeHeader(token.header)
	if err != nil {
		return ""
	}
	return header.KeyID
}
