package tokens_test

import (
	"bytes"
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

// published is a server with the JWK set of an issuer. Tests can change and break it.
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

func (p *published) serve(answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *published) serveText(text string) {
	p.serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func (p *published) serveKeys(t *testing.T, keys ...*tokens.Key) {
	t.Helper()
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	text, err := ring.PublicJWKSet(epoch)
	require.NoError(t, err)
	p.serveText(string(text))
}

// await waits until so many more fetches have begun. The verifier has then finished all
// of them but the last.
func (p *published) await(t *testing.T, more int64) {
	t.Helper()
	start := p.fetches.Load()
	require.Eventually(t, func() bool { return p.fetches.Load() >= start+more }, 10*time.Second, time.Millisecond, "the verifier must fetch again")
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

func TestRemoteVerifierFollowsTheIssuer(t *testing.T) {
	first, second := generate(t, tokens.EdDSA), generate(t, tokens.ES256)
	p := publish(t)
	p.serveKeys(t, first)
	remote := newRemote(t, p, nil)
	verify := func(key *tokens.Key) error {
		_, err := remote.Verify(t.Context(), signAccess(t, key))
		return err
	}
	require.NoError(t, verify(first), "the first token waits for the first fetch")
	assert.ErrorIs(t, verify(second), tokens.ErrUnknownKey)

	public := func(key *tokens.Key) string {
		ring, err := tokens.NewKeyring(key)
		require.NoError(t, err)
		text, err := ring.PublicJWKSet(epoch)
		require.NoError(t, err)
		return string(text)
	}
	for name, breakAnswer := range map[string]func(){
		"answers garbage":  func() { p.serveText("<html>") },
		"answers nothing":  func() { p.serveText("") },
		"another object":   func() { p.serveText(`{"error":"gone"}`) },
		"no array of keys": func() { p.serveText(`{"keys":null}`) },
		"keys by name":     func() { p.serveText(`{"keys":{"a":1}}`) },
		"a key, not a set": func() { p.serveText(strings.TrimSuffix(strings.TrimPrefix(public(second), `{"keys":[`), `]}`)) },
		"an array":         func() { p.serveText("[" + public(second) + "]") },
		"two sets":         func() { p.serveText(public(second) + public(second)) },
		"a cut set":        func() { p.serveText(strings.TrimSuffix(public(second), "}")) },
		"an error page":    func() { p.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }) },
		"another place":    func() { p.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }) },
		"too much":         func() { p.serve(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2<<20)) }) },
		"closes the line":  func() { p.serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) },
		"a byte too much":  func() { p.serveText(public(second) + strings.Repeat(" ", 1<<20+1-len(public(second)))) },
		"a body cut short": func() {
			p.serve(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				w.Write([]byte("{"))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			breakAnswer()
			p.await(t, 3)
			assert.NoError(t, verify(first), "the last set stays in force")
			err := verify(second)
			assert.ErrorIs(t, err, tokens.ErrKeysUnavailable, "the issuer may have the key by now")
			assert.NotErrorIs(t, err, tokens.ErrInvalid)
		})
	}

	p.serveText(public(second) + strings.Repeat(" ", 1<<20-len(public(second))))
	p.await(t, 2)
	assert.NoError(t, verify(second), "1 MiB is allowed")
	p.serveKeys(t, second, first)
	p.await(t, 2)
	assert.NoError(t, verify(second))
	assert.NoError(t, verify(first))
	p.serveKeys(t, second)
	p.await(t, 2)
	assert.ErrorIs(t, verify(first), tokens.ErrUnknownKey, "tokens of a withdrawn key are refused")
}

// TestRemoteVerifierBelievesASetWithoutKeys: if an issuer withdraws its only key, its
// tokens are refused.
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
			p.serveKeys(t, key)
			remote := newRemote(t, p, nil)
			token := signAccess(t, key)
			_, err := remote.Verify(t.Context(), token)
			require.NoError(t, err)
			p.serveText(set)
			p.await(t, 2)
			_, err = remote.Verify(t.Context(), token)
			assert.ErrorIs(t, err, tokens.ErrUnknownKey)
			p.serveKeys(t, key)
			p.await(t, 2)
			_, err = remote.Verify(t.Context(), token)
			assert.NoError(t, err)
		})
	}
	t.Run("the log says what the reason may be", func(t *testing.T) {
		p := publish(t)
		p.serveText(`{"keys":[]}`)
		var log bytes.Buffer
		remote := newRemote(t, p, func(config *tokens.RemoteConfig) {
			config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		p.await(t, 2) // the log has the line of the first fetch
		remote.Close()
		assert.Contains(t, log.String(), "the issuer may sign with HS512, whose secret cannot be published")
	})
	t.Run("from the start", func(t *testing.T) {
		p := publish(t)
		p.serveText(`{"keys":[]}`)
		_, err := newRemote(t, p, nil).Verify(t.Context(), signAccess(t, generate(t, tokens.EdDSA)))
		assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	})
}

// TestRemoteVerifierUsesNoKeyOfARepeatedID: such an id does not say which key signed a
// token. The other keys of the set are used, and a withdrawn key is not.
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
	p.serveKeys(t, withdrawn, one)
	remote := newRemote(t, p, nil)
	verify := func(key *tokens.Key) error {
		_, err := remote.Verify(t.Context(), signAccess(t, key))
		return err
	}
	require.NoError(t, verify(withdrawn))
	require.NoError(t, verify(one))
	var entries []string
	for _, key := range []*tokens.Key{one, good, other} {
		ring, err := tokens.NewKeyring(key)
		require.NoError(t, err)
		set, err := ring.PublicJWKSet(epoch)
		require.NoError(t, err)
		entries = append(entries, strings.TrimSuffix(strings.TrimPrefix(string(set), `{"keys":[`), `]}`))
	}
	p.serveText(`{"keys":[` + strings.Join(append(entries, entries[0]), ",") + `]}`)
	p.await(t, 2)
	assert.NoError(t, verify(good))
	for _, key := range []*tokens.Key{one, other, withdrawn} {
		assert.ErrorIs(t, verify(key), tokens.ErrUnknownKey)
	}

	for ids, text := range map[string]string{
		"ids=[" + one.ID() + "]": `{"keys":[` + strings.Join(append(entries, entries[0]), ",") + `]}`,
		"":                       `{"keys":[` + strings.Join(entries[:2], ",") + `]}`,
	} {
		p.serveText(text)
		var log bytes.Buffer
		remote := newRemote(t, p, func(c *tokens.RemoteConfig) {
			c.Interval, c.Logger = time.Hour, slog.New(slog.NewTextHandler(&log, nil))
		})
		_, err := remote.Verify(t.Context(), signAccess(t, good))
		require.NoError(t, err)
		remote.Close()
		if ids == "" {
			assert.Empty(t, log.String(), "each key has its own id")
			continue
		}
		assert.Contains(t, log.String(), `level=WARN msg="the issuer publishes several keys with one id`)
		assert.Contains(t, log.String(), ids)
	}
}

// waiting is a context that says when somebody begins to wait for it.
type waiting struct {
	context.Context
	begun func()
}

func (w waiting) Done() <-chan struct{} {
	w.begun()
	return w.Context.Done()
}

// TestKeyPublishedDuringAFetchIsFoundByTheNext: the first token of a new key can come while a
// fetch is under way that began before the key was published.
func TestKeyPublishedDuringAFetchIsFoundByTheNext(t *testing.T) {
	old, next := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	p := publish(t)
	p.serveKeys(t, old)
	before := p.answer
	var once sync.Once
	proceed := make(chan struct{})
	p.serve(func(w http.ResponseWriter, r *http.Request) {
		<-proceed
		p.serveKeys(t, old, next)
		before(w, r)
	})
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval = time.Hour, time.Hour })
	_, err := remote.Verify(waiting{t.Context(), func() { once.Do(func() { close(proceed) }) }}, signAccess(t, next))
	assert.NoError(t, err)
	assert.EqualValues(t, 2, p.fetches.Load())
}

func TestRemoteVerifierPinsAlgorithms(t *testing.T) {
	ed, rs := generate(t, tokens.EdDSA), generate(t, tokens.RS256)
	p := publish(t)
	p.serveKeys(t, ed, rs)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Algorithms = []tokens.Algorithm{tokens.EdDSA} })
	_, err := remote.Verify(t.Context(), signAccess(t, ed))
	assert.NoError(t, err)
	_, err = remote.Verify(t.Context(), signAccess(t, rs))
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
}

// TestRemoteVerifierReportsAnOutage: if a key cannot be fetched, the token is not called
// invalid.
func TestRemoteVerifierReportsAnOutage(t *testing.T) {
	first, second := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	p := publish(t)
	p.serveKeys(t, first)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval = time.Hour, time.Hour })
	_, err := remote.Verify(t.Context(), signAccess(t, first))
	require.NoError(t, err)
	p.Close()
	unknown := signAccess(t, second)
	for range 20 { // more than fetchBurst
		_, err = remote.Verify(t.Context(), unknown)
		assert.ErrorIs(t, err, tokens.ErrKeysUnavailable)
		assert.NotErrorIs(t, err, tokens.ErrInvalid)
	}
	_, err = remote.Verify(t.Context(), signAccess(t, first))
	assert.NoError(t, err)
}

// TestRemoteVerifierNeverWaitsLong: if an issuer never answers, only tokens with unknown
// keys wait, and for one second at most.
func TestRemoteVerifierNeverWaitsLong(t *testing.T) {
	key := generate(t, tokens.EdDSA)
	p := publish(t)
	release := make(chan struct{})
	p.serve(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	remote := newRemote(t, p, nil)
	token := signAccess(t, key)
	_, err := remote.Verify(t.Context(), token)
	assert.ErrorIs(t, err, tokens.ErrKeysUnavailable)
	assert.NotErrorIs(t, err, tokens.ErrInvalid, "the token may be good")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = remote.Verify(ctx, token)
	assert.ErrorIs(t, err, tokens.ErrKeysUnavailable)
	_, err = remote.Verify(t.Context(), "garbage")
	assert.ErrorIs(t, err, tokens.ErrMalformed)
	remote.Close() // ends the fetch that hangs
	_, err = remote.Verify(t.Context(), token)
	assert.ErrorIs(t, err, tokens.ErrKeysUnavailable)
}

func TestRemoteConfigurationErrorsNameEachField(t *testing.T) {
	_, err := tokens.NewRemoteVerifier(tokens.RemoteConfig{URL: "x", Algorithms: []tokens.Algorithm{tokens.HS512}, Interval: -1})
	for _, field := range []string{"URL", "Algorithms", "Interval", "Issuer"} {
		assert.ErrorContains(t, err, field)
	}
	p := publish(t)
	p.serveKeys(t, generate(t, tokens.EdDSA))
	for _, test := range []struct {
		change func(*tokens.RemoteConfig)
		field  string // that is wrong, or empty
	}{
		{func(c *tokens.RemoteConfig) { c.URL = "" }, "URL"},
		{func(c *tokens.RemoteConfig) { c.URL = "https://" }, "URL"},
		{func(c *tokens.RemoteConfig) { c.URL = "ftp://h" }, "URL"},
		{func(c *tokens.RemoteConfig) { c.URL = "http://h\x7f" }, "URL"},
		{func(c *tokens.RemoteConfig) { c.Interval = -1 }, "Interval"},
		{func(c *tokens.RemoteConfig) { c.RetryInterval = -1 }, "RetryInterval"},
		{func(c *tokens.RemoteConfig) { c.Leeway = -1 }, "Leeway"},
		{func(c *tokens.RemoteConfig) { c.Algorithms = []tokens.Algorithm{"EdDSA", "ES256", "RS256"} }, ""},
		{func(c *tokens.RemoteConfig) { c.Algorithms = []tokens.Algorithm{"EdDSA", ""} }, "Algorithms"},
		{func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval, c.Leeway, c.Algorithms = 0, 0, 0, nil }, ""},
		{func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval, c.Leeway = time.Hour, 1, 1 }, ""},
	} {
		config := tokens.RemoteConfig{URL: p.URL, Issuer: issuerURL, Logger: slog.New(slog.DiscardHandler)}
		test.change(&config)
		remote, err := tokens.NewRemoteVerifier(config)
		if test.field != "" {
			assert.ErrorContains(t, err, test.field)
		} else if assert.NoError(t, err) {
			remote.Close()
		}
	}
}

// TestLongestKeyIDIsVerified: the keys of other issuers have ids of up to 256 bytes.
func TestLongestKeyIDIsVerified(t *testing.T) {
	withID := func(length int) ([]*tokens.Key, error) {
		text, err := generate(t, tokens.EdDSA).PrivateJWK()
		require.NoError(t, err)
		var members map[string]any
		require.NoError(t, json.Unmarshal(text, &members))
		members["kid"] = strings.Repeat("k", length)
		text, err = json.Marshal(members)
		require.NoError(t, err)
		return tokens.ParseKeys(text)
	}
	_, err := withID(257)
	require.ErrorIs(t, err, tokens.ErrKey)
	keys, err := withID(256)
	require.NoError(t, err)
	p := publish(t)
	first := generate(t, tokens.EdDSA)
	p.serveKeys(t, first)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval = time.Hour, time.Hour })
	_, err = remote.Verify(t.Context(), signAccess(t, first))
	require.NoError(t, err)
	p.serveKeys(t, keys...)
	_, err = remote.Verify(t.Context(), signAccess(t, keys[0]))
	assert.NoError(t, err, "the key is fetched when its first token comes")
}
