package password

import (
	"sync/atomic"
	"time"
)

// Counts are what a [Hasher] has done since it was made, and what it does now. A turn is one
// use of a core to hash. A call of
// Hash, WrapSHA224 or Verify takes one turn to hash, and Verify a second one for a stored
// hash that needs more memory than a new one.
type Counts struct {
	// Done turns have ended.
	Done int64
	// Refused turns were not given: the call returned ErrOverloaded.
	Refused int64
	// GivenUp turns were not given because the caller's context ended before.
	GivenUp int64
	// Waiting is how many callers wait for their turn now.
	Waiting int64
	// Running is how many turns are being taken now.
	Running int64
	// WaitTime is how long callers have waited, those that gave up included.
	WaitTime time.Duration
	// HashTime is how long the turns that ended have lasted. Verify looks up the stored
	// hash in its turn, so this contains the time of the look-up.
	HashTime time.Duration
}

// Counts returns what the hasher has done until now. The figures are read one after
// another, while others may change.
func (h *Hasher) Counts() Counts {
	return Counts{
		Done: h.counters.done.Load(), Refused: h.counters.refused.Load(), GivenUp: h.counters.givenUp.Load(),
		Waiting: h.counters.waiting.Load(), Running: h.counters.running.Load(),
		WaitTime: time.Duration(h.counters.waitTime.Load()), HashTime: time.Duration(h.counters.hashTime.Load()),
	}
}

// counters are behind Counts. The times are in nanoseconds.
type counters struct {
	done, refused, givenUp, waiting, running, waitTime, hashTime atomic.Int64
}

// begin counts a turn that begins. Call the function that it returns when the turn ends.
func (c *counters) begin() (end func()) {
	c.running.Add(1)
	start := time.Now()
	return func() {
		c.hashTime.Add(int64(time.Since(start)))
		c.running.Add(-1)
		c.done.Add(1)
	}
}
