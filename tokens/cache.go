package tokens

import (
	"strings"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"
)

// cache holds access tokens that were verified, by the whole compact token. A nil
// cache finds nothing.
//
// It has no expiry of its own: the clock is looked at whenever a token is used, and
// an expiry would need a goroutine that somebody must end.
type cache struct {
	tokens *otter.Cache[string, *cached]
}

// cached is a token that was verified.
type cached struct {
	token  AccessToken
	window window
	set    *keySet // under which its verification began
	key    *Key
}

const (
	defaultCacheBytes = 32 << 20

	// cachedOverhead is, beside the strings, what an entry takes: itself, the array
	// of its audience, and the node of the cache.
	cachedOverhead = int(unsafe.Sizeof(cached{})) + 192
)

func newCache(bytes int64) *cache {
	switch {
	case bytes < 0:
		return nil
	case bytes == 0:
		bytes = defaultCacheBytes
	}
	return &cache{otter.Must(&otter.Options[string, *cached]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(compact string, entry *cached) uint32 { return uint32(entry.size(compact)) },
		// Upkeep runs on the goroutine that finds it due, not on one of its own.
		Executor: func(work func()) { work() },
	})}
}

// size is the memory an entry takes, in bytes.
func (e *cached) size(compact string) int {
	t := &e.token
	size := cachedOverhead + len(compact) + len(t.Subject) + len(t.ClientID) + len(t.SessionID) + len(t.ID) + len(t.Issuer)
	for _, audience := range t.Audience {
		size += 16 + len(audience)
	}
	return size
}

// get returns what was verified under the same set of keys.
func (c *cache) get(compact string, set *keySet) *cached {
	if c == nil {
		return nil
	}
	known, found := c.tokens.GetIfPresent(compact)
	if !found || known.set != set {
		return nil
	}
	return known
}

// put keeps a clone of the token: compact may be a piece of something larger.
func (c *cache) put(compact string, entry *cached) {
	c.tokens.Set(strings.Clone(compact), entry)
}

// check is what there is to check about a token that was verified before.
func (e *cached) check(now time.Time) error {
	if e.key.over(now) {
		return ErrUnknownKey
	}
	return e.window.check(now)
}
