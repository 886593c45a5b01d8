// Package memstore keeps accounts in memory. It is for tests, and for programs that may
// lose all accounts when they end. A look-up allocates no memory.
package memstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// Store is a [store.Backend] in memory. It is safe for concurrent use. Make it
// with [New].
type Store struct {
	shards [shardCount]shard

	// Lock order: a goroutine may lock index while it holds a shard, but not a shard
	// while it holds index.
	index   sync.RWMutex
	byName  map[string]store.ID
	byEmail map[string]store.ID

	recordsMu sync.Mutex
	records   map[string]store.Record
}

// shardCount is the number of locks that readers are spread over, so that cores do not
// wait for one cache line. It is a power of two.
const shardCount = 64

// shard holds a part of the accounts. They are replaced, never changed.
type shard struct {
	sync.RWMutex
	accounts map[store.ID]*store.Account
	_        [64]byte // keeps neighbours out of the cache line
}

var _ store.Backend = (*Store)(nil)

// New returns an empty Store.
func New() *Store {
	s := &Store{
		byName:  make(map[string]store.ID),
		byEmail: make(map[string]store.ID),
		records: make(map[string]store.Record),
	}
	for i := range s.shards {
		s.shards[i].accounts = make(map[store.ID]*store.Account)
	}
	return s
}

// shard returns the shard of an account. ObjectIDs count up in their last byte, so
// accounts spread evenly.
func (s *Store) shard(id store.ID) *shard { return &s.shards[id[len(id)-1]%shardCount] }

// FindByID is as [store.Backend] says.
func (s *Store) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	shard := s.shard(id)
	shard.RLock()
	account := shard.accounts[id]
	shard.RUnlock()
	if account == nil {
		return nil, store.ErrNotFound
	}
	return account, nil
}

// FindByName is as [store.Backend] says.
func (s *Store) FindByName(ctx context.Context, name string) (*store.Account, error) {
	return s.findBy(ctx, s.byName, name)
}

// FindByEmail is as [store.Backend] says.
func (s *Store) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	return s.findBy(ctx, s.byEmail, emailKey)
}

func (s *Store) findBy(ctx context.Context, index map[string]store.ID, value string) (*store.Account, error) {
	s.index.RLock()
	id, found := index[value]
	s.index.RUnlock()
	if !found {
		return nil, store.ErrNotFound
	}
	return s.FindByID(ctx, id)
}

// Create is as [store.Backend] says.
func (s *Store) Create(ctx context.Context, account *store.Account) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	shard := s.shard(account.ID)
	shard.Lock()
	defer shard.Unlock()
	if shard.accounts[account.ID] != nil {
		return s.taken(account)
	}
	if err := s.claim(account.ID, "", account.Name, "", account.EmailKey); err != nil {
		return err
	}
	shard.accounts[account.ID] = account.Clone()
	return nil
}

// Update is as [store.Backend] says. change runs once, under a lock that other accounts
// share: it should be quick.
func (s *Store) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	shard := s.shard(id)
	shard.Lock()
	defer shard.Unlock()
	current := shard.accounts[id]
	if current == nil {
		return store.ErrNotFound
	}
	changed := current.Clone()
	if err := change(changed); err != nil {
		return unlessUnchanged(err)
	}
	changed.ID = id
	if err := s.claim(id, current.Name, changed.Name, current.EmailKey, changed.EmailKey); err != nil {
		return err
	}
	shard.accounts[id] = changed
	return nil
}

// Delete is as [store.Backend] says.
func (s *Store) Delete(ctx context.Context, id store.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	shard := s.shard(id)
	shard.Lock()
	defer shard.Unlock()
	current := shard.accounts[id]
	if current == nil {
		return store.ErrNotFound
	}
	delete(shard.accounts, id)
	s.index.Lock()
	defer s.index.Unlock()
	delete(s.byName, current.Name)
	delete(s.byEmail, current.EmailKey)
	return nil
}

// taken says what of an account is taken, if its ID is.
func (s *Store) taken(account *store.Account) error {
	s.index.RLock()
	defer s.index.RUnlock()
	if _, found := s.byName[account.Name]; found {
		return &store.ExistsError{Field: "name"}
	}
	if _, found := s.byEmail[account.EmailKey]; found {
		return &store.ExistsError{Field: "email"}
	}
	return &store.ExistsError{Field: "account_id"}
}

// claim moves the account from its old name and e-mail to its new ones. If another
// account has one of the new ones, claim changes nothing.
func (s *Store) claim(id store.ID, oldName, newName, oldEmail, newEmail string) error {
	if oldName == newName && oldEmail == newEmail {
		return nil
	}
	s.index.Lock()
	defer s.index.Unlock()
	if owner, taken := s.byName[newName]; taken && owner != id {
		return &store.ExistsError{Field: "name"}
	}
	if owner, taken := s.byEmail[newEmail]; taken && owner != id {
		return &store.ExistsError{Field: "email"}
	}
	if oldName != newName {
		delete(s.byName, oldName)
		s.byName[newName] = id
	}
	if oldEmail != newEmail {
		delete(s.byEmail, oldEmail)
		s.byEmail[newEmail] = id
	}
	return nil
}

// List is as [store.Backend] says, except that it looks at every account.
func (s *Store) List(ctx context.Context, list store.List) ([]*store.Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type entry struct {
		key     string
		account *store.Account
	}
	var page []entry
	for i := range s.shards {
		shard := &s.shards[i]
		shard.RLock()
		for _, account := range shard.accounts {
			if key, listed := keyOf(account, list); listed && key > list.After {
				page = append(page, entry{key, account})
			}
		}
		shard.RUnlock()
	}
	slices.SortFunc(page, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	accounts := make([]*store.Account, 0, min(len(page), list.Limit))
	for _, e := range page[:cap(accounts)] {
		accounts = append(accounts, e.account)
	}
	return accounts, nil
}

// keyOf returns the key of an account in a list, and whether the list has it.
func keyOf(account *store.Account, list store.List) (key string, listed bool) {
	switch list.By {
	case store.ListByName:
		return account.Name, strings.HasPrefix(account.Name, list.Match)
	case store.ListByEmail:
		return account.EmailKey, strings.HasPrefix(account.EmailKey, list.Match)
	case store.ListByGroup:
		return account.ID.Hex(), account.InGroup(list.Match)
	}
	return account.ID.Hex(), true
}

// UpdateRecord is as [store.Backend] says. change runs once, under a lock. Each call
// also removes some expired records.
func (s *Store) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.recordsMu.Lock()
	defer s.recordsMu.Unlock()
	s.sweep(now)
	record, found := s.records[key]
	if !found || !now.Before(record.Expires) {
		record = store.Record{}
	}
	record.Value = append([]byte(nil), record.Value...)
	if err := change(&record); err != nil {
		return unlessUnchanged(err)
	}
	if len(record.Value) == 0 {
		delete(s.records, key)
		return nil
	}
	record.Value = append([]byte(nil), record.Value...)
	record.Expires = record.Expires.UTC().Truncate(time.Millisecond)
	s.records[key] = record
	return nil
}

// unlessUnchanged returns the error of a change function, or nil for ErrUnchanged.
func unlessUnchanged(err error) error {
	if errors.Is(err, store.ErrUnchanged) {
		return nil
	}
	return err
}

// sweep removes those of four records that have expired. Go iterates over maps in random
// order, so each call looks at others. Each call adds at most one record, so expired
// records do not pile up.
func (s *Store) sweep(now time.Time) {
	looks := 4
	for key, record := range s.records {
		if !now.Before(record.Expires) {
			delete(s.records, key)
		}
		if looks--; looks == 0 {
			return
		}
	}
}

// Ping is as [store.Backend] says.
func (s *Store) Ping(ctx context.Context) error { return ctx.Err() }
