package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ErrNoKeys: the key of the token is unknown, and the keys of the issuer cannot be
// fetched. It does not match [ErrInvalid]: nothing is known of the token. It is an
// outage, which RFC 9110 section 15.6.4 has the status 503 for.
var ErrNoKeys = errors.New("tokens: the keys of the issuer cannot be fetched")

// RemoteConfig configures a [RemoteVerifier].
type RemoteConfig struct {
	// URL is where the issuer publishes its JWK set. Required. Use https beyond
	// loopback: who can change the answer can sign tokens.
	URL string
	// Issuer, Audience, Leeway and Now are those of [VerifierConfig].
	Issuer   string
	Audience string
	Leeway   time.Duration
	Now      func() time.Time
	// Algorithms are the ones that are accepted. The default is EdDSA, ES256 and
	// RS256; HS512 is not possible, as shared secrets are not published.
	Algorithms []Algorithm

	// Interval is the time between two fetches. The default is 15 minutes.
	Interval time.Duration
	// RetryInterval is the time between two tries while the issuer does not
	// answer. Tokens with unknown keys may ask for 5 fetches at once, and for one
	// more each RetryInterval, by the clock Now. A key that such a fetch did not
	// bring is not asked for again for a RetryInterval. The default is 30 seconds.
	RetryInterval time.Duration
	// Client fetches. A fetch ends after 5 seconds, whatever the Client allows.
	//
	// A redirect from https to http, to another host or to another port is not
	// followed: who can answer there could sign tokens. A Client with a
	// CheckRedirect of its own decides for itself.
	Client *http.Client
	// Logger is slog.Default() by default.
	Logger *slog.Logger
}

// RemoteVerifier verifies access tokens of an issuer in another process, with the
// keys it publishes. It is safe for concurrent use. Its owner ends it with Close.
//
// A JWK set that the issuer answers with is in force from then on, even if it holds
// no key that can be used: the issuer has withdrawn the others. Of keys with one id
// none is used. While the issuer is down, or answers with anything but a JWK set,
// the last set stays in force.
//
// No request waits for a fetch, but for a token with an unknown key, which waits a
// second at most.
//
// What it cannot know: that a session was ended or an account disabled reaches it
// only when the access token expires, after its 15 minutes by default; and groups
// are not in the token. Who needs to know sooner asks the introspection endpoint
// (RFC 7662). Where no protected request ever reaches the issuer's store, nothing
// marks a new generation of a session as used, and store.Config.LostReplyWindow
// should be [store.Off] at the issuer.
//
// [store.Off]: https://pkg.go.dev/github.com/oauthsv/oauthsv/store#Off
type RemoteVerifier struct {
	config   RemoteConfig
	verifier *Verifier
	fetches  *fetches

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

// NewRemoteVerifier checks the whole configuration, returns one error that names
// each wrong field, and begins to fetch. It does not wait for the issuer: until
// the keys are there [RemoteVerifier.Verify] returns [ErrNoKeys].
func NewRemoteVerifier(config RemoteConfig) (*RemoteVerifier, error) {
	var problems []string
	location, err := url.Parse(config.URL)
	if err != nil || location.Host == "" || location.Scheme != "https" && location.Scheme != "http" {
		problems = append(problems, "URL must be an absolute http or https URL")
	}
	if len(config.Algorithms) == 0 {
		config.Algorithms = []Algorithm{EdDSA, ES256, RS256}
	}
	for _, algorithm := range config.Algorithms {
		if !slices.Contains([]Algorithm{EdDSA, ES256, RS256}, algorithm) {
			problems = append(problems, fmt.Sprintf("Algorithms must not hold %q", algorithm))
		}
	}
	if config.Interval == 0 {
		config.Interval = defaultInterval
	}
	if config.RetryInterval == 0 {
		config.RetryInterval = defaultRetry
	}
	if config.Interval < 0 || config.RetryInterval < 0 {
		problems = append(problems, "Interval and RetryInterval must not be negative")
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
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
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

// Close ends the fetching and waits for that. Verify goes on with the last keys.
func (r *RemoteVerifier) Close() {
	r.cancel()
	<-r.done
}

// Verify does what [Verifier.Verify] does, with the keys of the issuer. A token with
// an unknown key has an error that matches [ErrUnknownKey] after a good fetch, and
// [ErrNoKeys] if the last fetch failed or does not end in time.
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
	for range 2 { // the first fetch may have begun before the key was published
		fetch := r.fetches.join(id)
		if fetch != nil {
			select {
			case <-fetch.done:
			case <-r.done: // closed
			case <-timer.C:
				return AccessToken{}, ErrNoKeys
			case <-ctx.Done():
				return AccessToken{}, ErrNoKeys
			}
		}
		// Without a fetch to wait for, one may have ended since the last look.
		if token, err = r.verifier.Verify(ctx, compact); err == nil || !errors.Is(err, ErrUnknownKey) {
			return token, err
		}
		if fetch == nil || r.fetches.lastFailed() {
			break
		}
	}
	if r.fetches.lastFailed() {
		return AccessToken{}, ErrNoKeys
	}
	return AccessToken{}, err
}

// keyIDOf is the "kid" of a token that has the form of one.
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
