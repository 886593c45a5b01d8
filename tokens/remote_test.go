package tokens_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
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
	text, err := ring.PublicJWKs()
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

// clock is a clock that a test turns on.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time          { return epoch.Add(time.Duration(c.seconds.Load()) * time.Second) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

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
		text, err := ring.PublicJWKs()
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
		set, err := ring.PublicJWKs()
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

// TestRemoteVerifierRemembersUnknownKeys: one fetch tells that a key is unknown,
// however many tokens name it.
func TestRemoteVerifierRemembersUnknownKeys(t *testing.T) {
	first, second, third := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	p := publish(t)
	p.keys(t, first)
	clock := new(clock)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) {
		c.Interval, c.RetryInterval, c.Now, c.Leeway = time.Hour, time.Minute, clock.now, time.Hour
	})
	_, err := remote.Verify(t.Context(), sign1(t, first))
	require.NoError(t, err)
	unknown := sign1(t, third)
	for range 3 {
		fetches := p.fetches.Load()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range 10 {
					_, err := remote.Verify(t.Context(), unknown)
					assert.ErrorIs(t, err, tokens.ErrUnknownKey)
				}
			})
		}
		all.Wait()
		assert.Equal(t, fetches+1, p.fetches.Load())
		clock.advance(time.Minute)
	}
	fetches := p.fetches.Load()
	for _, header := range []string{
		`{"alg":"EdDSA","typ":"at+jwt"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"` + strings.Repeat("k", 300) + `"}`,
	} {
		_, err := remote.Verify(t.Context(), sign(header, "{}"))
		assert.ErrorIs(t, err, tokens.ErrUnknownKey, "no key can have such an id")
	}
	assert.Equal(t, fetches, p.fetches.Load())

	_, err = remote.Verify(t.Context(), unknown)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	p.keys(t, first, second, third)
	_, err = remote.Verify(t.Context(), unknown)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey, "it was asked for a moment ago")
	_, err = remote.Verify(t.Context(), sign1(t, second))
	assert.NoError(t, err, "a new key is fetched when its first token comes")
	_, err = remote.Verify(t.Context(), unknown)
	assert.NoError(t, err, "the fetch for another key has brought it")
}

// TestRemoteVerifierAllowsABurst: who sends tokens of unknown keys does not keep a
// new key away for a whole interval, and does not make more fetches than allowed.
func TestRemoteVerifierAllowsABurst(t *testing.T) {
	first := generate(t, tokens.EdDSA)
	p := publish(t)
	p.keys(t, first)
	clock := new(clock)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) {
		c.Interval, c.RetryInterval, c.Now, c.Leeway = time.Hour, time.Minute, clock.now, 24*time.Hour
	})
	// A token as anybody can make one up.
	foreign := func(id string) string { return sign(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+id+`"}`, "{}") }
	send := func(round string, count int) {
		t.Helper()
		for i := range count {
			_, err := remote.Verify(t.Context(), foreign(fmt.Sprint(round, i)))
			require.ErrorIs(t, err, tokens.ErrUnknownKey)
		}
	}
	_, err := remote.Verify(t.Context(), sign1(t, first))
	require.NoError(t, err)
	send("first", 1)
	require.EqualValues(t, 2, p.fetches.Load(), "one to begin with, and one for the token")
	send("some", 3)
	second := generate(t, tokens.EdDSA)
	p.keys(t, second)
	_, err = remote.Verify(t.Context(), sign1(t, second))
	assert.NoError(t, err, "in spite of the others")

	send("many", 50)
	assert.EqualValues(t, 6, p.fetches.Load(), "one to begin with, and a burst")
	third := generate(t, tokens.EdDSA)
	p.keys(t, third)
	_, err = remote.Verify(t.Context(), sign1(t, third))
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	clock.advance(59 * time.Second)
	send("later", 50)
	assert.EqualValues(t, 6, p.fetches.Load())
	clock.advance(time.Second)
	_, err = remote.Verify(t.Context(), sign1(t, third))
	assert.NoError(t, err)
	send("later still", 50)
	assert.EqualValues(t, 7, p.fetches.Load())
	clock.advance(time.Hour)
	send("much later", 50)
	assert.EqualValues(t, 12, p.fetches.Load(), "no more than a burst is saved up")
	clock.advance(-2 * time.Hour)
	send("the clock is set back", 50)
	assert.EqualValues(t, 12, p.fetches.Load())
	clock.advance(time.Minute)
	send("and goes on", 50)
	assert.EqualValues(t, 13, p.fetches.Load())
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

// TestRemoteVerifierRedirects: who answers at another place could sign tokens.
func TestRemoteVerifierRedirects(t *testing.T) {
	key := generate(t, tokens.EdDSA)
	ring, err := tokens.NewKeyring(key)
	require.NoError(t, err)
	set, err := ring.PublicJWKs()
	require.NoError(t, err)
	serve := func(w http.ResponseWriter, r *http.Request) {
		switch to := r.URL.Query().Get("to"); {
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case to != "":
			http.Redirect(w, r, to, http.StatusFound)
		default:
			w.Write(set)
		}
	}
	plain := httptest.NewServer(http.HandlerFunc(serve))
	defer plain.Close()
	other := httptest.NewServer(http.HandlerFunc(serve))
	defer other.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(serve))
	defer secure.Close()
	localhost := strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)
	trusting := secure.Client()
	willing := *trusting
	willing.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	unwilling := *trusting
	unwilling.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	via := func(server *httptest.Server, to string) string { return server.URL + "/?to=" + url.QueryEscape(to) }

	for name, test := range map[string]struct {
		url      string
		client   *http.Client
		followed bool
	}{
		"none":                         {plain.URL, nil, true},
		"same place":                   {via(plain, "/keys"), nil, true},
		"same place, https":            {via(secure, "/keys"), trusting, true},
		"http to https":                {via(plain, secure.URL), trusting, true},
		"https to http":                {via(secure, plain.URL), trusting, false},
		"http to https to http":        {via(plain, via(secure, plain.URL)), trusting, false},
		"another host":                 {via(plain, localhost), nil, false},
		"another host, client":         {via(plain, localhost), trusting, false},
		"another port":                 {via(plain, other.URL), nil, false},
		"for ever":                     {plain.URL + "/loop", nil, false},
		"https to http, willing":       {via(secure, plain.URL), &willing, true},
		"another host, willing client": {via(plain, localhost), &willing, true},
		"same place, unwilling":        {via(plain, "/keys"), &unwilling, false},
	} {
		t.Run(name, func(t *testing.T) {
			remote := newRemote(t, nil, func(c *tokens.RemoteConfig) { c.URL, c.Client = test.url, test.client })
			_, err := remote.Verify(t.Context(), sign1(t, key))
			if test.followed {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, tokens.ErrNoKeys)
			}
		})
	}
	assert.Nil(t, trusting.CheckRedirect, "the caller's client stays as it is")
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
