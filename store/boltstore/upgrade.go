package boltstore

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// upgradeStep is about how many entries one transaction of an upgrade writes.
const upgradeStep = 2000

// upgradeFile gives each entry its checksum, if it has none, and then builds the table of
// groups. The first transaction raises the format, so that an older program refuses the file
// from then on. Each transaction notes how far it has come, so that the next opening continues
// an interrupted upgrade.
func upgradeFile(db *bbolt.DB, l layout) error {
	l = l.raised()
	for l.upgrade != nil {
		err := db.Update(func(tx *bbolt.Tx) error {
			if _, err := tx.CreateBucketIfNotExists(tableGroups.name); err != nil {
				return err
			}
			step := upgradeEntries
			if l.upgrade[0] == groupsIndex {
				step = upgradeGroups
			}
			var err error
			if l.upgrade, err = step(tx, int(l.upgrade[0]), l.upgrade[1:]); err != nil {
				return err
			}
			return l.write(tx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// raised returns the layout of a file as the upgrade to the current format begins, or as it
// goes on where it was interrupted.
func (l layout) raised() layout {
	switch {
	case l.format == 1:
		l.upgrade = []byte{0}
	case l.format == 2 && l.upgrade == nil:
		l.upgrade = []byte{groupsIndex}
	}
	l.format = format
	return l
}

// upgradeEntries gives the next entries of one table, those after the key last, their
// checksums. It returns how far the upgrade has come.
func upgradeEntries(tx *bbolt.Tx, index int, last []byte) ([]byte, error) {
	t := tables[index]
	bucket := tx.Bucket(t.name)
	var keys, values [][]byte
	cursor := bucket.Cursor()
	key, value := after(cursor, last)
	for ; key != nil && len(keys) < upgradeStep; key, value = cursor.Next() {
		keys, values = append(keys, bytes.Clone(key)), append(values, t.seal(key, value))
	}
	for i, key := range keys {
		if err := bucket.Put(key, values[i]); err != nil {
			return nil, err
		}
	}
	if len(keys) == upgradeStep {
		return append([]byte{byte(index)}, keys[len(keys)-1]...), nil
	}
	return []byte{byte(index + 1)}, nil
}

// upgradeGroups adds the groups of the next accounts, those after the key last, to the table
// of groups. It returns how far the upgrade has come, or nil at its end.
func upgradeGroups(tx *bbolt.Tx, index int, last []byte) ([]byte, error) {
	groups := tx.Bucket(tableGroups.name)
	cursor := tx.Bucket(tableAccounts.name).Cursor()
	key, value := after(cursor, last)
	for written := 0; key != nil; key, value = cursor.Next() {
		if written >= upgradeStep {
			return append([]byte{byte(index)}, last...), nil
		}
		text, whole := tableAccounts.unseal(key, value)
		if !whole {
			return nil, damaged(fmt.Errorf("account %x has a wrong checksum", key))
		}
		names, err := groupsOf(text)
		if err != nil {
			return nil, damaged(fmt.Errorf("account %x is malformed: %w", key, err))
		}
		last = bytes.Clone(key)
		for _, name := range names {
			entry := groupKey(name, last)
			if err := groups.Put(entry, tableGroups.seal(entry, nil)); err != nil {
				return nil, err
			}
		}
		written += 1 + len(names)
	}
	return nil, nil
}

// after moves a cursor to the first entry after the key last, or to the first entry of all if
// last is empty.
func after(cursor *bbolt.Cursor, last []byte) (key, value []byte) {
	if len(last) == 0 {
		return cursor.First()
	}
	if key, value = cursor.Seek(last); bytes.Equal(key, last) {
		return cursor.Next()
	}
	return key, value
}
