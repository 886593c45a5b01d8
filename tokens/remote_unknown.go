package tokens

import (
	"sync"
	"time"
)

const (
	// fetchBurst is the number of fetches that tokens with unknown keys may cause at
	// once. An attacker can use them up, but one more is allowed in each interval.
	fetchBurst = 5
	// maxAbsent bounds the number of remembered ids. Each has maxKeyID bytes at most.
	maxAbsent = 1024
)

// fetches plans the fetches of a [RemoteVerifier]. It knows which one is under way,
// which one comes next, and how many more tokens may cause. It is safe for concurrent
// use.
type fetches struct {
	interval time.Duration // one more fetch is allowed in each
	now      func() time.Time
	wanted   chan struct{} // holds a value while next waits to begin

	mu        sync.Mutex
	set       *keySet   // the keys in force when the last fetch ended
	failed    bool      // whether the last fetch failed; true before the first
	current   *fetching // nil if no fetch is under way
	next      *fetching // nil if nobody has asked for another fetch
	allowance int       // the number of fetches that tokens may still cause
	refilled  time.Time // when allowance last grew

	// absent holds the ids of keys that a fetch did not bring, with the time of that.
	absent map[string]time.Time
}

// fetching is one fetch.
type fetching struct {
	done  chan struct{}   // closed when the fetch has ended
	asked map[string]bool // the ids that caused the fetch
}

func newFetching() *fetching {
	return &fetching{done: make(chan struct{}), asked: make(map[string]bool)}
}

// newFetches returns fetches with the first one under way. Early tokens wait for it.
func newFetches(interval time.Duration, now func() time.Time) *fetches {
	return &fetches{
		interval: interval, now: now, wanted: make(chan struct{}, 1),
		set: &noKeys, failed: true, current: newFetching(), allowance: fetchBurst, refilled: now(),
		absent: make(map[string]time.Time),
	}
}

// join returns the fetch that a token with an unknown key id must wait for. This is the
// fetch under way. If there is none, join asks for the next fetch and returns that. It
// returns nil if a fetch has brought the id since the token was looked at, if a recent one
// did not bring it, or if tokens have used up their fetches.
//
// The fetch under way may have begun before the key was published. A second call after
// its end returns a fetch that began later.
func (f *fetches) join(id string) *fetching {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set.byID[id] != nil || f.isAbsent(id) {
		return nil
	}
	if f.current != nil {
		return f.current
	}
	if f.next == nil {
		if !f.allow() {
			return nil
		}
		f.next = newFetching()
		f.wanted <- struct{}{} // never blocks: begin has emptied it
	}
	if len(f.next.asked) < maxAbsent {
		f.next.asked[id] = true
	}
	return f.next
}

// begin makes the next fetch the current one. Call it when a fetch begins.
func (f *fetches) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.wanted:
	default:
	}
	if f.next == nil {
		f.next = newFetching()
	}
	f.current, f.next = f.next, nil
}

// end ends the current fetch and wakes all who wait for it. set holds the keys in force,
// and err is the error of the fetch.
func (f *fetches) end(set *keySet, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set, f.failed = set, err != nil
	for id := range f.current.asked {
		if err == nil && set.byID[id] == nil {
			f.rememberAbsent(id)
		}
	}
	close(f.current.done)
	f.current = nil
}

func (f *fetches) lastFailed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// allow reports whether a token may cause one more fetch. If so, it counts the fetch.
func (f *fetches) allow() bool {
	now := f.now()
	since := now.Sub(f.refilled)
	if since < 0 || f.allowance == fetchBurst { // the clock was set back, or the allowance is full
		f.refilled = now
	} else if gained := since / f.interval; gained > 0 {
		f.allowance = int(min(fetchBurst, time.Duration(f.allowance)+gained))
		f.refilled = f.refilled.Add(gained * f.interval)
	}
	if f.allowance == 0 {
		return false
	}
	f.allowance--
	return true
}

func (f *fetches) isAbsent(id string) bool {
	at, found := f.absent[id]
	return found && f.isRecent(at)
}

// isRecent reports whether the time is less than an interval ago. A time in the future is
// not recent: the clock was set back.
func (f *fetches) isRecent(at time.Time) bool {
	since := f.now().Sub(at)
	return since >= 0 && since < f.interval
}

// rememberAbsent remembers that a fetch did not bring the id. To make room, it forgets the
// ids that are no longer recent or, if that is not enough, all of them. A forgotten id
// costs at most one fetch, which allow counts.
func (f *fetches) rememberAbsent(id string) {
	if len(f.absent) >= maxAbsent {
		for old, at := range f.absent {
			if !f.isRecent(at) {
				delete(f.absent, old)
			}
		}
	}
	if len(f.absent) >= maxAbsent {
		clear(f.absent)
	}
	f.absent[id] = f.now()
}
