package tokens_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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
		p.fetches.Add(1)
		answer(w, r)
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
	text, err := ring.PublicJWKs(epoch)
	require.NoError(t, err)
	p.text(string(text))
}

// await waits until so many fetches more have begun. The verifier has done with all
// of them but the last.
func (p *published) await(t *testing.T, more int64) {
	t.Helper()
	start := p.fetches.Load()
	require.Eventually(t, func() bool { return p.fetches.Load() >= start+more }, 10*time.Second, time.Millisecond, "no fetch comes")
}

func newRemote(t *testing.T, p *published, change func(*tokens.RemoteConfig)) *tokens.RemoteVerifier {
	t.Helper()
	config := tokens.RemoteConfig{
		Issuer: issuerURL, Audience: "api", Now: func() time.Time { return epoch },
		Interval: 5 * time.Millisecond, RetryInterval: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
	if p != nil {
		config.URL = p.URL
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

	public := func(key *tokens.Key) string {
		ring, err := tokens.NewKeyring(key)
		require.NoError(t, err)
		text, err := ring.PublicJWKs(epoch)
		require.NoError(t, err)
		return string(text)
	}
	for name, breakIt := range map[string]func(){
		"answers garbage":  func() { p.text("<html>") },
		"answers nothing":  func() { p.text("") },
		"another object":   func() { p.text(`{"error":"gone"}`) },
		"no array of keys": func() { p.text(`{"keys":null}`) },
		"keys by name":     func() { p.text(`{"keys":{"a":1}}`) },
		"a key, not a set": func() { p.text(strings.TrimSuffix(strings.TrimPrefix(public(second), `{"keys":[`), `]}`)) },
		"an array":         func() { p.text("[" + public(second) + "]") },
		"two sets":         func() { p.text(public(second) + public(second)) },
		"a cut set":        func() { p.text(strings.TrimSuffix(public(second), "}")) },
		"an error page":    func() { p.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }) },
		"another place":    func() { p.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }) },
		"too much":         func() { p.set(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2<<20)) }) },
		"closes the line":  func() { p.set(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) },
		"a body cut short": func() {
			p.set(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				w.Write([]byte("{"))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			breakIt()
			p.await(t, 3)
			assert.NoError(t, verify(first), "the last set stays in force")
			err := verify(second)
			assert.ErrorIs(t, err, tokens.ErrNoKeys, "who knows whether the issuer has the key by now")
			assert.NotErrorIs(t, err, tokens.ErrInvalid)
		})
	}

	p.keys(t, second, first)
	p.await(t, 2)
	assert.NoError(t, verify(second))
	assert.NoError(t, verify(first))
	p.keys(t, second)
	p.await(t, 2)
	assert.ErrorIs(t, verify(first), tokens.ErrUnknownKey, "a key that is gone is refused")
}

// TestRemoteVerifierBelievesASetWithoutKeys: an issuer that withdraws its only key
// is believed.
func TestRemoteVerifierBelievesASetWithoutKeys(t *testing.T) {
	for name, set := range map[string]string{
		"an empty set":      `{"keys":[]}`,
		"and other members": `{"x":1,"keys":[]}`,
		"only secrets":      `{"keys":[{"kty":"oct","kid":"x","k":"AAAA"}]}`,
		"no usable key":     `{"keys":[{"kty":"EC","kid":"x","crv":"P-521"},{"kty":"XYZ","kid":"y"},null,1]}`,
	} {
		t.Run(name, func(t *testing.T) {
			key := generate(t, tokens.EdDSA)
			p := publish(t)
			p.keys(t, key)
			remote := newRemote(t, p, nil)
			token := sign1(t, key)
			_, err := remote.Verify(t.Context(), token)
			require.NoError(t, err)
			p.text(set)
			p.await(t, 2)
			_, err = remote.Verify(t.Context(), token)
			assert.ErrorIs(t, err, tokens.ErrUnknownKey)
			p.keys(t, key)
			p.await(t, 2)
			_, err = remote.Verify(t.Context(), token)
			assert.NoError(t, err)
		})
	}
	t.Run("from the start", func(t *testing.T) {
		p := publish(t)
		p.text(`{"keys":[]}`)
		_, err := newRemote(t, p, nil).Verify(t.Context(), sign1(t, generate(t, tokens.EdDSA)))
		assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	})
}

// TestRemoteVerifierUsesNoKeyOfARepeatedID: the id does not say which of the keys is
// meant. The other keys of the set are used, and a key that is gone is gone.
func TestRemoteVerifierUsesNoKeyOfARepeatedID(t *testing.T) {
	withdrawn, good := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	one := generate(t, tokens.EdDSA)
	text, err := generate(t, tokens.ES256).PrivateJWK()
	require.NoError(t, err)
	var members map[string]any
	require.NoError(t, json.Unmarshal(text, &members))
	members["kid"] = one.ID()
	text, err = json.Marshal(members)
	require.NoError(t, err)
	other := parseOne(t, text)

	p := publish(t)
	p.keys(t, withdrawn, one)
	remote := newRemote(t, p, nil)
	verify := func(key *tokens.Key) error {
		_, err := remote.Verify(t.Context(), sign1(t, key))
		return err
	}
	require.NoError(t, verify(withdrawn))
	require.NoError(t, verify(one))
	var entries []string
	for _, key := range []*tokens.Key{one, good, other} {
		ring, err := tokens.NewKeyring(key)
		require.NoError(t, err)
		set, err := ring.PublicJWKs(epoch)
		require.NoError(t, err)
		entries = append(entries, strings.TrimSuffix(strings.TrimPrefix(string(set), `{"keys":[`), `]}`))
	}
	p.text(`{"keys":[` + strings.Join(entries, ",") + `]}`)
	p.await(t, 2)
	assert.NoError(t, verify(good))
	for _, key := range []*tokens.Key{one, other, withdrawn} {
		assert.ErrorIs(t, verify(key), tokens.ErrUnknownKey)
	}
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

// TestRemoteVerifierTellsAnOutage: a key that cannot be fetched is no fault of the
// token.
func TestRemoteVerifierTellsAnOutage(t *testing.T) {
	first, second := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	p := publish(t)
	p.keys(t, first)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval = time.Hour, time.Hour })
	_, err := remote.Verify(t.Context(), sign1(t, first))
	require.NoError(t, err)
	p.Close()
	unknown := sign1(t, second)
	for range 20 { // beyond the burst
		_, err = remote.Verify(t.Context(), unknown)
		assert.ErrorIs(t, err, tokens.ErrNoKeys)
		assert.NotErrorIs(t, err, tokens.ErrInvalid)
	}
	_, err = remote.Verify(t.Context(), sign1(t, first))
	assert.NoError(t, err)
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
