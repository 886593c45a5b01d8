package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// attempts counts failed attempts of one kind by keys. The counts are records of the
// backend, so every process shares them. It is safe for concurrent use.
//
// A caller reserves an attempt in the memory of the process before its outcome is known.
// Otherwise many attempts at once could all pass.
type attempts struct {
	backend Backend
	kind    string
	clock   func() time.Time

	mu      sync.Mutex
	pending map[string]*pending

	// broken is set while the backend can be read and not written: then nothing counts
	// what a guess costs.
	broken atomic.Bool
}

// pending is what is under way of a key.
type pending struct {
	count int
	ended chan struct{} // closed when the next of them ends
}

func newAttempts(backend Backend, kind string, clock func() time.Time) *attempts {
	return &attempts{backend: backend, kind: kind, clock: clock, pending: make(map[string]*pending)}
}

// tally is what the record of a key says.
type tally struct {
	failures int64
	last     time.Time // of the failures, where they wait for each other
	mark     time.Time // the owner's, zero where there is none
}

const tallyBytes = 24

func (t *tally) encode() []byte {
	value := binary.BigEndian.AppendUint64(nil, uint64(t.failures))
	value = binary.BigEndian.AppendUint64(value, uint64(millis(t.last)))
	return binary.BigEndian.AppendUint64(value, uint64(millis(t.mark)))
}

// decodeTally reads the value of a record. A value of another length counts as empty.
func decodeTally(value []byte) (t tally) {
	if len(value) == tallyBytes {
		t.failures = int64(binary.BigEndian.Uint64(value))
		t.last = fromMillis(int64(binary.BigEndian.Uint64(value[8:])))
		t.mark = fromMillis(int64(binary.BigEndian.Uint64(value[16:])))
	}
	return t
}

// isOver reports whether the window that began at the mark has ended, or began with a clock
// that was wrong.
func (t *tally) isOver(window time.Duration, now time.Time) bool {
	age := now.Sub(t.mark)
	return age >= window || age < -window
}

// throttled says how long to wait for the end of the window.
func (t *tally) throttled(window time.Duration, now time.Time) error {
	return &ThrottledError{RetryAfter: min(window, max(time.Second, t.mark.Add(window).Sub(now)))}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// attemptKey hashes what is counted, so that the backend does not collect the names that
// were submitted. Such names are often passwords.
func attemptKey(parts ...string) string {
	text := make([]byte, 0, 128)
	for _, part := range parts {
		text = append(binary.AppendUvarint(text, uint64(len(part))), part...)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// reserve counts an attempt as under way, and returns how many others are. The caller
// must call release.
func (a *attempts) reserve(key string) (others int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pending[key]
	if p == nil {
		p = &pending{ended: make(chan struct{})}
		a.pending[key] = p
	}
	p.count++
	return p.count - 1
}

// release ends an attempt and wakes up those who wait for one to end.
func (a *attempts) release(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pending[key]
	close(p.ended)
	p.ended = make(chan struct{})
	a.drop(key, p)
}

// giveWay takes a reservation back. The channel is closed when it is worth to reserve
// again: when another attempt has ended, or at once if there is none.
func (a *attempts) giveWay(key string) (ended <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pending[key]
	ended = p.ended
	if p.count == 1 {
		close(p.ended)
	}
	a.drop(key, p)
	return ended
}

func (a *attempts) drop(key string, p *pending) {
	if p.count--; p.count == 0 {
		delete(a.pending, key)
	}
}

var errOnlyLooking = errors.New("store: only looking")

// read returns what the record of a key says.
func (a *attempts) read(ctx context.Context, key string) (t tally, err error) {
	err = a.backend.UpdateRecord(ctx, a.kind+key, a.clock(), func(r *Record) error {
		t = decodeTally(r.Value)
		return errOnlyLooking
	})
	if errors.Is(err, errOnlyLooking) {
		return t, nil
	}
	return t, unavailable("reading the count of attempts", err)
}

// write changes the record of a key, and keeps it for the given time. It writes even if
// the caller hangs up: nobody must be able to stop the count.
func (a *attempts) write(ctx context.Context, key string, keep time.Duration, change func(*tally)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	now := a.clock()
	err := a.backend.UpdateRecord(ctx, a.kind+key, now, func(r *Record) error {
		t := decodeTally(r.Value)
		change(&t)
		r.Value, r.Expires = t.encode(), now.Add(keep)
		return nil
	})
	a.broken.Store(err != nil)
	if err != nil {
		return unavailable("counting an attempt", err)
	}
	return nil
}

// checkWritable returns an error while attempts cannot be counted: after a write that
// failed, until one works.
func (a *attempts) checkWritable(ctx context.Context) error {
	if !a.broken.Load() {
		return nil
	}
	return a.write(ctx, "probe", time.Minute, func(*tally) {})
}

// take counts one of a limited number of attempts within a window of time, which begins
// with the first. Over the limit it returns a *ThrottledError and writes nothing.
func (a *attempts) take(ctx context.Context, key string, limit int, window time.Duration) error {
	now := a.clock()
	err := a.backend.UpdateRecord(ctx, a.kind+key, now, func(r *Record) error {
		t := decodeTally(r.Value)
		if t.isOver(window, now) {
			t = tally{mark: now}
		}
		if t.failures >= int64(limit) {
			return t.throttled(window, now)
		}
		t.failures++
		r.Value, r.Expires = t.encode(), t.mark.Add(window)
		return nil
	})
	if err != nil && !errors.Is(err, ErrThrottled) {
		return unavailable("counting an attempt", err)
	}
	return err
}
