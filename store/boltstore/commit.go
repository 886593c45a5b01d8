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

// committer lets concurrent writers share a transaction, and so a sync of the disk. A
// writer that finds no leader becomes the leader: it runs its own job and all waiting
// jobs in one transaction. Writers that arrive during that transaction wait for the next
// one. A single writer waits for nobody, and no goroutine is started.
//
// bbolt has DB.Batch for this. But it makes a single writer wait for others, and runs all
// jobs again when one of them fails.
type committer struct {
	leading chan struct{} // holds a value while there is a leader

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

// write runs work in a transaction. When it returns nil, the transaction is on disk.
//
// work may return an error only if it has written nothing. write returns that error as it
// is, and other writers of the transaction are not affected. For store.ErrUnchanged write
// returns nil, and what work has read is on disk.
func (s *Store) write(ctx context.Context, work func(*batch) error) error {
	if err := s.usable(ctx); err != nil {
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
		<-mine.done // the transaction is under way and ends soon
	}
	if mine.panicked != nil {
		panic(mine.panicked)
	}
	if errors.Is(mine.err, store.ErrUnchanged) {
		return nil
	}
	return mine.err
}

// lead commits all waiting jobs. Another writer can lead afterwards, even if bbolt panics.
// If the leader before has just done this caller's job, there may be no job left.
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

var errNoEnd = errors.New("the transaction was interrupted")

func (s *Store) commit(jobs []*job) {
	err := errNoEnd // stays if a change function ends its goroutine
	defer func() {
		for _, job := range jobs {
			// If the commit failed, no job may succeed: it may have read what
			// another job wrote.
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

// transact runs work in a write transaction, and commits it if work has written anything.
// The caller is the leader.
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
	// After a commit that failed, commit even if nothing was written: the failed one may
	// have left changes that reads see but that are not on disk.
	if err := s.checkHeaders(); err != nil {
		return s.fail(err)
	}
	s.cache.drop(b.changed, id)
	err = tx.Commit()
	s.note(id, err)
	return err
}

// note remembers the outcome of a commit, for Ping and for later reads.
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
		// The system reports a failed write once and then forgets its data. The next
		// sync would succeed although the data is not on disk.
		s.fail(err)
	}
}

// run does the job. If the change function of its writer panics, run keeps the panic for
// that writer, which is on another goroutine. A panic of bbolt is not caught here.
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
	changed map[store.ID]bool // the accounts that the transaction changes
	wrote   bool
	calling bool  // whether a caller's change function runs
	err     error // why a write failed halfway; if set, nothing is committed
}

// call runs a caller's change function.
func (b *batch) call(change func() error) error {
	b.calling = true
	err := change()
	b.calling = false
	return err
}

func (b *batch) put(t *table, key, value []byte) error {
	return b.noteWrite(b.tx.Bucket(t.name).Put(key, t.seal(key, value)))
}

func (b *batch) delete(t *table, key []byte) error {
	return b.noteWrite(b.tx.Bucket(t.name).Delete(key))
}

func (b *batch) putMeta(key, value []byte) error {
	return b.noteWrite(b.tx.Bucket(bucketMeta).Put(key, value))
}

// noteWrite remembers that something was written, and the first error.
func (b *batch) noteWrite(err error) error {
	b.wrote = true
	if err != nil && b.err == nil {
		b.err = err
	}
	return err
}
