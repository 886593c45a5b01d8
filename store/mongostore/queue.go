package mongostore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// queue lets one call at a time work on a key. The others wait, in the order in which they
// came. Without it all of them would read, only one could write, and the others would have
// lost a round trip and part of their time.
//
// A key that no call works on takes no memory. The zero value is ready to use.
type queue[K comparable, V any] struct {
	mu sync.Mutex
	// waiting has an entry for each key that a call works on: the calls that wait.
	waiting map[K][]chan V
}

var errQueue = errors.New("too many calls of this process write the same record")

// enter waits for the caller's turn, but not longer than patience. It returns what the call
// before it passed to leave. A caller that gets no error must call leave in the end.
func (q *queue[K, V]) enter(ctx context.Context, key K, patience time.Duration) (inherited V, err error) {
	q.mu.Lock()
	line, busy := q.waiting[key]
	if !busy {
		if q.waiting == nil {
			q.waiting = make(map[K][]chan V)
		}
		q.waiting[key] = nil
		q.mu.Unlock()
		return inherited, nil
	}
	turn := make(chan V, 1)
	q.waiting[key] = append(line, turn)
	q.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case inherited = <-turn:
		return inherited, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = errQueue
	}
	q.mu.Lock()
	if at := slices.Index(q.waiting[key], turn); at >= 0 {
		q.waiting[key] = slices.Delete(q.waiting[key], at, at+1)
		q.mu.Unlock()
		return inherited, err
	}
	q.mu.Unlock()
	q.leave(key, <-turn) // the turn has just come: pass it on
	return inherited, err
}

// leave gives the turn to the next call, and hands it what this call wrote.
func (q *queue[K, V]) leave(key K, written V) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := q.waiting[key]
	if len(line) == 0 {
		delete(q.waiting, key)
		return
	}
	q.waiting[key] = line[1:]
	line[0] <- written
}
