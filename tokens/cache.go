package tokens

import (
	"cmp"
	"strings"
	"time"
	"unsafe"

	"github.com/maypok86/otter/v2"
)

// cache remembers verified access tokens, by the whole compact token. A nil cache
// finds nothing.
//
// Its entries do not expire by themselves: that would need a goroutine, and somebody
// would have to end it. Instead, [cached.check] looks at the clock at each use.
type cache struct {
	tokens *otter.Cache[string, *cached]
}

// cached is a verified access token.
type cached struct {
	token  AccessToken
	window window
	set    *keySet // the keys in force when its verification began
	key    *Key
}

const (
	defaultCacheBytes = 32 << 20

	// cachedOverhead is the size of an entry without its strings, in bytes. It
	// counts the entry itself and the node of the cache.
	cachedOverhead = int(unsafe.Sizeof(cached{})) + 192
)

func newCache(bytes int64) *cache {
	if bytes < 0 {
		return nil
	}
	return &cache{otter.Must(&otter.Options[string, *cached]{
		MaximumWeight: uint64(cmp.Or(bytes, defaultCacheBytes)),
		Weigher:       func(compact string, entry *cached) uint32 { return uint32(entry.size(compact)) },
		// The cache runs its upkeep on the caller's goroutine and starts none.
		Executor: func(work func()) { work() },
	})}
}

// size returns the memory that an entry takes, in bytes.
func (e *cached) size(compact string) int {
	t := &e.token
	size := cachedOverhead + len(compact) + len(t.Subject) + len(t.ClientID) + len(t.SessionID) + len(t.ID) + len(t.Issuer)
	size += cap(t.Audience) * int(unsafe.Sizeof(""))
	for _, audience := range t.Audience {
		size += len(audience)
	}
	return size
}

// get returns the entry of a token that was verified under this set of keys, or nil.
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

// put adds an entry. It clones compact, which may be part of a larger string.
func (c *cache) put(compact string, entry *cached) {
	c.tokens.Set(strings.Clone(compact), entry)
}

// check repeats the checks that depend on the clock. The others cannot change.
func (e *cached) check(now time.Time) error {
	if e.key.hasEnded(now) {
		return ErrUnknownKey
	}
	return e.window.check(now)
}
