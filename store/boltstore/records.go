package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// expirySize is the length of an encoded expiry. It is the milliseconds since 1970 in
// big-endian order, so that keys that begin with an expiry are in order of time.
const expirySize = 8

func appendExpiry(to []byte, expires time.Time) []byte {
	return binary.BigEndian.AppendUint64(to, uint64(expires.UnixMilli()))
}

func expiryOf(text []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(text))).UTC()
}

// UpdateRecord is as [store.Backend] says. Each call that writes also removes up to two
// expired records. The key has 1 to 32,760 bytes.
func (s *Store) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if len(key) == 0 || len(key) > maxKey {
		return errors.New("boltstore: the key of a record is empty or too long")
	}
	return s.write(ctx, func(b *batch) error {
		var record store.Record
		stored, err := tableRecords.get(b.tx, []byte(key), nil)
		if err != nil {
			return err
		}
		if stored != nil && len(stored) < expirySize {
			return metDamage("a record has no expiry")
		}
		if stored != nil && now.Before(expiryOf(stored)) {
			record = store.Record{Value: append([]byte(nil), stored[expirySize:]...), Expires: expiryOf(stored)}
		}
		if err := b.call(func() error { return change(&record) }); err != nil {
			return err
		}
		expired := b.expired(now, key)
		var problems []error
		if stored != nil {
			problems = append(problems, b.removeRecord(append(stored[:expirySize:expirySize], key...)))
		}
		if len(record.Value) > 0 {
			expiry := appendExpiry(nil, record.Expires)
			problems = append(problems,
				b.put(tableRecords, []byte(key), append(expiry[:expirySize:expirySize], record.Value...)),
				b.put(tableExpiries, append(expiry[:expirySize:expirySize], key...), nil))
		}
		for _, entry := range expired {
			problems = append(problems, b.removeRecord(entry))
		}
		if err := errors.Join(problems...); err != nil {
			return fmt.Errorf("boltstore: writing a record: %w", err)
		}
		return nil
	})
}

// removeRecord removes an entry of the table of expiries, and the record that it names.
func (b *batch) removeRecord(entry []byte) error {
	return errors.Join(b.delete(tableExpiries, entry), b.delete(tableRecords, entry[expirySize:]))
}

// expired returns the entries of the two records that expired first, except for the record
// of key. A call adds one record and removes two, so expired records do not pile up. It
// stops at a damaged entry.
func (b *batch) expired(now time.Time, key string) (entries [][]byte) {
	cursor := b.tx.Bucket(tableExpiries.name).Cursor()
	entry, value := cursor.First()
	for entry != nil && len(entries) < 2 {
		if _, whole := tableExpiries.unseal(entry, value); !whole || len(entry) < expirySize || now.Before(expiryOf(entry)) {
			break
		}
		if string(entry[expirySize:]) != key {
			entries = append(entries, append([]byte(nil), entry...))
		}
		entry, value = cursor.Next()
	}
	return entries
}
