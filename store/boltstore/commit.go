package boltstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"syscall"

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
	work     func(*batch) error
	err      error
	panicked any
	done     chan struct{}
}

func newCommitter() committer { return committer{leading: make(chan struct{}, 1)} }

// write runs work in a transaction that has been synced to disk when write
// returns without error. work must return an error before it writes or not at
// all; its error is returned as it is and hurts no other writer. For
// store.ErrUnchanged write returns nil: what work has read is on disk then.
func (s *Store) write(ctx context.Context, work func(*batch) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.failed(); err != nil {
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
	if errors.Is(mine.err, store.ErrUnchanged) {
		return nil
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

var errNoEnd = errors.New("the transaction did not end")

func (s *Store) commit(jobs []*job) {
	err := errNoEnd // where a change function ends its goroutine
	defer func() {
		for _, job := range jobs {
			// An answer may rest on what another job has written in vain.
			if err != nil {
				job.err = err
				if !errors.Is(err, store.ErrUnavailable) {
					job.err = fmt.Errorf("%w: boltstore: %w", store.ErrUnavailable, err)
				}
			}
			close(job.done)
		}
	}()
	err = s.transact(func(b *batch) {
		for _, job := range jobs {
			job.run(b)
		}
	})
}

// transact runs work in a write transaction. It commits if work has written
// anything. The caller leads.
func (s *Store) transact(work func(*batch)) (err error) {
	if err := s.failed(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var tx *bbolt.Tx
	ended := false
	defer func() {
		if cause := recover(); cause != nil {
			err = s.fail(panicked(cause))
		} else if !ended && tx != nil {
			_ = tx.Rollback()
		}
	}()
	if tx, err = s.db.Begin(true); err != nil {
		return err
	}
	id := uint64(tx.ID())
	if id <= s.committed.Load() {
		ended = true
		return s.fail(errLostCommit)
	}
	b := &batch{tx: tx}
	work(b)
	ended = true
	if b.err != nil || !b.wrote && s.commitError.Load() == nil {
		return errors.Join(b.err, tx.Rollback())
	}
	// Also where nothing was written after a commit that failed: that one may have
	// left behind what is seen but not on disk.
	if err := s.sound(); err != nil {
		return s.fail(err)
	}
	err = tx.Commit()
	s.note(id, err)
	return err
}

// note keeps the outcome of a commit, for Ping and for the next reads.
func (s *Store) note(id uint64, err error) {
	if err == nil {
		s.committed.Store(id)
		if s.commitError.Swap(nil) != nil {
			s.logger.Info("the account file can be written again")
		}
		return
	}
	if s.commitError.Swap(&err) == nil {
		s.logger.Error("the account file cannot be written", "error", err)
	}
	if errors.Is(err, syscall.EIO) {
		// The system forgets what it could not write and reports it once: the next
		// sync would succeed without it.
		s.fail(err)
	}
}

// run keeps a panic of one writer's change function for that writer, who is on
// another goroutine. A panic of bbolt goes on.
func (j *job) run(b *batch) {
	b.calling = false
	defer func() {
		if b.calling {
			j.panicked = recover()
		}
	}()
	j.err = j.work(b)
}

// batch is the transaction that jobs share.
type batch struct {
	tx      *bbolt.Tx
	wrote   bool
	calling bool  // a caller's change function runs
	err     error // a write that failed halfway; nothing is committed then
}

// call runs a caller's change function.
func (b *batch) call(change func() error) error {
	b.calling = true
	err := change()
	b.calling = false
	return err
}

func (b *batch) put(t *table, key, value []byte) error {
	return b.wrap(b.tx.Bucket(t.name).Put(key, t.seal(key, value)))
}

func (b *batch) delete(t *table, key []byte) error {
	return b.wrap(b.tx.Bucket(t.name).Delete(key))
}

func (b *batch) putMeta(key, value []byte) error {
	return b.wrap(b.tx.Bucket(bucketMeta).Put(key, value))
}

func (b *batch) wrap(err error) error {
	b.wrote = true
	if err != nil && b.err == nil {
		b.err = err
	}
	return err
}
