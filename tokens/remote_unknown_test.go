package tokens_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// fakeClock is a clock that only a test advances.
type fakeClock struct{ seconds atomic.Int64 }

func (c *fakeClock) now() time.Time          { return epoch.Add(time.Duration(c.seconds.Load()) * time.Second) }
func (c *fakeClock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

// TestRemoteVerifierRemembersUnknownKeys: a key that no fetch brings causes one fetch in
// an interval, however many tokens name it.
func TestRemoteVerifierRemembersUnknownKeys(t *testing.T) {
	first, second, third := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	p := publish(t)
	p.serveKeys(t, first)
	clock := new(fakeClock)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) {
		c.Interval, c.RetryInterval, c.Now, c.Leeway = time.Hour, time.Minute, clock.now, time.Hour
	})
	_, err := remote.Verify(t.Context(), signAccess(t, first))
	require.NoError(t, err)
	unknown := signAccess(t, third)
	for range 3 {
		fetches := p.fetches.Load()
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				for range 10 {
					_, err := remote.Verify(t.Context(), unknown)
					assert.ErrorIs(t, err, tokens.ErrUnknownKey)
				}
			})
		}
		callers.Wait()
		assert.Equal(t, fetches+1, p.fetches.Load())
		clock.advance(time.Minute)
	}
	fetches := p.fetches.Load()
	fourth := signAccess(t, generate(t, tokens.EdDSA))
	for range 3 {
		for _, token := range []string{unknown, fourth} {
			_, err := remote.Verify(t.Context(), token)
			assert.ErrorIs(t, err, tokens.ErrUnknownKey)
		}
	}
	assert.Equal(t, fetches+2, p.fetches.Load(), "one for each key")
	clock.advance(time.Minute)
	fetches = p.fetches.Load()
	for _, header := range []string{
		`{"alg":"EdDSA","typ":"at+jwt"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"` + strings.Repeat("k", 300) + `"}`,
	} {
		_, err := remote.Verify(t.Context(), signParts(header, "{}"))
		assert.ErrorIs(t, err, tokens.ErrUnknownKey, "no key can have such an id")
	}
	assert.Equal(t, fetches, p.fetches.Load())

	_, err = remote.Verify(t.Context(), unknown)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	p.serveKeys(t, first, second, third)
	_, err = remote.Verify(t.Context(), unknown)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey, "tokens of the key have just caused a fetch")
	_, err = remote.Verify(t.Context(), signAccess(t, second))
	assert.NoError(t, err, "a new key is fetched when its first token comes")
	_, err = remote.Verify(t.Context(), unknown)
	assert.NoError(t, err, "the fetch for another key has brought it")
}

// TestRetryIntervalIs30SecondsByDefault: after a burst, tokens with unknown keys cause a fetch in each.
func TestRetryIntervalIs30SecondsByDefault(t *testing.T) {
	first := generate(t, tokens.EdDSA)
	p := publish(t)
	p.serveKeys(t, first)
	clock := new(fakeClock)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval, c.Now = time.Hour, 0, clock.now })
	_, err := remote.Verify(t.Context(), signAccess(t, first))
	require.NoError(t, err)
	send := func(round string) int64 {
		for i := range 6 {
			_, err := remote.Verify(t.Context(), signParts(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+fmt.Sprint(round, i)+`"}`, "{}"))
			require.ErrorIs(t, err, tokens.ErrUnknownKey)
		}
		return p.fetches.Load()
	}
	assert.EqualValues(t, 1+5, send("burst"))
	clock.advance(29 * time.Second)
	assert.EqualValues(t, 1+5, send("too early"))
	clock.advance(time.Second)
	assert.EqualValues(t, 1+5+1, send("in time"))
}

// TestRemoteVerifierAllowsABurst: a few tokens with unknown keys do not delay a new key,
// and many do not cause more fetches than allowed.
func TestRemoteVerifierAllowsABurst(t *testing.T) {
	first := generate(t, tokens.EdDSA)
	p := publish(t)
	p.serveKeys(t, first)
	clock := new(fakeClock)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) {
		c.Interval, c.RetryInterval, c.Now, c.Leeway = time.Hour, time.Minute, clock.now, 24*time.Hour
	})
	// Anybody can make such a token, without any key.
	foreign := func(id string) string { return signParts(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+id+`"}`, "{}") }
	send := func(round string, count int) {
		t.Helper()
		for i := range count {
			_, err := remote.Verify(t.Context(), foreign(fmt.Sprint(round, i)))
			require.ErrorIs(t, err, tokens.ErrUnknownKey)
		}
	}
	_, err := remote.Verify(t.Context(), signAccess(t, first))
	require.NoError(t, err)
	send("first", 1)
	require.EqualValues(t, 2, p.fetches.Load(), "the first fetch, and one for the token")
	send("some", 3)
	second := generate(t, tokens.EdDSA)
	p.serveKeys(t, second)
	_, err = remote.Verify(t.Context(), signAccess(t, second))
	assert.NoError(t, err, "the other unknown keys leave a fetch for it")

	send("many", 50)
	assert.EqualValues(t, 6, p.fetches.Load(), "the first fetch, and a burst")
	third := generate(t, tokens.EdDSA)
	p.serveKeys(t, third)
	_, err = remote.Verify(t.Context(), signAccess(t, third))
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	clock.advance(59 * time.Second)
	send("later", 50)
	assert.EqualValues(t, 6, p.fetches.Load())
	clock.advance(time.Second)
	_, err = remote.Verify(t.Context(), signAccess(t, third))
	assert.NoError(t, err)
	send("later still", 50)
	assert.EqualValues(t, 7, p.fetches.Load())
	clock.advance(time.Hour)
	send("much later", 50)
	assert.EqualValues(t, 12, p.fetches.Load(), "a longer pause allows no more than a burst")
	clock.advance(-2 * time.Hour)
	send("the clock is set back", 50)
	assert.EqualValues(t, 12, p.fetches.Load())
	clock.advance(time.Minute)
	send("and goes on", 50)
	assert.EqualValues(t, 13, p.fetches.Load())
}
