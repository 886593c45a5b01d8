package tokens_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// published is an issuer's JWK set, which tests can change and break.
type published struct {
	*httptest.Server
	fetches atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
}

func publish(t *testing.T) *published {
	t.Helper()
	p := new(published)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		answer(w, r)
		p.fetches.Add(1)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *published) set(answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *published) text(text string) {
	p.set(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func (p *published) keys(t *testing.T, keys ...*tokens.Key) {
	t.Helper()
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	text, err := ring.PublicJWKs()
	require.NoError(t, err)
	p.text(string(text))
}

// await waits until so many fetches more have been answered.
func (p *published) await(more int64) {
	for start := p.fetches.Load(); p.fetches.Load() < start+more; {
		time.Sleep(time.Millisecond)
	}
}

func newRemote(t *testing.T, p *published, change func(*tokens.RemoteConfig)) *tokens.RemoteVerifier {
	t.Helper()
	config := tokens.RemoteConfig{
		URL: p.URL, Issuer: issuerURL, Audience: "api", Now: func() time.Time { return epoch },
		Interval: 5 * time.Millisecond, RetryInterval: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	remote, err := tokens.NewRemoteVerifier(config)
	require.NoError(t, err)
	t.Cleanup(remote.Close)
	return remote
}

func generate(t *testing.T, algorithm tokens.Algorithm) *tokens.Key {
	t.Helper()
	key, err := tokens.GenerateKey(algorithm)
	require.NoError(t, err)
	return key
}

func sign1(t *testing.T, key *tokens.Key) string {
	t.Helper()
	token, err := newKit(t, key).issuer.SignAccess(claims)
	require.NoError(t, err)
	return token
}

func TestRemoteVerifierFollowsTheIssuer(t *testing.T) {
	first, second := generate(t, tokens.EdDSA), generate(t, tokens.ES256)
	p := publish(t)
	p.keys(t, first)
	remote := newRemote(t, p, nil)
	verify := func(key *tokens.Key) error {
		_, err := remote.Verify(t.Context(), sign1(t, key))
		return err
	}
	require.NoError(t, verify(first), "the first token waits for the first fetch")
	assert.ErrorIs(t, verify(second), tokens.ErrUnknownKey)

	for name, breakIt := range map[string]func(){
		"answers garbage": func() { p.text("<html>") },
		"answers nothing": func() { p.text("") },
		"an empty set":    func() { p.text(`{"keys":[]}`) },
		"only secrets":    func() { p.text(`{"keys":[{"kty":"oct","kid":"x","k":"AAAA"}]}`) },
		"no usable key":   func() { p.text(`{"keys":[{"kty":"EC","kid":"x","crv":"P-521"},{"kty":"XYZ","kid":"y"}]}`) },
		"an error page":   func() { p.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }) },
		"another place":   func() { p.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }) },
		"too much":        func() { p.set(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2<<20)) }) },
		"closes the line": func() { p.set(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) },
		"a body cut short": func() {
			p.set(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				w.Write([]byte("{"))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			breakIt()
			if name == "closes the line" {
				p.fetches.Add(3)
			} else {
				p.await(3)
			}
			assert.NoError(t, verify(first), "the last good set stays in force")
		})
	}

	p.keys(t, second, first)
	p.await(2)
	assert.NoError(t, verify(second))
	assert.NoError(t, verify(first))
	p.keys(t, second)
	p.await(2)
	assert.ErrorIs(t, verify(first), tokens.ErrUnknownKey, "a key that is gone is refused")
}

func TestRemoteVerifierPinsAlgorithms(t *testing.T) {
	ed, rs := generate(t, tokens.EdDSA), generate(t, tokens.RS256)
	p := publish(t)
	p.keys(t, ed, rs)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Algorithms = []tokens.Algorithm{tokens.EdDSA} })
	_, err := remote.Verify(t.Context(), sign1(t, ed))
	assert.NoError(t, err)
	_, err = remote.Verify(t.Context(), sign1(t, rs))
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
}

// TestRemoteVerifierAsksOnce: tokens with unknown keys ask for one fetch an
// interval, however many there are.
func TestRemoteVerifierAsksOnce(t *testing.T) {
	first, second, third := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	p := publish(t)
	p.keys(t, first)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval = time.Hour, time.Hour })
	_, err := remote.Verify(t.Context(), sign1(t, first))
	require.NoError(t, err)
	p.keys(t, first, second)
	_, err = remote.Verify(t.Context(), sign1(t, second))
	assert.NoError(t, err, "a new key is fetched when its first token comes")
	fetches := p.fetches.Load()
	unknown := sign1(t, third)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := remote.Verify(t.Context(), unknown)
			assert.ErrorIs(t, err, tokens.ErrUnknownKey)
		})
	}
	all.Wait()
	assert.Equal(t, fetches, p.fetches.Load())
}

// TestRemoteVerifierNeverWaitsLong: an issuer that never answers holds up nobody
// but tokens with unknown keys, and those a second.
func TestRemoteVerifierNeverWaitsLong(t *testing.T) {
	key := generate(t, tokens.EdDSA)
	p := publish(t)
	release := make(chan struct{})
	p.set(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	remote := newRemote(t, p, nil)
	token := sign1(t, key)
	_, err := remote.Verify(t.Context(), token)
	assert.ErrorIs(t, err, tokens.ErrNoKeys)
	assert.NotErrorIs(t, err, tokens.ErrInvalid, "nothing is known of the token")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = remote.Verify(ctx, token)
	assert.ErrorIs(t, err, tokens.ErrNoKeys)
	_, err = remote.Verify(t.Context(), "garbage")
	assert.ErrorIs(t, err, tokens.ErrMalformed)
	remote.Close() // ends the fetch that hangs
	_, err = remote.Verify(t.Context(), token)
	assert.ErrorIs(t, err, tokens.ErrNoKeys)
}

func TestRemoteConfigurationErrorsNameEachField(t *testing.T) {
	_, err := tokens.NewRemoteVerifier(tokens.RemoteConfig{URL: "x", Algorithms: []tokens.Algorithm{tokens.HS512}, Interval: -1})
	for _, field := range []string{"URL", "Algorithms", "Interval", "Issuer"} {
		assert.ErrorContains(t, err, field)
	}
}
