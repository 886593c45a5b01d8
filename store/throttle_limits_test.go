package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestGuessesAtOnceKeepToTheLimit starts more guesses of one name than may fail, while the hasher
// is busy. Those beyond the limit wait, and are refused when the others have failed.
func TestGuessesAtOnceKeepToTheLimit(t *testing.T) {
	for name, test := range map[string]struct {
		throttle store.Throttle
		failed   int // before
		after    time.Duration
		allowed  int
	}{
		"free failures":              {store.Throttle{FreeFailures: 3}, 0, 0, 3},
		"free failures, two left":    {store.Throttle{FreeFailures: 3}, 1, 0, 2},
		"after the free failures":    {store.Throttle{FreeFailures: 3}, 3, time.Second, 1},
		"long after the free ones":   {store.Throttle{FreeFailures: 3}, 5, time.Hour, 1},
		"hard cap":                   {store.Throttle{HardCap: 3}, 0, 0, 3},
		"hard cap, one left":         {store.Throttle{HardCap: 3}, 2, 0, 1},
		"hard cap above free, later": {store.Throttle{FreeFailures: 1, HardCap: 3}, 2, time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.throttle.AddressPending = -1
				k := newThrottled(t, test.throttle)
				for range test.failed {
					require.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials)
					k.now = k.now.Add(2 * time.Second)
				}
				k.now = k.now.Add(test.after)
				k.hasher.asked.Store(0)
				k.hasher.hold = make(chan struct{})
				const guesses = 6
				results := make(chan error, guesses)
				for range guesses {
					go func() { results <- k.login("ada", "guess", "") }()
				}
				synctest.Wait()
				assert.Equal(t, int64(test.allowed), k.hasher.asked.Load())
				close(k.hasher.hold)
				wrong := 0
				for range guesses {
					err := <-results
					if assert.True(t, errors.Is(err, store.ErrCredentials) || errors.Is(err, store.ErrThrottled), "%v", err) && errors.Is(err, store.ErrCredentials) {
						wrong++
					}
				}
				assert.Equal(t, test.allowed, wrong)
				assert.ErrorIs(t, k.login("ada", secret, ""), store.ErrThrottled)
			})
		})
	}
}

// TestWaitForOthersOfTheNameEnds: the hasher is stuck. After 10 seconds a login gives up, and so it
// does when its client hangs up. Nothing is counted.
func TestWaitForOthersOfTheNameEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newThrottled(t, store.Throttle{FreeFailures: 1})
		k.hasher.hold = make(chan struct{})
		first := make(chan error)
		go func() { first <- k.login("ada", secret, home) }()
		synctest.Wait()

		start := time.Now()
		err := k.login("ada", secret, home)
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.NotErrorIs(t, err, store.ErrThrottled)
		assert.Equal(t, 10*time.Second, time.Since(start))

		ctx, hangUp := context.WithCancel(t.Context())
		go hangUp()
		_, err = k.Login(ctx, store.Login{Username: "ada", Password: secret, Session: store.NewSession{ClientID: "app"}})
		assert.ErrorIs(t, err, context.Canceled)

		close(k.hasher.hold)
		assert.NoError(t, <-first)
		assert.NoError(t, k.login("ada", secret, home), "one more free failure")
	})
}

// TestOtherOfTheNameEndsBeforeTheWait: a login finds another one under way, which has ended when
// it begins to wait. So nobody else will wake it up.
func TestOtherOfTheNameEndsBeforeTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &meanwhileBackend{Backend: memstore.New()}
		hasher := &plainHasher{hold: make(chan struct{})}
		k := newKit(t, store.Config{Backend: backend, Passwords: hasher, Throttle: store.Throttle{FreeFailures: 1}})
		k.create(t, "ada")
		login := func() error {
			return second(k.Login(context.Background(), store.Login{Username: "ada", Password: secret, Session: store.NewSession{ClientID: "app"}}))
		}
		first := make(chan error)
		go func() { first <- login() }()
		synctest.Wait()
		backend.meanwhile = func() {
			close(hasher.hold)
			assert.NoError(t, <-first)
		}
		start := time.Now()
		assert.NoError(t, login())
		assert.Zero(t, time.Since(start))
	})
}

// meanwhileBackend does something before the next look at a record.
type meanwhileBackend struct {
	store.Backend
	meanwhile func()
}

func (b *meanwhileBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if meanwhile := b.meanwhile; meanwhile != nil {
		b.meanwhile = nil
		meanwhile()
	}
	return b.Backend.UpdateRecord(ctx, key, now, change)
}

// TestNamesAndAddressesDoNotRunIntoEachOther: ada1 at 92.0.2.1 is not ada at 192.0.2.1.
func TestNamesAndAddressesDoNotRunIntoEachOther(t *testing.T) {
	k := newThrottled(t, store.Throttle{FreeFailures: 1})
	k.create(t, "ada1")
	require.NoError(t, k.login("ada1", secret, "92.0.2.1"))
	require.ErrorIs(t, k.login("ada", "guess", other), store.ErrCredentials)
	assert.ErrorIs(t, k.login("ada", secret, "192.0.2.1"), store.ErrThrottled, "ada has never logged in from there")
}

// TestStuckCounterEndsTheLogin: the count outlives the client, and not for ever.
func TestStuckCounterEndsTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &stuckBackend{Backend: memstore.New()}
		k := newKit(t, store.Config{Backend: backend, Passwords: &plainHasher{}})
		k.create(t, "ada")
		backend.stuck = true
		start := time.Now()
		err := second(k.Login(t.Context(), store.Login{Username: "ada", Password: "guess", Session: store.NewSession{ClientID: "app"}}))
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.NotErrorIs(t, err, store.ErrCredentials)
		assert.Equal(t, 5*time.Second, time.Since(start))
	})
}

// stuckBackend does not end a write of a record before the context does.
type stuckBackend struct {
	store.Backend
	stuck bool
}

func (b *stuckBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	err := b.Backend.UpdateRecord(ctx, key, now, change)
	if b.stuck && err == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// TestLimitsOfAnAddressAreIndependent: each of the two works without the other.
func TestLimitsOfAnAddressAreIndependent(t *testing.T) {
	t.Run("failures", func(t *testing.T) {
		k := newThrottled(t, store.Throttle{AddressFailures: 2, AddressPending: -1})
		for i := range 2 {
			require.ErrorIs(t, k.login(fmt.Sprint("name", i), "guess", other), store.ErrCredentials)
		}
		assert.ErrorIs(t, k.login("ada", secret, other), store.ErrThrottled)
	})
	t.Run("pending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newThrottled(t, store.Throttle{AddressFailures: -1, AddressPending: 2})
			k.hasher.hold = make(chan struct{})
			results := make(chan error, 2)
			for i := range 2 {
				go func() { results <- k.login(fmt.Sprint("name", i), "guess", other) }()
			}
			synctest.Wait()
			assert.ErrorIs(t, k.login("ada", secret, other), store.ErrUnavailable)
			close(k.hasher.hold)
			for range 2 {
				assert.ErrorIs(t, <-results, store.ErrCredentials)
			}
			assert.NoError(t, k.login("ada", secret, other))
		})
	})
	t.Run("failures of logins under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newThrottled(t, store.Throttle{AddressFailures: 2})
			k.hasher.hold = make(chan struct{})
			results := make(chan error, 2)
			for i := range 2 {
				go func() { results <- k.login(fmt.Sprint("name", i), "guess", other) }()
			}
			synctest.Wait()
			var throttled *store.ThrottledError
			require.ErrorAs(t, k.login("ada", secret, other), &throttled)
			assert.Equal(t, time.Second, throttled.RetryAfter, "they may yet be right")
			close(k.hasher.hold)
			for range 2 {
				assert.ErrorIs(t, <-results, store.ErrCredentials)
			}
		})
	})
}

// TestHourOfAnAddressBeginsWithItsFirstFailure: later failures do not make it longer.
func TestHourOfAnAddressBeginsWithItsFirstFailure(t *testing.T) {
	k := newThrottled(t, store.Throttle{AddressFailures: 3})
	guess := func(name string) error { return k.login(name, "guess", other) }
	require.ErrorIs(t, guess("name0"), store.ErrCredentials)
	k.now = epoch.Add(50 * time.Minute)
	require.ErrorIs(t, guess("name1"), store.ErrCredentials)
	require.ErrorIs(t, guess("name2"), store.ErrCredentials)
	k.now = epoch.Add(time.Hour - time.Millisecond)
	var throttled *store.ThrottledError
	require.ErrorAs(t, k.login("ada", secret, other), &throttled)
	assert.Equal(t, time.Second, throttled.RetryAfter, "a client that waits no time tries at once")
	k.now = epoch.Add(time.Hour)
	for i := range 3 {
		require.ErrorIs(t, guess(fmt.Sprint("name", 3+i)), store.ErrCredentials)
	}
	require.ErrorAs(t, guess("name6"), &throttled)
	assert.Equal(t, time.Hour, throttled.RetryAfter)
}

// TestDayWithoutFailuresForgetsThem: at the end of the day, also where the name has logged in before.
func TestDayWithoutFailuresForgetsThem(t *testing.T) {
	for _, address := range []string{"", home} {
		for _, hours := range []time.Duration{24*time.Hour - time.Millisecond, 24 * time.Hour} {
			k := newThrottled(t, store.Throttle{FreeFailures: 3})
			require.NoError(t, k.login("ada", secret, address))
			for range 3 {
				require.ErrorIs(t, k.login("ada", "guess", address), store.ErrCredentials)
			}
			k.now = k.now.Add(hours)
			require.ErrorIs(t, k.login("ada", "guess", address), store.ErrCredentials)
			if hours < 24*time.Hour {
				assert.ErrorIs(t, k.login("ada", "guess", address), store.ErrThrottled, address)
			} else {
				assert.ErrorIs(t, k.login("ada", "guess", address), store.ErrCredentials, address)
			}
		}
	}
}

// TestGuessUnderWayElsewhereHoldsNoOwnerUp: where the name has logged in before it is counted by itself.
func TestGuessUnderWayElsewhereHoldsNoOwnerUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newThrottled(t, store.Throttle{FreeFailures: 1})
		require.NoError(t, k.login("ada", secret, home))
		hold := make(chan struct{})
		k.hasher.hold = hold
		guess := make(chan error)
		go func() { guess <- k.login("ada", "guess", other) }()
		synctest.Wait()
		k.hasher.hold = nil
		start := time.Now()
		assert.NoError(t, k.login("ada", secret, home))
		assert.Zero(t, time.Since(start))
		close(hold)
		assert.ErrorIs(t, <-guess, store.ErrCredentials)
	})
}

// TestForgottenFailuresHoldNobodyUp: a day after the last failure, workers of one service start at once.
func TestForgottenFailuresHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newThrottled(t, store.Throttle{FreeFailures: 2})
		require.NoError(t, k.login("ada", secret, home))
		for range 2 {
			require.ErrorIs(t, k.login("ada", "guess", home), store.ErrCredentials)
		}
		k.now = k.now.Add(24 * time.Hour)
		k.hasher.hold = make(chan struct{})
		results := make(chan error)
		for range 2 {
			go func() { results <- k.login("ada", secret, home) }()
		}
		synctest.Wait()
		close(k.hasher.hold)
		for range 2 {
			assert.NoError(t, <-results)
		}
	})
}

// TestOwnerIsRememberedForMonths: what others guess elsewhere does not lock the owner out, 89 days
// after the last login from there, and whether or not a typo came after it.
func TestOwnerIsRememberedForMonths(t *testing.T) {
	for _, typo := range []bool{false, true} {
		k := newThrottled(t, store.Throttle{AddressFailures: -1})
		require.NoError(t, k.login("ada", secret, home))
		if typo {
			require.ErrorIs(t, k.login("ada", "typo", home), store.ErrCredentials)
		}
		k.now = k.now.Add(89 * 24 * time.Hour)
		for range 10 {
			require.ErrorIs(t, k.login("ada", "guess", other), store.ErrCredentials)
		}
		require.ErrorIs(t, k.login("ada", secret, other), store.ErrThrottled)
		assert.NoError(t, k.login("ada", secret, home), "typo: %v", typo)
	}
}

func TestSuccessWithoutAddressWritesNothing(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	for range 3 {
		require.NoError(t, k.login("ada", secret, ""))
	}
	assert.Zero(t, k.records.written.Load(), "there is no failure to forget, and no address to remember")
}

// TestCountsAreKeptNoLongerThanTheyCount: the database would fill with the names that strangers
// try. Only under a hard cap a count stands for ever.
func TestCountsAreKeptNoLongerThanTheyCount(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		throttle store.Throttle
		act      func(k *kit, login func(pass, address string) error)
		kept     []time.Duration
	}{
		"failure of a name": {store.Throttle{}, func(_ *kit, login func(pass, address string) error) {
			_ = login("guess", "")
		}, []time.Duration{day}},
		"failure at an address": {store.Throttle{}, func(_ *kit, login func(pass, address string) error) {
			_ = login("guess", other)
		}, []time.Duration{day, time.Hour}},
		"failure at an address without a limit": {store.Throttle{AddressFailures: -1}, func(_ *kit, login func(pass, address string) error) {
			_ = login("guess", other)
		}, []time.Duration{day}},
		"success": {store.Throttle{}, func(_ *kit, login func(pass, address string) error) {
			_ = login(secret, home)
		}, []time.Duration{90 * day}},
		"mail to an address, twice": {store.Throttle{}, func(k *kit, _ func(pass, address string) error) {
			_ = k.StartPasswordReset(context.Background(), "ada@example.org", "")
			k.now = k.now.Add(time.Minute)
			_ = k.StartPasswordReset(context.Background(), "ada@example.org", "")
		}, []time.Duration{time.Hour, 59 * time.Minute}},
		"unblock": {store.Throttle{}, func(k *kit, _ func(pass, address string) error) {
			account, _ := k.FindByName(context.Background(), "ada")
			_ = k.Unblock(context.Background(), account.ID)
		}, []time.Duration{90 * day, 90 * day, 90 * day}},
		"failure under a hard cap": {store.Throttle{HardCap: 5}, func(_ *kit, login func(pass, address string) error) {
			_ = login("guess", "")
		}, []time.Duration{100 * 365 * day}},
		"unblock under a hard cap": {store.Throttle{HardCap: 5}, func(k *kit, _ func(pass, address string) error) {
			account, _ := k.FindByName(context.Background(), "ada")
			_ = k.Unblock(context.Background(), account.ID)
		}, []time.Duration{100 * 365 * day, 100 * 365 * day, 100 * 365 * day}},
	} {
		t.Run(name, func(t *testing.T) {
			backend := &expiringBackend{Backend: memstore.New()}
			k := newKit(t, store.Config{Backend: backend, Passwords: &plainHasher{}, Throttle: test.throttle, Mailer: &outbox{}})
			k.create(t, "ada")
			test.act(k, func(pass, address string) error {
				_, err := k.Login(t.Context(), store.Login{Username: "ada", Password: pass, Address: address, Session: store.NewSession{ClientID: "app"}})
				return err
			})
			assert.Equal(t, test.kept, backend.kept)
		})
	}
}

// expiringBackend notes how long the records are kept that are written.
type expiringBackend struct {
	store.Backend
	kept []time.Duration
}

func (b *expiringBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	return b.Backend.UpdateRecord(ctx, key, now, func(r *store.Record) error {
		err := change(r)
		if err == nil {
			b.kept = append(b.kept, r.Expires.Sub(now))
		}
		return err
	})
}

// TestWaitsDouble from the first to the longest, after the free failures.
func TestWaitsDouble(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, test := range []struct {
		throttle store.Throttle
		free     int
		waits    []time.Duration
	}{
		{store.Throttle{}, 10, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 512 * s, 15 * m, 15 * m}},
		{store.Throttle{FreeFailures: 2, FirstWait: 3 * s, MaxWait: 10 * s}, 2, []time.Duration{3 * s, 6 * s, 10 * s, 10 * s}},
		{store.Throttle{FreeFailures: 1, FirstWait: m, MaxWait: m}, 1, []time.Duration{m, m}},
		{store.Throttle{FreeFailures: 1, FirstWait: s, MaxWait: 4 * s}, 1, []time.Duration{s, 2 * s, 4 * s, 4 * s}},
	} {
		k := newThrottled(t, test.throttle)
		for range test.free - 1 {
			require.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials)
		}
		for _, wait := range test.waits {
			require.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials)
			var throttled *store.ThrottledError
			require.ErrorAs(t, k.login("ada", secret, ""), &throttled)
			assert.Equal(t, wait, throttled.RetryAfter)
			k.now = k.now.Add(wait - time.Millisecond)
			require.ErrorAs(t, k.login("ada", secret, ""), &throttled)
			assert.Equal(t, time.Millisecond, throttled.RetryAfter)
			k.now = k.now.Add(time.Millisecond)
		}
	}
}
