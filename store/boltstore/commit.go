package boltstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
)

// committer lets concurrent writers share a transaction and so a disk sync. Who
// finds nobody leading takes whatever waits, itself included, into one
// transaction; who comes meanwhile waits for the next. A lone writer waits for
// nothing, and no goroutine is started.
//
// bbolt's own DB.Batch makes a lone writer wait for company, and runs everybody
// again when one of them fails.
type committer struct {
	leading chan struct{} // holds a value while somebody leads

	mu      sync.Mutex
	waiting []*job
}

// job is one writer's part of a transaction.
type job struct {
	work     func(*bbolt.Tx) error
	err      error
	panicked any
	done     chan struct{}
}

func newCommitter() committer { return committer{leading: make(chan struct{}, 1)} }

// write runs work in a transaction that has been synced to disk when write
// returns without error. work must return an error before it writes or not at
// all; its error is returned as it is and hurts no other writer.
func (s *Store) write(ctx context.Context, work func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mine := &job{work: work, done: make(chan struct{})}
	c := &s.commits
	c.mu.Lock()
	c.waiting = append(c.waiting, mine)
	c.mu.Unlock()

	select {
	case <-mine.done:
	case c.leading <- struct{}{}:
		s.lead()
		<-mine.done
	case <-ctx.Done():
		if c.withdraw(mine) {
			return ctx.Err()
		}
		<-mine.done // under way: the answer is known in a moment
	}
	if mine.panicked != nil {
		panic(mine.panicked)
	}
	return mine.err
}

// lead commits whatever waits, and lets another lead even if bbolt panics. Where
// another leader has finished this caller's job in the same moment there may be
// nothing to do.
func (s *Store) lead() {
	defer func() { <-s.commits.leading }()
	if jobs := s.commits.take(); len(jobs) > 0 {
		s.commit(jobs)
	}
}

func (c *committer) take() []*job {
	c.mu.Lock()
	defer c.mu.Unlock()
	jobs := c.waiting
	c.waiting = nil
	return jobs
}

func (c *committer) withdraw(mine *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.waiting {
		if other == mine {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return true
		}
	}
	return false
}

var errPanicked = errors.New("the transaction did not end")

func (s *Store) commit(jobs []*job) {
	err := errPanicked
	defer func() {
		for _, job := range jobs {
			if err != nil && job.err == nil {
				job.err = fmt.Errorf("%w: boltstore: %w", store.ErrUnavailable, err)
			}
			close(job.done)
		}
	}()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		for _, job := range jobs {
			job.run(tx)
		}
		return nil
	})
}

// run keeps a panic of one writer for that writer, who is on another goroutine.
func (j *job) run(tx *bbolt.Tx) {
	defer func() { j.panicked = recover() }()
	j.err = j.work(tx)
}
