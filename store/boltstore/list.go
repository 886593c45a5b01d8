package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
)

// List is as [store.Backend] says. It is one read transaction, in which it reads the entries of
// an index and then the accounts that they name.
func (s *Store) List(ctx context.Context, list store.List) ([]*store.Account, error) {
	index, keys, err := spanOf(list)
	if err != nil {
		return nil, err
	}
	var entries []entry
	var texts [][]byte
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		if entries, err = index.walk(tx, keys, list.Limit); err != nil {
			return err
		}
		for _, e := range entries {
			text := e.value
			if index != tableAccounts {
				if text, err = getAccount(tx, e.id(index), nil); err == store.ErrNotFound {
					err = metDamage("an entry of %s points to an account that does not exist", index.name)
				}
				if err != nil {
					return err
				}
			}
			texts = append(texts, text)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	accounts := make([]*store.Account, 0, len(entries))
	for i, e := range entries {
		account, err := decodeAccount(e.id(index), texts[i])
		if err != nil {
			return nil, err
		}
		if !e.names(index, account) {
			return nil, metDamage("an entry of %s points to an account that does not belong there", index.name)
		}
		accounts = append(accounts, account)
	}
	return accounts, nil
}

// spanOf returns the index of a list, and where the list is in it.
func spanOf(list store.List) (*table, span, error) {
	var id []byte
	if list.After != "" && (list.By == store.ListByID || list.By == store.ListByGroup) {
		last, err := store.ParseID(list.After)
		if err != nil {
			return nil, span{}, fmt.Errorf("boltstore: where the list goes on: %w", err)
		}
		id = last[:]
	}
	switch list.By {
	case store.ListByID:
		return tableAccounts, span{after: id, size: len(store.NilID)}, nil
	case store.ListByName:
		return tableNames, span{prefix: []byte(list.Match), after: []byte(list.After)}, nil
	case store.ListByEmail:
		return tableEmails, span{prefix: []byte(list.Match), after: []byte(list.After)}, nil
	case store.ListByGroup:
		prefix := groupKey(list.Match, nil)
		return tableGroups, span{prefix, groupKey(list.Match, id), len(prefix) + len(store.NilID)}, nil
	}
	return nil, span{}, fmt.Errorf("boltstore: there is no list by key %d", list.By)
}

// span is the part of an index that holds the keys with a prefix that come after another key.
type span struct {
	prefix, after []byte
	// size is the length of the keys, or 0 if it varies. Keys of another length are not
	// in the span: they are of a group whose name goes on with a zero byte.
	size int
}

func (s span) holds(key []byte) bool {
	return !bytes.Equal(key, s.after) && (s.size == 0 || len(key) == s.size)
}

// entry is a copy of an entry of a table.
type entry struct{ key, value []byte }

// copied returns a copy of an entry whose checksum is right. It verifies the copy, because the
// memory map may change in the meantime.
func (t *table) copied(key, value []byte) (e entry, err error) {
	e.key = bytes.Clone(key)
	unsealed, whole := t.unseal(e.key, bytes.Clone(value))
	if !whole {
		return entry{}, metDamage("an entry of %s has a wrong checksum", t.name)
	}
	e.value = unsealed
	return e, nil
}

// id returns the id of the account that an entry of an index leads to.
func (e entry) id(index *table) []byte {
	switch index {
	case tableAccounts:
		return e.key
	case tableGroups:
		return e.key[len(e.key)-len(store.NilID):]
	}
	return e.value
}

// names reports whether an entry of an index belongs to the account that it leads to.
func (e entry) names(index *table, account *store.Account) bool {
	switch index {
	case tableNames:
		return account.Name == string(e.key)
	case tableEmails:
		return account.EmailKey == string(e.key)
	case tableGroups:
		return slices.Contains(account.Groups, string(e.key[:len(e.key)-len(store.NilID)-1]))
	}
	return true
}

// walk returns the first entries of a span, at most limit.
//
// The entries, the one before them and the one after them must be undamaged and in order.
// Otherwise damage may have led the search to the wrong place. walk goes there and back,
// because damage that comes in the meantime may hide entries from the way there.
func (t *table) walk(tx *bbolt.Tx, s span, limit int) (found []entry, err error) {
	bucket := tx.Bucket(t.name)
	if bucket == nil {
		return nil, metDamage("the table of %s is missing", t.name)
	}
	start := s.prefix
	if bytes.Compare(s.after, start) > 0 {
		start = s.after
	}
	var seen []entry
	cursor := bucket.Cursor()
	key, value := cursor.Seek(start)
	for ; key != nil; key, value = cursor.Next() {
		e, err := t.copied(key, value)
		if err != nil {
			return nil, err
		}
		if n := len(seen); bytes.Compare(e.key, start) < 0 || n > 0 && bytes.Compare(e.key, seen[n-1].key) <= 0 {
			return nil, t.outOfOrder()
		}
		seen = append(seen, e)
		if !bytes.HasPrefix(e.key, s.prefix) || len(found) == limit {
			break
		}
		if s.holds(e.key) {
			found = append(found, e)
		}
	}
	if key == nil {
		key, value = cursor.Last()
	}
	for _, e := range slices.Backward(seen) {
		if !bytes.Equal(key, e.key) {
			return nil, t.outOfOrder()
		}
		key, value = cursor.Prev()
	}
	if key != nil {
		before, err := t.copied(key, value)
		if err != nil {
			return nil, err
		}
		if bytes.Compare(before.key, start) >= 0 {
			return nil, t.outOfOrder()
		}
	}
	return found, nil
}

func (t *table) outOfOrder() error { return metDamage("the order of %s is broken", t.name) }
