package tokens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// ErrNoKeys: the keys of the issuer could not be fetched yet. It does not match
// [ErrInvalid]: nothing is known of the token.
var ErrNoKeys = errors.New("tokens: the keys of the issuer have not been fetched yet")

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
	// RetryInterval is the least time between two fetches that tokens with
	// unknown keys ask for, and the time between two tries while the issuer does
	// not answer. The default is 30 seconds.
	RetryInterval time.Duration
	// Client fetches. The default has a timeout of 5 seconds.
	Client *http.Client
	// Logger is slog.Default() by default.
	Logger *slog.Logger
}

// RemoteVerifier verifies access tokens of an issuer in another process, with the
// keys it publishes. It is safe for concurrent use. Its owner ends it with Close.
//
// While the issuer is down the last good set of keys stays in force. No request
// waits for a fetch, but for a token with an unknown key, which waits a second at
// most.
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
	loaded   atomic.Bool

	wanted  chan struct{} // a token with an unknown key asks for a fetch
	mu      sync.Mutex
	fetched chan struct{} // closed at the end of the next fetch

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
	if config.Client == nil {
		config.Client = &http.Client{Timeout: fetchTimeout}
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
		wanted:   make(chan struct{}, 1),
		fetched:  make(chan struct{}),
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

// Verify does what [Verifier.Verify] does, with the keys of the issuer. It also
// returns [ErrNoKeys].
func (r *RemoteVerifier) Verify(ctx context.Context, compact string) (AccessToken, error) {
	token, err := r.verifier.Verify(ctx, compact)
	if errors.Is(err, ErrUnknownKey) {
		r.awaitFetch(ctx)
		if token, err = r.verifier.Verify(ctx, compact); errors.Is(err, ErrUnknownKey) && !r.loaded.Load() {
			return AccessToken{}, ErrNoKeys
		}
	}
	return token, err
}

// awaitFetch asks for a fetch, which happens if none was too short a while ago,
// and waits for it, but not long.
func (r *RemoteVerifier) awaitFetch(ctx context.Context) {
	r.mu.Lock()
	fetched := r.fetched
	r.mu.Unlock()
	select {
	case r.wanted <- struct{}{}:
	default: // somebody else has asked
	}
	timer := time.NewTimer(unknownKeyWait)
	defer timer.Stop()
	select {
	case <-fetched:
	case <-timer.C:
	case <-ctx.Done():
	case <-r.done:
	}
}

// refresh fetches until its context ends.
func (r *RemoteVerifier) refresh(ctx context.Context) {
	defer close(r.done)
	var asked time.Time // the last fetch that a token with an unknown key asked for
	for {
		wait := r.config.Interval
		if err := r.fetch(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			r.config.Logger.Warn("fetching the keys of the issuer failed", "url", r.config.URL, "error", err)
			wait = min(wait, r.config.RetryInterval)
		}
		select {
		case <-r.wanted: // by somebody whom this fetch has served
		default:
		}
		r.answer()
		timer := time.NewTimer(wait)
		for again := false; !again; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
				again = true
			case <-r.wanted:
				if again = time.Since(asked) >= r.config.RetryInterval; again {
					asked = time.Now()
				} else {
					r.answer() // a key that was unknown a moment ago stays so
				}
			}
		}
		timer.Stop()
	}
}

// answer wakes up who waits for a fetch.
func (r *RemoteVerifier) answer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.fetched)
	r.fetched = make(chan struct{})
}

// fetch puts the published keys in force, or leaves the old ones where there is
// not one usable key in the answer.
func (r *RemoteVerifier) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.config.URL, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := r.config.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSetBytes+1))
	if err != nil {
		return err
	}
	if len(body) > maxSetBytes {
		return fmt.Errorf("more than %d bytes", maxSetBytes)
	}
	keys, err := parsePublished(body, r.config.Algorithms)
	if err != nil {
		return err
	}
	if err := r.verifier.keys.Replace(keys...); err != nil {
		return err
	}
	r.loaded.Store(true)
	return nil
}

// parsePublished takes what can be used of a JWK set: an issuer may publish keys
// of other kinds too (RFC 7517 section 5).
func parsePublished(text []byte, algorithms []Algorithm) ([]*Key, error) {
	set, err := jwk.Parse(text, jwk.WithIgnoreParseError(true))
	if err != nil {
		return nil, errors.New("not a JWK set")
	}
	var keys []*Key
	for i := range set.Len() {
		entry, _ := set.Key(i)
		public, err := entry.PublicKey() // a private key that somebody published verifies, no more
		if err != nil || entry.KeyID() == "" {
			continue
		}
		key, err := fromJWK(public)
		if err != nil || !slices.Contains(algorithms, key.algorithm) {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no usable key in the set")
	}
	return keys, nil
}
