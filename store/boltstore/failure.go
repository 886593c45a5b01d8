package boltstore

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"sync"
	"unsafe"

	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
)

// bbolt reads through a memory map and trusts it. Where somebody damages the file
// under it, bbolt panics or touches memory that is gone, and leaves its locks and
// its lists as they were. So it is not called again: the store has failed.

var errLostCommit = fmt.Errorf("%w (a write that was answered is gone)", ErrDamaged)

// fail notes the first cause of failure, and returns what every call answers from
// now on.
func (s *Store) fail(cause error) error {
	err := fmt.Errorf("%w: boltstore: %w", store.ErrUnavailable, cause)
	if s.failure.CompareAndSwap(nil, &err) {
		s.logger.Error("every call is refused until the account file is closed, restored and opened again", "error", cause)
	}
	return s.failed()
}

// panicked is the error for a panic out of bbolt.
func panicked(cause any) error {
	if err, isRuntime := cause.(runtime.Error); isRuntime {
		return damaged(fmt.Errorf("a page could not be read: %w", err))
	}
	return damaged(fmt.Errorf("%v", cause))
}

// failed is nil while bbolt may be called.
func (s *Store) failed() error {
	if failure := s.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// sound looks, before a commit, at what bbolt takes from the file without a look: the
// header pages, and the head of the list of free pages, which the commit frees page
// by page. With damage there it would work for hours, or on pages that are in use.
func (s *Store) sound() error {
	h, err := readHeader(s.file)
	if err != nil {
		return damaged(err)
	}
	if h.txid < s.committed.Load() {
		return errLostCommit
	}
	if h.freelist == noFreelist {
		return nil
	}
	head := make([]byte, pageHeaderSize)
	if _, err := s.file.ReadAt(head, int64(h.freelist*h.pageSize)); err != nil {
		return damaged(err)
	}
	overflow := uint64(native.Uint32(head[12:]))
	if native.Uint64(head) != h.freelist || native.Uint16(head[8:]) != flagFreelist || overflow >= h.end-h.freelist {
		return damaged(errors.New("the list of free pages is gone"))
	}
	return nil
}

// releaseBegin releases the two locks that bbolt holds where DB.Begin(false)
// panicked: it reads the header pages of the file while it holds them and has no
// deferred call. Every reader at its end, and the writer that is about to commit,
// would wait for them for ever. Nothing else can release them from outside.
func releaseBegin(db *bbolt.DB) {
	fields := reflect.ValueOf(db).Elem()
	meta, mapped := fields.FieldByName("metalock"), fields.FieldByName("mmaplock")
	if !meta.IsValid() || !mapped.IsValid() || meta.Type() != reflect.TypeFor[sync.Mutex]() || mapped.Type() != reflect.TypeFor[sync.RWMutex]() {
		return
	}
	metalock := (*sync.Mutex)(unsafe.Pointer(meta.UnsafeAddr()))
	if metalock.TryLock() { // a bbolt that released them itself
		metalock.Unlock()
		return
	}
	(*sync.RWMutex)(unsafe.Pointer(mapped.UnsafeAddr())).RUnlock()
	metalock.Unlock()
}

func (s *Store) close() error {
	s.stopCheck()
	s.commits.leading <- struct{}{} // no commit is under way, and none begins
	defer func() { <-s.commits.leading }()
	if s.failed() != nil {
		return abandon(s.file)
	}
	return s.db.Close()
}

// abandon releases a file that bbolt has mapped and cannot close. The map stays: it
// may be in use, and it would keep the lock if that were not released by itself.
func abandon(file *os.File) error {
	return errors.Join(unlock(file), file.Close())
}
