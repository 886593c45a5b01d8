package mongostore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// queue lets one call at a time work on a key; the others wait in the order in
// which they came. Without it they would all read, one of them would write, and the
// rest would have spent a round trip and a part of their deadline for nothing.
//
// A key that no call works on takes no memory. The zero value is ready to use.
type queue[K comparable, V any] struct {
	mu sync.Mutex
	// waiting has an entry for each key that a call works on, with those that wait.
	waiting map[K][]chan V
}

var errQueue = errors.New("too many others of this process write the same record")

// enter waits for the turn, at most as long as patience, and returns what the call
// before has left. A caller that gets no error must call leave in the end.
func (q *queue[K, V]) enter(ctx context.Context, key K, patience time.Duration) (left V, err error) {
	q.mu.Lock()
	line, busy := q.waiting[key]
	if !busy {
		if q.waiting == nil {
			q.waiting = make(map[K][]chan V)
		}
		q.waiting[key] = nil
		q.mu.Unlock()
		return left, nil
	}
	turn := make(chan V, 1)
	q.waiting[key] = append(line, turn)
	q.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case left = <-turn:
		return left, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = errQueue
	}
	q.mu.Lock()
	if at := slices.Index(q.waiting[key], turn); at >= 0 {
		q.waiting[key] = slices.Delete(q.waiting[key], at, at+1)
		q.mu.Unlock()
		return left, err
	}
	q.mu.Unlock()
	q.leave(key, <-turn) // the turn came in this moment, and is passed on
	return left, err
}

// leave gives the turn to the next call, with what may be of use to it.
func (q *queue[K, V]) leave(key K, what V) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := q.waiting[key]
	if len(line) == 0 {
		delete(q.waiting, key)
		return
	}
	q.waiting[key] = line[1:]
	line[0] <- what
}
