package boltstore

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"unsafe"

	"github.com/maypok86/otter/v2"

	"github.com/oauthsv/oauthsv/store"
)

// cache holds decoded accounts, because decoding takes most of the time of a read. Only this
// process changes the file, so an account stays right until a transaction changes it. A nil
// cache finds nothing and keeps nothing.
//
// No read may be answered with an account that is older than what another read has returned
// already. So a committer drops an account before its transaction can be seen, and from then
// on keep refuses what a read found in an older transaction.
type cache struct {
	accounts *otter.Cache[store.ID, *store.Account]
	shards   [cacheShards]cacheShard
}

// cacheShard guards the accounts of some ids while they are kept or dropped. Reads do not
// need it.
type cacheShard struct {
	sync.Mutex
	changed uint64 // the newest transaction that changes one of the accounts
}

const (
	cacheShards       = 64 // a power of two
	defaultCacheBytes = 32 << 20

	// accountOverhead is the memory of an account without what it points to, in bytes. It
	// counts the node of the cache.
	accountOverhead = int(unsafe.Sizeof(store.Account{})) + 192
)

func newCache(bytes int64) *cache {
	if bytes < 0 {
		return nil
	}
	return &cache{accounts: otter.Must(&otter.Options[store.ID, *store.Account]{
		MaximumWeight: uint64(cmp.Or(bytes, defaultCacheBytes)),
		Weigher:       func(_ store.ID, account *store.Account) uint32 { return uint32(sizeOf(account)) },
		// The cache runs its upkeep on the caller's goroutine and starts none.
		Executor: func(work func()) { work() },
	})}
}

// sizeOf returns the memory that an account takes in the cache, in bytes.
func sizeOf(account *store.Account) int {
	size := accountOverhead +
		len(account.Name) + len(account.Email) + len(account.EmailKey) + len(account.Phone) + len(account.PasswordHash)
	size += cap(account.Groups) * int(unsafe.Sizeof(""))
	for _, group := range account.Groups {
		size += len(group)
	}
	size += cap(account.Sessions) * int(unsafe.Sizeof(store.Session{}))
	for i := range account.Sessions {
		s := &account.Sessions[i]
		size += len(s.ID) + len(s.ClientID) + len(s.UserAgent) + len(s.Address)
	}
	return size
}

func hasUnknown(account *store.Account) bool {
	return len(account.Unknown) > 0 || slices.ContainsFunc(account.Sessions, func(s store.Session) bool { return len(s.Unknown) > 0 })
}

// find returns the account, or nil if the cache does not hold it.
func (c *cache) find(id store.ID) *store.Account {
	if c == nil {
		return nil
	}
	account, _ := c.accounts.GetIfPresent(id)
	return account
}

// keep adds an account that a read has found in a transaction, if no newer transaction has
// changed it or is about to. It leaves out an account with members that a newer version of this
// package has written: their size in memory is not known.
func (c *cache) keep(account *store.Account, transaction uint64) {
	if c == nil || hasUnknown(account) {
		return
	}
	shard := c.shard(account.ID)
	shard.Lock()
	defer shard.Unlock()
	if transaction >= shard.changed {
		c.accounts.Set(account.ID, account)
	}
}

// drop removes the accounts that a transaction changes. Call it before the commit.
func (c *cache) drop(ids map[store.ID]bool, transaction uint64) {
	if c == nil {
		return
	}
	for id := range ids {
		shard := c.shard(id)
		shard.Lock()
		shard.changed = transaction
		c.accounts.Invalidate(id)
		shard.Unlock()
	}
}

// close drops all accounts and keeps no others.
func (c *cache) close() {
	if c == nil {
		return
	}
	for i := range c.shards {
		c.shards[i].Lock()
		c.shards[i].changed = math.MaxUint64
		c.shards[i].Unlock()
	}
	c.accounts.InvalidateAll()
}

// shard returns the shard of an account. ObjectIDs count up in their last byte, so accounts
// spread evenly.
func (c *cache) shard(id store.ID) *cacheShard { return &c.shards[id[len(id)-1]%cacheShards] }
