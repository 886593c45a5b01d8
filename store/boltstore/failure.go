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

// bbolt reads through a memory map and trusts what it finds there. If somebody damages the
// file while it is open, bbolt panics, or reads memory that does not exist any more. Its
// locks and lists stay as they are at that moment, so it must not be called again: the
// store has failed.

var errLostCommit = fmt.Errorf("%w (a completed write is missing)", ErrDamaged)

// fail makes the store fail. The first cause counts. It returns the error that every call
// returns from now on.
func (s *Store) fail(cause error) error {
	err := fmt.Errorf("%w: boltstore: %w", store.ErrUnavailable, cause)
	if s.failure.CompareAndSwap(nil, &err) {
		s.logger.Error("every call is refused until the account file is closed, restored and opened again", "error", cause)
	}
	return s.failed()
}

// panicked returns the error for a panic of bbolt.
func panicked(cause any) error {
	if err, isRuntime := cause.(runtime.Error); isRuntime {
		return damaged(fmt.Errorf("a page could not be read: %w", err))
	}
	return damaged(fmt.Errorf("%v", cause))
}

// failed returns why bbolt must not be called any more, or nil as long as it may be.
func (s *Store) failed() error {
	if failure := s.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// checkHeaders checks, before a commit, two things that bbolt takes from the file unchecked:
// the header pages, and the head of the list of free pages. If these were damaged, the
// commit might run for hours, or overwrite pages that are in use. Damage that comes between the
// check and the commit is not seen.
func (s *Store) checkHeaders() error {
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
		return damaged(errors.New("the list of free pages is missing"))
	}
	return nil
}

// releaseBegin releases the two locks that bbolt keeps when DB.Begin(false) panics. bbolt
// holds them while it reads the header pages, and does not release them in a deferred
// call. Without releaseBegin, other readers could not end, a writer could not commit, and
// all of them would wait for ever. There is no other way to release the locks.
func releaseBegin(db *bbolt.DB) {
	fields := reflect.ValueOf(db).Elem()
	meta, mapped := fields.FieldByName("metalock"), fields.FieldByName("mmaplock")
	if !meta.IsValid() || !mapped.IsValid() || meta.Type() != reflect.TypeFor[sync.Mutex]() || mapped.Type() != reflect.TypeFor[sync.RWMutex]() {
		return
	}
	metalock := (*sync.Mutex)(unsafe.Pointer(meta.UnsafeAddr()))
	if metalock.TryLock() { // this version of bbolt released them itself
		metalock.Unlock()
		return
	}
	(*sync.RWMutex)(unsafe.Pointer(mapped.UnsafeAddr())).RUnlock()
	metalock.Unlock()
}

func (s *Store) close() error {
	s.stopCheck()
	s.commits.leading <- struct{}{} // so no commit is under way, and none begins
	defer func() { <-s.commits.leading }()
	s.cache.close()
	if s.failed() != nil {
		return abandon(s.file)
	}
	return s.db.Close()
}

// abandon releases a file that bbolt has mapped and cannot close. The map stays, because
// other calls may use it. The map would keep the lock, so abandon releases the lock first.
func abandon(file *os.File) error {
	return errors.Join(unlock(file), file.Close())
}
