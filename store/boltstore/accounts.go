package boltstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	"go.mongodb.org/mongo-driver/bson"

	"github.com/oauthsv/oauthsv/store"
)

// maxKey is how many bytes a name, an e-mail or the key of a record can have. bbolt has the
// bound, and in the table of expiries the expiry stands before the key.
const maxKey = bbolt.MaxKeySize - expirySize

// Create is as [store.Backend] says.
func (s *Store) Create(ctx context.Context, account *store.Account) error {
	return s.write(ctx, func(b *batch) error {
		if err := b.checkFree(&store.Account{}, account); err != nil {
			return err
		}
		switch _, err := b.getAccount(account.ID); {
		case err == nil:
			return &store.ExistsError{Field: "account_id"}
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		return b.putAccount(&store.Account{}, account)
	})
}

// Update is as [store.Backend] says. change runs once, inside a write transaction, and all
// other writers wait for it: it should be quick.
func (s *Store) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	return s.write(ctx, func(b *batch) error {
		current, err := b.getAccount(id)
		if err != nil {
			return err
		}
		before := store.Account{Name: current.Name, EmailKey: current.EmailKey, Groups: slices.Clone(current.Groups)}
		if err := b.call(func() error { return change(current) }); err != nil {
			return err
		}
		current.ID = id
		if err := b.checkFree(&before, current); err != nil {
			return err
		}
		return b.putAccount(&before, current)
	})
}

// Delete is as [store.Backend] says.
func (s *Store) Delete(ctx context.Context, id store.ID) error {
	return s.write(ctx, func(b *batch) error {
		current, err := b.getAccount(id)
		if err != nil {
			return err
		}
		b.noteChange(id)
		return errors.Join(
			b.delete(tableAccounts, id[:]),
			b.delete(tableNames, []byte(current.Name)),
			b.delete(tableEmails, []byte(current.EmailKey)),
			b.regroup(current.Groups, nil, id))
	})
}

// getAccount returns an account as this transaction sees it. The caller may change it. It does
// not come from the cache: a caller who has changed an account that a read returned, against
// the rules, must not get that change written.
func (b *batch) getAccount(id store.ID) (*store.Account, error) {
	space := spaces.Get().(*[]byte)
	defer putSpace(space)
	text, err := getAccount(b.tx, id[:], (*space)[:0])
	if err != nil {
		return nil, err
	}
	*space = text
	return decodeAccount(id[:], text)
}

// checkFree returns an error if another account has the name or the e-mail, or if a value is
// too long for its index. It is called before anything is written, because other writers share
// the transaction: a refused call must leave nothing behind.
func (b *batch) checkFree(before, account *store.Account) error {
	for _, field := range []struct {
		name      string
		index     *table
		old, text string
	}{
		{"name", tableNames, before.Name, account.Name},
		{"email", tableEmails, before.EmailKey, account.EmailKey},
	} {
		if field.text == field.old || field.text == "" {
			continue
		}
		if len(field.text) > maxKey {
			return fmt.Errorf("boltstore: account %s: the %s is too long", account.ID.Hex(), field.name)
		}
		holder, err := field.index.get(b.tx, []byte(field.text), nil)
		if err != nil {
			return err
		}
		if holder != nil {
			return &store.ExistsError{Field: field.name}
		}
	}
	return checkGroups(before, account)
}

// putAccount writes an account and its entries in the indexes.
func (b *batch) putAccount(before, account *store.Account) error {
	text, err := bson.Marshal(account)
	if err != nil {
		return fmt.Errorf("boltstore: encoding account %s: %w", account.ID.Hex(), err)
	}
	b.noteChange(account.ID)
	return errors.Join(
		b.reindex(tableNames, before.Name, account.Name, account.ID),
		b.reindex(tableEmails, before.EmailKey, account.EmailKey, account.ID),
		b.regroup(before.Groups, account.Groups, account.ID),
		b.put(tableAccounts, account.ID[:], text))
}

// noteChange remembers that the transaction changes an account. Until it is committed, the cache
// still has the old one, for readers.
func (b *batch) noteChange(id store.ID) {
	if b.changed == nil {
		b.changed = make(map[store.ID]bool)
	}
	b.changed[id] = true
}

// reindex moves the entry of an account in an index from one key to another. An empty text
// has no entry.
func (b *batch) reindex(index *table, before, after string, id store.ID) error {
	if before == after {
		return nil
	}
	if before != "" {
		if err := b.delete(index, []byte(before)); err != nil {
			return err
		}
	}
	if after == "" {
		return nil
	}
	return b.put(index, []byte(after), id[:])
}
