package tokens

import (
	"sync"
	"time"
)

const (
	// fetchBurst is how many fetches tokens with unknown keys may ask for at once.
	// Who sends unknown ids uses them up, and still leaves one each interval.
	fetchBurst = 5
	// maxAbsent bounds the ids that are remembered, of maxKeyID bytes at most.
	maxAbsent = 1024
)

// fetches keeps account of the fetches of a [RemoteVerifier]: which one is under
// way, which one is asked for, and how many more may be. It is safe for concurrent
// use.
type fetches struct {
	interval time.Duration // in which one more may be asked for
	now      func() time.Time
	wanted   chan struct{} // says that next is there

	mu       sync.Mutex
	failed   bool      // whether the last fetch failed; true before the first
	current  *fetching // nil where none is under way
	next     *fetching // nil where none is asked for
	left     int       // how many may be asked for
	refilled time.Time // when left last grew

	// absent holds ids that a fetch did not bring, and when that was.
	absent map[string]time.Time
}

// fetching is one fetch.
type fetching struct {
	done  chan struct{}
	asked map[string]bool // the ids for which it was asked
}

func newFetching() *fetching {
	return &fetching{done: make(chan struct{}), asked: make(map[string]bool)}
}

// newFetches begins with a fetch under way, so that the first tokens wait for it.
func newFetches(interval time.Duration, now func() time.Time) *fetches {
	return &fetches{
		interval: interval, now: now, wanted: make(chan struct{}, 1),
		failed: true, current: newFetching(), left: fetchBurst, refilled: now(),
		absent: make(map[string]time.Time),
	}
}

// join is the fetch to wait for where the id is unknown: the one that is under way,
// or else one that it asks for. It is nil where the id is known to be absent, or too
// many fetches were asked for.
//
// A fetch that is under way may have begun before the key was published. Who joins
// again after it gets one that began later.
func (f *fetches) join(id string) *fetching {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isAbsent(id) {
		return nil
	}
	if f.current != nil {
		return f.current
	}
	if f.next == nil {
		if !f.take() {
			return nil
		}
		f.next = newFetching()
		f.wanted <- struct{}{} // begin has emptied it
	}
	if len(f.next.asked) < maxAbsent {
		f.next.asked[id] = true
	}
	return f.next
}

// begin says that a fetch begins. It serves all who have asked for one.
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

// end says how a fetch has ended, and which keys are in force, and wakes up who
// waits for it.
func (f *fetches) end(set *keySet, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err != nil
	for id := range f.current.asked {
		if err == nil && set.byID[id] == nil {
			f.remember(id)
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

// take reports whether one more fetch may be asked for, and counts it.
func (f *fetches) take() bool {
	now := f.now()
	since := now.Sub(f.refilled)
	if since < 0 || f.left == fetchBurst { // the clock was set back, or nothing was to be gained
		f.refilled = now
	} else if gained := since / f.interval; gained > 0 {
		f.left = int(min(fetchBurst, time.Duration(f.left)+gained))
		f.refilled = f.refilled.Add(gained * f.interval)
	}
	if f.left == 0 {
		return false
	}
	f.left--
	return true
}

func (f *fetches) isAbsent(id string) bool {
	at, found := f.absent[id]
	return found && f.isRecent(at)
}

// isRecent is false for a time to come as well: the clock was set back.
func (f *fetches) isRecent(at time.Time) bool {
	since := f.now().Sub(at)
	return since >= 0 && since < f.interval
}

// remember makes room by forgetting what is no longer absent for sure, or else all:
// what is forgotten costs a fetch, which is counted.
func (f *fetches) remember(id string) {
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
