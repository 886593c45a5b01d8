package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// plainHasher compares passwords in the clear, and counts how often it is asked.
type plainHasher struct {
	asked atomic.Int64
	hold  chan struct{} // if set, each Verify waits for it
}

func (h *plainHasher) Hash(_ context.Context, pass string) (string, error) {
	return "hash:" + pass, nil
}

func (h *plainHasher) Verify(_ context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	h.asked.Add(1)
	if h.hold != nil {
		<-h.hold
	}
	hash, err := stored()
	return hash == "hash:"+pass, false, err
}

// errDisk is an error that Backend does not name, so it counts as an outage.
var errDisk = errors.New("the disk failed")

// recordsBackend counts the records that are written, and can refuse them.
type recordsBackend struct {
	store.Backend
	written atomic.Int64
	fail    atomic.Bool

	failWrites atomic.Bool
}

func (b *recordsBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if b.fail.Load() {
		return errDisk
	}
	err := b.Backend.UpdateRecord(ctx, key, now, func(r *store.Record) error {
		if err := change(r); err != nil {
			return err
		}
		if b.failWrites.Load() {
			return errDisk
		}
		return nil
	})
	if err == nil {
		b.written.Add(1)
	}
	return err
}

type throttled struct {
	*kit
	hasher  *plainHasher
	records *recordsBackend
	account *store.Account
}

const (
	home  = "192.0.2.1"
	other = "198.51.100.7"
)

func newThrottled(t *testing.T, throttle store.Throttle) *throttled {
	t.Helper()
	k := &throttled{hasher: &plainHasher{}, records: &recordsBackend{Backend: memstore.New()}}
	k.kit = newKit(t, store.Config{Backend: k.records, Passwords: k.hasher, Throttle: throttle})
	k.account = k.create(t, "ada")
	return k
}

func (k *throttled) login(username, pass, address string) error {
	_, err := k.Login(context.Background(), store.Login{
		Username: username, Password: pass, Address: address, Session: store.NewSession{ClientID: "app"},
	})
	return err
}

// TestGuessingIsThrottled: 60 wrong passwords in two seconds. Ten are looked at, and
// the right one after them is not.
func TestGuessingIsThrottled(t *testing.T) {
	for _, username := range []string{"ada", "ADA@example.org", "nobody", "nobody@example.org"} {
		for _, address := range []string{"", other} {
			k := newThrottled(t, store.Throttle{AddressFailures: 1000})
			for i := range 60 {
				k.now = k.now.Add(33 * time.Millisecond)
				err := k.login(username, fmt.Sprint("guess", i), address)
				if i < 10 {
					require.ErrorIs(t, err, store.ErrCredentials, "%s %d", username, i)
				} else if i == 10 {
					require.ErrorIs(t, err, store.ErrThrottled)
				}
			}
			assert.Equal(t, int64(10+1), k.hasher.asked.Load(), "the eleventh came after its wait of a second: %s", username)
			written := k.records.written.Load()
			err := k.login(username, secret, address)
			var throttled *store.ThrottledError
			require.ErrorAs(t, err, &throttled)
			assert.Positive(t, throttled.RetryAfter)
			assert.LessOrEqual(t, throttled.RetryAfter, 2*time.Second)
			assert.Equal(t, int64(11), k.hasher.asked.Load(), "the hasher is untouched")
			assert.Equal(t, written, k.records.written.Load(), "a blocked key is read, not written")
		}
	}
}

// TestThrottleArithmetic: an attacker who guesses as soon as he may.
func TestThrottleArithmetic(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	guess := func(until time.Time) (guesses int) {
		for k.now.Before(until) {
			err := k.login("ada", "guess", "")
			var throttled *store.ThrottledError
			switch {
			case errors.As(err, &throttled):
				k.now = k.now.Add(throttled.RetryAfter)
			default:
				require.ErrorIs(t, err, store.ErrCredentials)
				guesses++
			}
		}
		return guesses
	}
	assert.InDelta(t, 115, guess(epoch.Add(24*time.Hour)), 2)
	assert.InDelta(t, 96, guess(epoch.Add(48*time.Hour)), 1)
	_ = k.login("ada", "guess", "")
	assert.ErrorIs(t, k.login("ada", secret, ""), store.ErrThrottled)
	k.now = k.now.Add(15 * time.Minute)
	assert.NoError(t, k.login("ada", secret, other), "the owner needs one turn")
	assert.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials)
	assert.ErrorIs(t, k.login("ada", "guess", ""), store.ErrThrottled, "a success somewhere forgets nothing elsewhere")
	k.now = k.now.Add(24 * time.Hour)
	for range 10 {
		assert.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials, "a day without failures forgets them")
	}
}

// TestOwnerIsNotLockedOut: others guess elsewhere; the owner goes on logging in where
// the name has logged in before.
func TestOwnerIsNotLockedOut(t *testing.T) {
	k := newThrottled(t, store.Throttle{AddressFailures: 1000})
	require.NoError(t, k.login("ada", secret, home))
	for range 100 {
		_ = k.login("ada", "guess", other)
		k.now = k.now.Add(time.Second)
	}
	require.ErrorIs(t, k.login("ada", secret, other), store.ErrThrottled)
	assert.NoError(t, k.login("ada", secret, home))
	for range 10 {
		assert.ErrorIs(t, k.login("ada", "guess", home), store.ErrCredentials)
	}
	assert.ErrorIs(t, k.login("ada", secret, home), store.ErrThrottled, "the place has a count of its own")
	k.now = k.now.Add(time.Second)
	assert.NoError(t, k.login("ada", secret, home))
	for range 10 {
		assert.ErrorIs(t, k.login("ada", "guess", home), store.ErrCredentials, "a success there forgets its failures")
	}
	require.NoError(t, k.Unblock(t.Context(), k.account.ID))
	assert.NoError(t, k.login("ada", secret, home))
	assert.NoError(t, k.login("ada", secret, other))
}

func TestSuccessIsWrittenDailyAtMost(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	require.NoError(t, k.login("ada", secret, home))
	written := k.records.written.Load()
	for range 5 {
		k.now = k.now.Add(4 * time.Hour)
		require.NoError(t, k.login("ada", secret, home))
	}
	assert.Equal(t, written, k.records.written.Load())
	k.now = k.now.Add(4 * time.Hour)
	require.NoError(t, k.login("ada", secret, home))
	assert.Equal(t, written+1, k.records.written.Load())
}

// TestAddressIsThrottled: many names from one address, or from one network of IPv6.
func TestAddressIsThrottled(t *testing.T) {
	for name, address := range map[string]func(i int) string{
		"IPv4":         func(int) string { return other },
		"IPv4 in IPv6": func(i int) string { return []string{other, "::ffff:" + other}[i%2] },
		"IPv6 network": func(i int) string { return fmt.Sprintf("2001:db8:1:2::%x", i+1) },
	} {
		k := newThrottled(t, store.Throttle{})
		for i := range 100 {
			require.ErrorIs(t, k.login(fmt.Sprint("name", i), "guess", address(i)), store.ErrCredentials, "%s %d", name, i)
		}
		err := k.login("ada", secret, address(0))
		var throttled *store.ThrottledError
		require.ErrorAs(t, err, &throttled, name)
		assert.Equal(t, time.Hour, throttled.RetryAfter)
		assert.NoError(t, k.login("ada", secret, "2001:db8:1:3::1"), "another network")
		assert.NoError(t, k.login("ada", secret, ""), "an address that is not known")
		k.now = k.now.Add(time.Hour)
		assert.NoError(t, k.login("ada", secret, address(0)))
		assert.NoError(t, k.login("ada", secret, address(0)))
	}
}

// TestSuccessNeverClearsTheAddress: else an attacker with an account of his own would
// guess for ever.
func TestSuccessNeverClearsTheAddress(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	k.create(t, "attacker")
	for i := range 100 {
		require.ErrorIs(t, k.login(fmt.Sprint("name", i), "guess", other), store.ErrCredentials)
		if i < 99 {
			require.NoError(t, k.login("attacker", secret, other))
		}
	}
	assert.ErrorIs(t, k.login("attacker", secret, other), store.ErrThrottled)
}

// TestManyGuessesAtOnce: 500 in one moment, over two processes. Each lets through what
// is free, less what it knows of the other.
func TestManyGuessesAtOnce(t *testing.T) {
	for _, username := range []string{"ada", "nobody"} {
		k := newThrottled(t, store.Throttle{})
		second := newKit(t, store.Config{Backend: k.records, Passwords: k.hasher})
		var all sync.WaitGroup
		var answered, refused atomic.Int64
		for i := range 500 {
			all.Go(func() {
				accounts := []*store.Accounts{k.Accounts, second.Accounts}[i%2]
				_, err := accounts.Login(t.Context(), store.Login{Username: username, Password: "guess", Session: store.NewSession{ClientID: "app"}})
				switch {
				case errors.Is(err, store.ErrCredentials):
					answered.Add(1)
				case errors.Is(err, store.ErrThrottled):
					refused.Add(1)
				}
			})
		}
		all.Wait()
		assert.Equal(t, int64(500), answered.Load()+refused.Load())
		assert.Equal(t, answered.Load(), k.hasher.asked.Load())
		assert.GreaterOrEqual(t, answered.Load(), int64(10))
		assert.LessOrEqual(t, answered.Load(), int64(2*10), "two processes may overshoot by what they have reserved")
		assert.ErrorIs(t, k.login(username, secret, ""), store.ErrThrottled)
	}
}

// TestOneProcessNeverOvershoots: whatever the interleaving, no more than the free
// failures reach the hasher.
func TestOneProcessNeverOvershoots(t *testing.T) {
	for range 50 {
		k := newThrottled(t, store.Throttle{FreeFailures: 3})
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				for range 4 {
					_ = k.login("ada", "guess", "")
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, k.hasher.asked.Load(), int64(3))
	}
}

// TestOneAddressHasAShareOfTheQueue: it is decided before the queue of the hasher.
func TestOneAddressHasAShareOfTheQueue(t *testing.T) {
	k := newThrottled(t, store.Throttle{AddressPending: 4})
	k.hasher.hold = make(chan struct{})
	results := make(chan error)
	for i := range 50 {
		go func() { results <- k.login(fmt.Sprint("name", i), "guess", other) }()
	}
	for range 46 {
		err := <-results
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.NotErrorIs(t, err, store.ErrThrottled)
	}
	honest := make(chan error)
	go func() { honest <- k.login("ada", secret, home) }()
	close(k.hasher.hold)
	assert.NoError(t, <-honest)
	for range 4 {
		assert.ErrorIs(t, <-results, store.ErrCredentials)
	}
	assert.Equal(t, int64(5), k.hasher.asked.Load())
}

// TestEveryKindOfFailureCounts: also those that need no hash.
func TestEveryKindOfFailureCounts(t *testing.T) {
	for name, pass := range map[string]string{"wrong": "guess", "not UTF-8": "\xff", "too long": strings.Repeat("x", 1025), "empty": "", "right, but disabled": secret} {
		k := newThrottled(t, store.Throttle{})
		if name == "right, but disabled" {
			require.NoError(t, k.Disable(t.Context(), k.account.ID))
		}
		for range 10 {
			require.ErrorIs(t, k.login("ada", pass, ""), store.ErrCredentials, name)
		}
		assert.ErrorIs(t, k.login("ada", pass, ""), store.ErrThrottled, name)
	}
}

// TestBrokenCounterMeansNoGuesses: a store that cannot count lets nobody guess.
func TestBrokenCounterMeansNoGuesses(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	k.records.fail.Store(true)
	for _, pass := range []string{"guess", secret} {
		err := k.login("ada", pass, home)
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.NotErrorIs(t, err, store.ErrCredentials)
	}
	assert.Zero(t, k.hasher.asked.Load())

	synctest.Test(t, func(t *testing.T) {
		k := newThrottled(t, store.Throttle{})
		k.hasher.hold = make(chan struct{})
		answer := make(chan error)
		go func() { answer <- k.login("ada", "guess", home) }()
		synctest.Wait() // it breaks while the password is looked at: nobody learns that it was wrong
		k.records.fail.Store(true)
		close(k.hasher.hold)
		err := <-answer
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.NotErrorIs(t, err, store.ErrCredentials)
		assert.Equal(t, int64(1), k.hasher.asked.Load())
	})
}

// TestUnwritableCounterMeansNoGuesses: the counter can be read and not written. No guess
// after the first reaches the hasher, until a write works.
func TestUnwritableCounterMeansNoGuesses(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	k.records.failWrites.Store(true)
	for range 100 {
		require.ErrorIs(t, k.login("ada", "guess", home), store.ErrUnavailable)
	}
	assert.Equal(t, int64(1), k.hasher.asked.Load())
	assert.ErrorIs(t, k.login("ada", secret, home), store.ErrUnavailable)
	k.records.failWrites.Store(false)
	assert.NoError(t, k.login("ada", secret, home))
	written := k.records.written.Load()
	assert.ErrorIs(t, k.login("ada", "guess", home), store.ErrCredentials)
	assert.Equal(t, written+2, k.records.written.Load(), "the pair and the address: no more probes")
}

// TestHangingUpDoesNotStopTheCount: a guesser who leaves as soon as he can.
func TestHangingUpDoesNotStopTheCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newThrottled(t, store.Throttle{})
		for i := range 10 {
			ctx, hangUp := context.WithCancel(t.Context())
			k.hasher.hold = make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = k.Login(ctx, store.Login{Username: "nobody", Password: "guess", Session: store.NewSession{ClientID: "app"}})
			}()
			synctest.Wait()
			assert.Equal(t, int64(i+1), k.hasher.asked.Load())
			hangUp()
			close(k.hasher.hold)
			<-done
		}
		assert.ErrorIs(t, k.login("nobody", "guess", ""), store.ErrThrottled)
	})
}

func TestHardCap(t *testing.T) {
	k := newThrottled(t, store.Throttle{HardCap: 20})
	for range 10_000 {
		if err := k.login("ada", "guess", ""); errors.Is(err, store.ErrThrottled) {
			k.now = k.now.Add(15 * time.Minute)
		}
	}
	assert.Equal(t, int64(20), k.hasher.asked.Load())
	k.now = k.now.Add(365 * 24 * time.Hour)
	assert.ErrorIs(t, k.login("ada", secret, ""), store.ErrThrottled)
	require.NoError(t, k.Unblock(t.Context(), k.account.ID))
	assert.NoError(t, k.login("ada", secret, ""))

	k = newThrottled(t, store.Throttle{FreeFailures: 1, HardCap: 2})
	for range 2 {
		require.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials)
		k.now = k.now.Add(time.Second)
	}
	var throttled *store.ThrottledError
	require.ErrorAs(t, k.login("ada", secret, ""), &throttled)
	assert.Equal(t, 15*time.Minute, throttled.RetryAfter, "it does not help to try earlier")
}

func TestThrottleCanBeTurnedOff(t *testing.T) {
	k := newThrottled(t, store.Throttle{FreeFailures: -1, AddressFailures: -1, AddressPending: -1})
	for range 300 {
		require.ErrorIs(t, k.login("ada", "guess", home), store.ErrCredentials)
	}
	assert.NoError(t, k.login("ada", secret, home))
	assert.Zero(t, k.records.written.Load())
}

// TestClockThatWasWrong: failures were written while a clock was a year ahead. Nobody
// waits for that year, and the counts go on.
func TestClockThatWasWrong(t *testing.T) {
	for _, ahead := range []time.Duration{time.Minute, time.Hour, 365 * 24 * time.Hour} {
		k := newThrottled(t, store.Throttle{AddressFailures: 10})
		k.now = epoch.Add(ahead)
		for i := range 10 {
			require.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials)
			require.ErrorIs(t, k.login(fmt.Sprint("name", i), "guess", other), store.ErrCredentials)
		}
		k.now = epoch
		for _, address := range []string{"", other} {
			waited := time.Duration(0)
			for {
				err := k.login("ada", secret, address)
				if err == nil {
					break
				}
				var throttled *store.ThrottledError
				require.ErrorAs(t, err, &throttled)
				assert.LessOrEqual(t, throttled.RetryAfter, time.Hour)
				waited += throttled.RetryAfter
				k.now = k.now.Add(throttled.RetryAfter)
			}
			assert.LessOrEqual(t, waited, 2*time.Hour, "%v ahead", ahead)
		}
	}
	k := newThrottled(t, store.Throttle{})
	for range 10 {
		require.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials)
	}
	k.now = k.now.Add(-time.Hour)
	require.ErrorIs(t, k.login("ada", "guess", ""), store.ErrCredentials, "one guess")
	assert.ErrorIs(t, k.login("ada", secret, ""), store.ErrThrottled)
}

// TestPanicLeavesNothingReserved: net/http recovers a panic of Approve, and the name must
// not stay blocked by it.
func TestPanicLeavesNothingReserved(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	for range 50 {
		assert.Panics(t, func() {
			_, _ = k.Login(t.Context(), store.Login{
				Username: "ada", Password: secret, Address: home,
				Approve: func(context.Context, *store.Account) error { panic("mine") },
			})
		})
	}
	assert.NoError(t, k.login("ada", secret, home))
}

// TestRightPasswordsAtOnceAreNotFailures: a service with many workers starts.
func TestRightPasswordsAtOnceAreNotFailures(t *testing.T) {
	for _, free := range []int{1, 10} {
		k := newThrottled(t, store.Throttle{FreeFailures: free, AddressPending: -1})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { assert.NoError(t, k.login("ada", secret, []string{home, other, ""}[i%3])) })
		}
		all.Wait()
	}
}

// TestRefusalOfApproveCanCount: a wrong code of a second factor is a failed login if
// Approve says so.
func TestRefusalOfApproveCanCount(t *testing.T) {
	for _, counts := range []bool{false, true} {
		k := newThrottled(t, store.Throttle{})
		wrong := errors.New("wrong code")
		if counts {
			wrong = fmt.Errorf("wrong code: %w", store.ErrCredentials)
		}
		refused := 0
		for range 50 {
			_, err := k.Login(t.Context(), store.Login{
				Username: "ada", Password: secret, Address: home,
				Approve: func(context.Context, *store.Account) error { return wrong },
			})
			if errors.Is(err, wrong) {
				refused++
			}
		}
		assert.Equal(t, map[bool]int{false: 50, true: 10}[counts], refused)
	}
}

// TestUnblockForgets: also where the name has logged in before, and for as long as the
// failures would have counted.
func TestUnblockForgets(t *testing.T) {
	for _, hardCap := range []int{0, 20} {
		k := newThrottled(t, store.Throttle{HardCap: hardCap, AddressFailures: -1})
		require.NoError(t, k.login("ada", secret, home))
		for range 40 {
			_ = k.login("ada", "guess", home)
			_ = k.login("ada", "guess", other)
			k.now = k.now.Add(15 * time.Minute)
		}
		require.ErrorIs(t, k.login("ada", "guess", home), map[int]error{0: store.ErrCredentials, 20: store.ErrThrottled}[hardCap])
		require.NoError(t, k.Unblock(t.Context(), k.account.ID))
		k.now = k.now.Add(time.Second)
		assert.ErrorIs(t, k.login("ada", "guess", home), store.ErrCredentials, "one typo")
		assert.NoError(t, k.login("ada", secret, home))
		k.now = k.now.Add(91 * 24 * time.Hour)
		assert.NoError(t, k.login("ada", secret, other))
		assert.NoError(t, k.login("ada", secret, home))
	}
}

// TestUnblockKnowsTheEmailInAnySpelling: the address is stored as its owner wrote it.
func TestUnblockKnowsTheEmailInAnySpelling(t *testing.T) {
	k := newThrottled(t, store.Throttle{FreeFailures: 1})
	account, err := k.Create(t.Context(), store.NewAccount{Name: "grace", Email: "Grace@Example.org", Password: secret})
	require.NoError(t, err)
	require.ErrorIs(t, k.login("grace@example.org", "guess", ""), store.ErrCredentials)
	require.ErrorIs(t, k.login("GRACE@example.org", secret, ""), store.ErrThrottled)
	require.NoError(t, k.Unblock(t.Context(), account.ID))
	assert.NoError(t, k.login("grace@Example.org", secret, ""))
}

// TestUnblockOutlivesALogin: also one elsewhere, which ends the failures of the name.
func TestUnblockOutlivesALogin(t *testing.T) {
	k := newThrottled(t, store.Throttle{HardCap: 3, AddressFailures: -1})
	require.NoError(t, k.login("ada", secret, home))
	for range 3 {
		require.ErrorIs(t, k.login("ada", "guess", home), store.ErrCredentials)
	}
	require.ErrorIs(t, k.login("ada", secret, home), store.ErrThrottled)
	k.now = k.now.Add(time.Second)
	require.NoError(t, k.Unblock(t.Context(), k.account.ID))
	require.ErrorIs(t, k.login("ada", "typo", ""), store.ErrCredentials)
	require.NoError(t, k.login("ada", secret, ""))
	assert.NoError(t, k.login("ada", secret, home))
}

// TestHardCapCountsInARow: a typo a month, each followed by a success.
func TestHardCapCountsInARow(t *testing.T) {
	for name, address := range map[string]func(int) string{
		"no address":  func(int) string { return "" },
		"one address": func(int) string { return home },
		"many":        func(i int) string { return fmt.Sprint("198.51.100.", i) },
	} {
		k := newThrottled(t, store.Throttle{HardCap: 5})
		for month := range 24 {
			require.ErrorIs(t, k.login("ada", "typo", address(month)), store.ErrCredentials, name)
			k.now = k.now.Add(time.Minute)
			require.NoError(t, k.login("ada", secret, address(month)), name)
			k.now = k.now.Add(30 * 24 * time.Hour)
		}
	}
}

// TestChangePasswordIsThrottled: whoever has stolen an access token must not guess the
// password with it.
func TestChangePasswordIsThrottled(t *testing.T) {
	k := newThrottled(t, store.Throttle{})
	for range 10 {
		require.ErrorIs(t, k.changePassword(t.Context(), k.account.ID, "guess", newSecret), store.ErrCredentials)
	}
	assert.ErrorIs(t, k.changePassword(t.Context(), k.account.ID, secret, newSecret), store.ErrThrottled)
	assert.NoError(t, k.login("ada", secret, ""), "logins have a count of their own")
	require.NoError(t, k.Unblock(t.Context(), k.account.ID))
	assert.NoError(t, k.changePassword(t.Context(), k.account.ID, secret, newSecret))
}

// TestNoRawNamesInRecords: what was submitted is often a password.
func TestNoRawNamesInRecords(t *testing.T) {
	var keys []string
	backend := &keysBackend{Backend: memstore.New(), keys: &keys}
	k := newKit(t, store.Config{Backend: backend, Passwords: &plainHasher{}})
	for _, username := range []string{"hunter2", "hunter2@example.org", "hunter 2"} {
		_, err := k.Login(t.Context(), store.Login{Username: username, Password: "x", Address: home})
		require.ErrorIs(t, err, store.ErrCredentials)
	}
	require.NotEmpty(t, keys)
	for _, key := range keys {
		assert.NotContains(t, key, "hunter")
		assert.NotContains(t, key, home)
	}
}

type keysBackend struct {
	store.Backend
	keys *[]string
}

func (b *keysBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	*b.keys = append(*b.keys, key)
	return b.Backend.UpdateRecord(ctx, key, now, change)
}
