package boltstore

import (
	"context"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

var _ io.WriterTo = (*Store)(nil)

// WriteTo writes a copy of the file as it is at one moment, with everything that
// was answered before the call, and returns the number of bytes. The copy is a file
// that [Open] opens. Reads and writes go on meanwhile, but what they replace cannot
// be reused until the copy is done: a copy to a slow writer makes the file grow by
// about what is written meanwhile. [Store.Close] waits for it.
//
// WriteTo copies and does not check. To know that a backup is whole, open it.
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

// backupWriter keeps the writer's own error, which bbolt wraps as text, and its
// panic, which is none of bbolt's.
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
