package boltstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// epoch is the time of all records in these tests.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

var bg = context.Background()

func open(t testing.TB, path string) *boltstore.Store {
	t.Helper()
	backend, err := boltstore.Open(path, boltstore.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	return backend
}

// account returns the account of a number, the same each time.
func account(i int) *store.Account {
	name := fmt.Sprintf("account-%d", i)
	return &store.Account{
		ID:           store.ID{0: 1, 9: byte(i >> 16), 10: byte(i >> 8), 11: byte(i)},
		Name:         name,
		Email:        name + "@example.org",
		EmailKey:     name + "@example.org",
		PasswordHash: "hash of " + name,
		Groups:       []string{"editors"},
		Disabled:     i%3 == 0,
		Created:      epoch, Modified: epoch, LastAction: epoch,
		Sessions: []store.Session{{
			ID: "session of " + name, ClientID: "app", Generation: 7, RotationID: int64(i),
			Created: epoch, Rotated: epoch, Expires: epoch,
		}},
	}
}

// fill makes a file with many accounts, so that it has branch pages, and with a small record
// for each account.
func fill(t testing.TB, path string, accounts int) {
	t.Helper()
	backend := open(t, path)
	var all sync.WaitGroup
	for i := range accounts {
		all.Go(func() {
			assert.NoError(t, backend.Create(t.Context(), account(i)))
			assert.NoError(t, putRecord(backend, i))
		})
	}
	all.Wait()
	require.NoError(t, backend.Close())
}

func putRecord(backend store.Backend, i int) error {
	return backend.UpdateRecord(bg, fmt.Sprint("record-", i), epoch, func(r *store.Record) error {
		r.Value, r.Expires = fmt.Append(nil, "value ", i), epoch.Add(time.Hour+time.Duration(i)*time.Second)
		return nil
	})
}

// getRecord reads a record.
func getRecord(backend store.Backend, i int) (found store.Record, err error) {
	err = backend.UpdateRecord(bg, fmt.Sprint("record-", i), epoch, func(r *store.Record) error {
		found = *r
		return store.ErrUnchanged
	})
	return found, err
}

// answers reads everything that fill has written. It counts the reads that return
// ErrUnavailable, and returns an error for the first read with a wrong result.
func answers(backend store.Backend, accounts int) (unavailable int, wrong error) {
	check := func(what string, got, want any, err error) {
		switch {
		case errors.Is(err, store.ErrUnavailable):
			unavailable++
		case wrong != nil:
		case err != nil:
			wrong = fmt.Errorf("%s: %w", what, err)
		case !assert.ObjectsAreEqual(want, got):
			wrong = fmt.Errorf("%s: another answer: %v", what, got)
		}
	}
	for i := range accounts {
		want := account(i)
		got, err := backend.FindByID(bg, want.ID)
		check("by id", got, want, err)
		got, err = backend.FindByName(bg, want.Name)
		check("by name", got, want, err)
		got, err = backend.FindByEmail(bg, want.EmailKey)
		check("by e-mail", got, want, err)
		record, err := getRecord(backend, i)
		check("record", record, store.Record{Value: fmt.Append(nil, "value ", i), Expires: epoch.Add(time.Hour + time.Duration(i)*time.Second)}, err)
	}
	_, err := backend.FindByName(bg, "nobody")
	if !errors.Is(err, store.ErrNotFound) {
		check("nobody", nil, nil, err)
	}
	return unavailable, wrong
}

// lists reads all accounts that fill has written in pages, by each key. It counts the reads that
// return ErrUnavailable, and returns an error for the first page with a wrong result.
func lists(backend store.Backend, accounts int) (unavailable int, wrong error) {
	byID := make([]*store.Account, accounts)
	for i := range byID {
		byID[i] = account(i)
	}
	byName := slices.Clone(byID)
	slices.SortFunc(byName, func(a, b *store.Account) int { return strings.Compare(a.Name, b.Name) })
	byEmail := slices.Clone(byID)
	slices.SortFunc(byEmail, func(a, b *store.Account) int { return strings.Compare(a.EmailKey, b.EmailKey) })
	for _, walk := range []struct {
		list store.List
		want []*store.Account
		key  func(*store.Account) string
	}{
		{store.List{By: store.ListByID}, byID, func(a *store.Account) string { return a.ID.Hex() }},
		{store.List{By: store.ListByGroup, Match: "editors"}, byID, func(a *store.Account) string { return a.ID.Hex() }},
		{store.List{By: store.ListByName, Match: "acc"}, byName, func(a *store.Account) string { return a.Name }},
		{store.List{By: store.ListByEmail}, byEmail, func(a *store.Account) string { return a.EmailKey }},
		{store.List{By: store.ListByGroup, Match: "editor"}, nil, nil},
	} {
		list := walk.list
		list.Limit = 37
		for at := 0; at == 0 || at < len(walk.want); at += list.Limit {
			page, err := backend.List(bg, list)
			want := walk.want[at:min(at+list.Limit, len(walk.want))]
			switch {
			case errors.Is(err, store.ErrUnavailable):
				unavailable++
			case wrong != nil:
			case err != nil:
				wrong = fmt.Errorf("%+v: %w", list, err)
			case len(page)+len(want) > 0 && !assert.ObjectsAreEqual(want, page):
				wrong = fmt.Errorf("%+v: another answer: %v", list, page)
			}
			if len(want) > 0 {
				list.After = walk.key(want[len(want)-1])
			}
		}
	}
	return unavailable, wrong
}

// everyone returns all accounts of a list, in pages.
func everyone(t testing.TB, backend store.Backend, list store.List) (accounts []*store.Account) {
	t.Helper()
	list.Limit = 1000
	for {
		page, err := backend.List(bg, list)
		require.NoError(t, err)
		accounts = append(accounts, page...)
		if len(page) < list.Limit {
			return accounts
		}
		last := page[len(page)-1]
		list.After = map[store.ListKey]string{store.ListByName: last.Name, store.ListByEmail: last.EmailKey}[list.By]
		if list.After == "" {
			list.After = last.ID.Hex()
		}
	}
}

// filled returns the content of a file that fill has made, without the empty end that bbolt
// keeps in reserve.
func filled(t testing.TB, accounts int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "whole.db")
	fill(t, path, accounts)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	used := len(bytes.TrimRight(content, "\x00"))
	return content[:(used+4095)/4096*4096]
}

// transaction returns the number of the newest transaction in a file.
func transaction(t testing.TB, path string) uint64 {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	return max(transactionAt(t, file, 0), transactionAt(t, file, int64(os.Getpagesize())))
}

func transactionAt(t testing.TB, file *os.File, page int64) uint64 {
	t.Helper()
	text := make([]byte, 8)
	_, err := file.ReadAt(text, page+16+48)
	require.NoError(t, err)
	return binary.NativeEndian.Uint64(text)
}
