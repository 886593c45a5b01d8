package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// accountCache holds accounts for a bounded time. A cached account may let a caller in.
// It never refuses one: the backend is asked first.
//
// A change through the same Accounts is seen at once, because forget drops the account.
// A read that began before the change is not stored after it, and no later caller
// shares it.
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

// cacheStripe counts the changes of the accounts that share it. Its lock keeps two pairs
// of steps apart: read compares the count and then stores, forget counts and then drops.
type cacheStripe struct {
	sync.Mutex
	changes uint64
	_       [48]byte // keeps neighbours out of the cache line
}

// cachedAccount is an account, and when the read of it began.
type cachedAccount struct {
	account *Account
	read    time.Time
}

func newAccountCache(backend Backend, ttl, grace time.Duration, size int, clock func() time.Time) *accountCache {
	return &accountCache{
		backend: backend, ttl: ttl, grace: grace, clock: clock,
		accounts: otter.Must(&otter.Options[ID, *cachedAccount]{
			MaximumSize: size,
			// The cache does its upkeep on the calling goroutine and starts none.
			Executor: func(work func()) { work() },
		}),
	}
}

func (c *accountCache) stripe(id ID) *cacheStripe { return &c.stripes[id[len(id)-1]%cacheStripes] }

// held returns the account if it was read less than a TTL ago, else nil.
func (c *accountCache) held(id ID, now time.Time) *Account { return c.youngerThan(c.ttl, id, now) }

// heldInOutage does what held does, but also accepts an account within the grace. It is
// for the time while the backend does not answer.
func (c *accountCache) heldInOutage(id ID, now time.Time) *Account {
	return c.youngerThan(c.ttl+c.grace, id, now)
}

func (c *accountCache) youngerThan(age time.Duration, id ID, now time.Time) *Account {
	entry, found := c.accounts.GetIfPresent(id)
	if !found || now.Sub(entry.read) >= age || now.Before(entry.read) {
		return nil
	}
	return entry.account
}

// fetch asks the backend. Callers who ask at the same time share one read.
func (c *accountCache) fetch(ctx context.Context, id ID) (account *Account, shared bool, err error) {
	for {
		found, err, shared := c.flights.Do(string(id[:]), func() (any, error) { return c.read(ctx, id) })
		if err == nil {
			return found.(*Account), shared, nil
		}
		// The context that ended may be that of another caller, who did the read. (If
		// the backend's own deadline passed, the error matches ErrUnavailable.)
		theirs := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable)
		if shared && theirs && ctx.Err() == nil {
			continue
		}
		return nil, shared, err
	}
}

// startAnew makes the next fetch begin a read of its own. A read that is under way may be
// older than what the caller must see.
func (c *accountCache) startAnew(id ID) { c.flights.Forget(string(id[:])) }

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

// forget drops an account. It is called after each change, even one that failed: the
// write may have been done.
func (c *accountCache) forget(id ID) {
	stripe := c.stripe(id)
	stripe.Lock()
	defer stripe.Unlock()
	stripe.changes++
	c.accounts.Invalidate(id)
	c.flights.Forget(string(id[:]))
}

// cachingBackend is a Backend that tells the cache of each change. It reads past the
// cache: FindBySession asks the cache itself.
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
