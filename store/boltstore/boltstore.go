// Package boltstore keeps accounts in one file, with bbolt. What was answered is
// on disk: it survives the process and, as far as the disk keeps its word, the
// machine. One process at a time can have the file open.
package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"go.mongodb.org/mongo-driver/bson"

	"github.com/oauthsv/oauthsv/store"
)

// Store is a [store.Backend] in a file. It is safe for concurrent use. Make it
// with [Open].
type Store struct {
	db      *bbolt.DB
	commits committer
}

var _ store.Backend = (*Store)(nil)

// The buckets, and what their keys and values are.
var (
	bucketMeta     = []byte("meta")     // "format" -> decimal number
	bucketAccounts = []byte("accounts") // ObjectID -> BSON of store.Account
	bucketNames    = []byte("names")    // Account.Name -> ObjectID
	bucketEmails   = []byte("emails")   // Account.EmailKey -> ObjectID
	bucketRecords  = []byte("records")  // key -> expiry, value
	bucketExpiries = []byte("expiries") // expiry, key -> nothing
)

// Close waits for what is under way and releases the file. After it every method
// returns an error that matches [store.ErrUnavailable].
func (s *Store) Close() error { return s.db.Close() }

// FindByID is as [store.Backend] says.
func (s *Store) FindByID(ctx context.Context, id store.ID) (account *store.Account, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		account, err = getAccount(tx, id[:])
		return err
	})
	return account, err
}

// FindByName is as [store.Backend] says.
func (s *Store) FindByName(ctx context.Context, name string) (*store.Account, error) {
	return s.findBy(ctx, bucketNames, name)
}

// FindByEmail is as [store.Backend] says.
func (s *Store) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	return s.findBy(ctx, bucketEmails, emailKey)
}

func (s *Store) findBy(ctx context.Context, index []byte, value string) (account *store.Account, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		id := tx.Bucket(index).Get([]byte(value))
		if id == nil {
			return store.ErrNotFound
		}
		account, err = getAccount(tx, id)
		return err
	})
	return account, err
}

// Create is as [store.Backend] says.
func (s *Store) Create(ctx context.Context, account *store.Account) error {
	return s.write(ctx, func(tx *bbolt.Tx) error {
		return putAccount(tx, &store.Account{}, account)
	})
}

// Update is as [store.Backend] says. change runs inside the one write
// transaction, once.
func (s *Store) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	return s.write(ctx, func(tx *bbolt.Tx) error {
		current, err := getAccount(tx, id[:])
		if err != nil {
			return err
		}
		before := store.Account{Name: current.Name, EmailKey: current.EmailKey}
		if err := change(current); err != nil {
			return unlessUnchanged(err)
		}
		current.ID = id
		return putAccount(tx, &before, current)
	})
}

// Delete is as [store.Backend] says.
func (s *Store) Delete(ctx context.Context, id store.ID) error {
	return s.write(ctx, func(tx *bbolt.Tx) error {
		current, err := getAccount(tx, id[:])
		if err != nil {
			return err
		}
		return errors.Join(
			tx.Bucket(bucketAccounts).Delete(id[:]),
			tx.Bucket(bucketNames).Delete([]byte(current.Name)),
			tx.Bucket(bucketEmails).Delete([]byte(current.EmailKey)))
	})
}

func getAccount(tx *bbolt.Tx, id []byte) (*store.Account, error) {
	text := tx.Bucket(bucketAccounts).Get(id)
	if text == nil {
		return nil, store.ErrNotFound
	}
	account := new(store.Account)
	if err := bson.Unmarshal(text, account); err != nil {
		return nil, fmt.Errorf("%w: the record of account %x is damaged: %w", store.ErrUnavailable, id, err)
	}
	return account, nil
}

// putAccount checks everything before it writes anything: other writers share
// the transaction, and a refusal must leave nothing behind in it.
func putAccount(tx *bbolt.Tx, before, account *store.Account) error {
	names, emails := tx.Bucket(bucketNames), tx.Bucket(bucketEmails)
	if account.Name != before.Name && names.Get([]byte(account.Name)) != nil {
		return &store.ExistsError{Field: "name"}
	}
	if account.EmailKey != before.EmailKey && emails.Get([]byte(account.EmailKey)) != nil {
		return &store.ExistsError{Field: "email"}
	}
	text, err := bson.Marshal(account)
	if err != nil {
		return fmt.Errorf("boltstore: encoding account %s: %w", account.ID.Hex(), err)
	}
	return errors.Join(
		reindex(names, before.Name, account.Name, account.ID),
		reindex(emails, before.EmailKey, account.EmailKey, account.ID),
		tx.Bucket(bucketAccounts).Put(account.ID[:], text))
}

func reindex(index *bbolt.Bucket, before, after string, id store.ID) error {
	if before == after {
		return nil
	}
	if before != "" {
		if err := index.Delete([]byte(before)); err != nil {
			return err
		}
	}
	return index.Put([]byte(after), id[:])
}

// UpdateRecord is as [store.Backend] says. Each call removes an expired record
// or two.
func (s *Store) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	return s.write(ctx, func(tx *bbolt.Tx) error {
		records, expiries := tx.Bucket(bucketRecords), tx.Bucket(bucketExpiries)
		var record store.Record
		stored := records.Get([]byte(key))
		if len(stored) >= 8 {
			expires := time.UnixMilli(int64(binary.BigEndian.Uint64(stored))).UTC()
			if now.Before(expires) {
				record = store.Record{Value: append([]byte(nil), stored[8:]...), Expires: expires}
			}
		}
		if err := change(&record); err != nil {
			return unlessUnchanged(err)
		}
		var problems []error
		if len(stored) >= 8 {
			problems = append(problems, expiries.Delete(append(stored[:8:8], key...)), records.Delete([]byte(key)))
		}
		if len(record.Value) > 0 {
			prefix := binary.BigEndian.AppendUint64(nil, uint64(record.Expires.UnixMilli()))
			problems = append(problems,
				records.Put([]byte(key), append(prefix[:8:8], record.Value...)),
				expiries.Put(append(prefix[:8:8], key...), nil))
		}
		problems = append(problems, sweep(records, expiries, now))
		return errors.Join(problems...)
	})
}

// sweep removes the two records that expired first, so that what expires goes
// faster than what comes.
func sweep(records, expiries *bbolt.Bucket, now time.Time) error {
	for range 2 {
		entry, _ := expiries.Cursor().First()
		if len(entry) < 8 || int64(binary.BigEndian.Uint64(entry)) > now.UnixMilli() {
			return nil
		}
		if err := errors.Join(records.Delete(entry[8:]), expiries.Delete(entry)); err != nil {
			return err
		}
	}
	return nil
}

// Ping is as [store.Backend] says.
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(*bbolt.Tx) error { return nil })
}

func (s *Store) view(ctx context.Context, read func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := s.db.Begin(false)
	if err != nil {
		return fmt.Errorf("%w: boltstore: %w", store.ErrUnavailable, err)
	}
	defer tx.Rollback()
	return read(tx)
}

// unlessUnchanged is the answer to an error of a change function.
func unlessUnchanged(err error) error {
	if errors.Is(err, store.ErrUnchanged) {
		return nil
	}
	return err
}
