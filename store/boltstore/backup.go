package boltstore

import (
	"context"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

var _ io.WriterTo = (*Store)(nil)

// WriteTo makes a backup while the store is in use. It writes a copy of the file to w, and
// returns the number of bytes. The copy holds every change that was completed before the
// call, and nothing half done. [Open] opens it like any other file.
//
// Reads and writes go on during the copy, but pages that they replace are reused only
// after it. So with a slow w the file grows by about as much as is written during the
// copy. [Store.Close] waits for the copy.
//
// On Windows, on 32 bits, or where the process may not map 16 GiB (ulimit -v), a file that
// outgrows its map makes everybody wait for the copy. Let w be fast there, such as a file.
//
// WriteTo does not check what it copies. To check a backup, open it.
func (s *Store) WriteTo(w io.Writer) (n int64, err error) {
	to := &backupWriter{to: w}
	err = s.view(context.Background(), func(tx *bbolt.Tx) error {
		if _, err := tx.WriteTo(to); err != nil && to.err == nil {
			return fmt.Errorf("boltstore: reading for the backup: %w", err)
		}
		return nil
	})
	if to.panicked != nil {
		panic(to.panicked)
	}
	if to.err != nil {
		return to.n, fmt.Errorf("boltstore: writing the backup: %w", to.err)
	}
	return to.n, err
}

// backupWriter keeps the error of the writer itself, of which bbolt keeps only the text. It
// also keeps a panic of the writer, so that it does not count as one of bbolt.
type backupWriter struct {
	to       io.Writer
	n        int64
	err      error
	panicked any
}

func (b *backupWriter) Write(p []byte) (n int, err error) {
	defer func() {
		if b.panicked = recover(); b.panicked != nil {
			err = errNoEnd
		}
	}()
	n, err = b.to.Write(p)
	b.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		b.err = err
	}
	return n, err
}
