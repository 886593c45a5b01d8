package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// accountCache holds accounts for a bounded time. What it holds may only grant:
// before anyone is refused the backend is asked.
//
// A change through the same Accounts is seen at once: forget drops the account, and
// a read that began before it is never stored after it, nor joined.
type accountCache struct {
	backend Backend
	ttl     time.Duration
	grace   time.Duration
	clock   func() time.Time

	accounts *otter.Cache[ID, *cachedAccount]
	flights  singleflight.Group
	stripes  [cacheStripes]cacheStripe
}

const cacheStripes = 64

// cacheStripe counts the changes of the accounts that share it. The lock makes
// "look at the count, then store" and "count, then drop" exclude each other.
type cacheStripe struct {
	sync.Mutex
	changes uint64
	_       [48]byte // keeps neighbours out of the cache line
}

// cachedAccount is an account as a read found it. Its time counts from the
// beginning of the read.
type cachedAccount struct {
	account *Account
	read    time.Time
}

func newAccountCache(backend Backend, ttl, grace time.Duration, size int, clock func() time.Time) *accountCache {
	return &accountCache{
		backend: backend, ttl: ttl, grace: grace, clock: clock,
		accounts: otter.Must(&otter.Options[ID, *cachedAccount]{
			MaximumSize: size,
			// Upkeep runs on the goroutine that finds it due, not on one of its own.
			Executor: func(work func()) { work() },
		}),
	}
}

func (c *accountCache) stripe(id ID) *cacheStripe { return &c.stripes[id[len(id)-1]%cacheStripes] }

// held returns what was read less than a TTL ago, nil where there is none.
func (c *accountCache) held(id ID, now time.Time) *Account { return c.youngerThan(c.ttl, id, now) }

// heldInOutage is held while the backend does not answer.
func (c *accountCache) heldInOutage(id ID, now time.Time) *Account {
	if c.grace == 0 {
		return nil
	}
	return c.youngerThan(c.ttl+c.grace, id, now)
}

func (c *accountCache) youngerThan(age time.Duration, id ID, now time.Time) *Account {
	entry, found := c.accounts.GetIfPresent(id)
	if !found || now.Sub(entry.read) >= age || now.Before(entry.read) {
		return nil
	}
	return entry.account
}

// fetch asks the backend, once for all who ask at the same time.
func (c *accountCache) fetch(ctx context.Context, id ID) (*Account, error) {
	for {
		found, err, shared := c.flights.Do(string(id[:]), func() (any, error) { return c.read(ctx, id) })
		if err == nil {
			return found.(*Account), nil
		}
		// It may have been another caller's context that ended; a backend whose own
		// deadline has passed says that it is unavailable.
		theirs := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable)
		if shared && theirs && ctx.Err() == nil {
			continue
		}
		return nil, err
	}
}

func (c *accountCache) read(ctx context.Context, id ID) (*Account, error) {
	stripe := c.stripe(id)
	stripe.Lock()
	before := stripe.changes
	stripe.Unlock()
	began := c.clock()
	account, err := c.backend.FindByID(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	stripe.Lock()
	defer stripe.Unlock()
	switch {
	case stripe.changes != before:
	case err != nil:
		c.accounts.Invalidate(id)
	default:
		c.accounts.Set(id, &cachedAccount{account, began})
	}
	return account, err
}

// forget is called after a change, also one that may have failed.
func (c *accountCache) forget(id ID) {
	stripe := c.stripe(id)
	stripe.Lock()
	defer stripe.Unlock()
	stripe.changes++
	c.accounts.Invalidate(id)
	c.flights.Forget(string(id[:]))
}

// cachingBackend is a Backend of which FindByID may be answered from the cache by
// who asks for it; all changes go through it, and all other reads past it.
type cachingBackend struct {
	Backend
	cache *accountCache
}

func (b *cachingBackend) Update(ctx context.Context, id ID, change func(*Account) error) error {
	defer b.cache.forget(id)
	return b.Backend.Update(ctx, id, change)
}

func (b *cachingBackend) Delete(ctx context.Context, id ID) error {
	defer b.cache.forget(id)
	return b.Backend.Delete(ctx, id)
}
