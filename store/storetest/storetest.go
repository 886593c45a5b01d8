// Package storetest checks that a [store.Backend] keeps its promises, as
// testing/fstest does for file systems. It is for the tests of a backend of your own.
package storetest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// Test runs the whole suite, each test as a subtest with a backend of its own. open
// returns a new, empty backend. It must work until the end of the test that open gets, so
// release it with t.Cleanup. Run the suite with -race as well.
func Test(t *testing.T, open func(t *testing.T) store.Backend) {
	for name, test := range map[string]func(*testing.T, store.Backend){
		"CreateFind":               testCreateFind,
		"RoundTrip":                testRoundTrip,
		"EveryMemberIsKept":        testEveryMemberIsKept,
		"SnapshotsArePrivate":      testSnapshotsArePrivate,
		"CreateRefusesTaken":       testCreateRefusesTaken,
		"CreateRace":               testCreateRace,
		"UpdateWrites":             testUpdateWrites,
		"UpdateErrorWritesNothing": testUpdateErrorWritesNothing,
		"UpdateUnchanged":          testUpdateUnchanged,
		"UpdatePanicHurtsNobody":   testUpdatePanicHurtsNobody,
		"UpdateMovesUniqueValues":  testUpdateMovesUniqueValues,
		"UpdateRefusesTaken":       testUpdateRefusesTaken,
		"UpdateRace":               testUpdateRace,
		"Delete":                   testDelete,
		"DeleteRace":               testDeleteRace,
		"Records":                  testRecords,
		"RecordRace":               testRecordRace,
		"Context":                  testContext,
		"ListEmpty":                testListEmpty,
		"ListOrder":                testListOrder,
		"ListPrefix":               testListPrefix,
		"ListGroup":                testListGroup,
		"ListPages":                testListPages,
		"ListAfterRemoved":         testListAfterRemoved,
		"ListFollowsChanges":       testListFollowsChanges,
		"ListAgreesWithSort":       testListAgreesWithSort,
		"ListContext":              testListContext,
		"ListSnapshotsArePrivate":  testListSnapshotsArePrivate,
		"RefreshRace":              testRefreshRace,
		"LateRetryRace":            testLateRetryRace,
		"LoginRaces":               testLoginRaces,
		"DisableRace":              testDisableRace,
		"RevokeRace":               testRevokeRace,
		"UnknownMembers":           testUnknownMembers,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// epoch is a time that every backend can keep: in whole milliseconds and UTC.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

func newAccount(name string) *store.Account {
	return &store.Account{
		ID:           store.NewID(),
		Name:         name,
		Email:        strings.ToUpper(name) + "@example.org",
		EmailKey:     name + "@example.org",
		PasswordHash: "hash of " + name,
		Groups:       []string{},
		Created:      epoch,
		Modified:     epoch,
		LastAction:   epoch,
		Sessions:     []store.Session{},
	}
}

func create(t *testing.T, backend store.Backend, name string) *store.Account {
	t.Helper()
	account := newAccount(name)
	require.NoError(t, backend.Create(t.Context(), account))
	return account
}

func find(t *testing.T, backend store.Backend, id store.ID) *store.Account {
	t.Helper()
	account, err := backend.FindByID(t.Context(), id)
	require.NoError(t, err)
	return account
}

func testCreateFind(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	require.NoError(t, backend.Ping(ctx))
	absent := func() {
		_, err := backend.FindByID(ctx, store.NewID())
		assert.ErrorIs(t, err, store.ErrNotFound)
		_, err = backend.FindByName(ctx, "nobody")
		assert.ErrorIs(t, err, store.ErrNotFound)
		_, err = backend.FindByEmail(ctx, "nobody@example.org")
		assert.ErrorIs(t, err, store.ErrNotFound)
	}
	absent()
	for _, name := range []string{"ada", "grace"} {
		account := create(t, backend, name)
		assert.Equal(t, account, find(t, backend, account.ID))
		byName, err := backend.FindByName(ctx, name)
		require.NoError(t, err)
		assert.Equal(t, account, byName)
		byEmail, err := backend.FindByEmail(ctx, account.EmailKey)
		require.NoError(t, err)
		assert.Equal(t, account, byEmail)
	}
	absent()
}

func testRoundTrip(t *testing.T, backend store.Backend) {
	account := newAccount("żółć-ß")
	account.Phone = "+49 30 1234567"
	account.Disabled = true
	account.Groups = []string{"admin", "editors"}
	account.Modified = epoch.Add(time.Millisecond)
	account.LastAction = epoch.Add(time.Hour)
	for i := range 40 {
		account.Sessions = append(account.Sessions, store.Session{
			ID: fmt.Sprintf("session-%d", i), ClientID: "client",
			UserAgent: "agent \u2603", Address: "2001:db8::1",
			Generation: int64(i) << 40, RotationID: -1 << 63, Used: i%2 == 0,
			Created: epoch, Rotated: epoch.Add(time.Duration(i) * time.Millisecond), Expires: epoch.Add(1e6 * time.Second),
		})
	}
	require.NoError(t, backend.Create(t.Context(), account))
	assert.Equal(t, account, find(t, backend, account.ID))
	require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		assert.Equal(t, account, a)
		a.Sessions = a.Sessions[:0]
		return nil
	}))
	assert.Empty(t, find(t, backend, account.ID).Sessions)
}

// testEveryMemberIsKept fails if store.Account or store.Session has a member that the test
// does not set, so that a new member is not forgotten.
func testEveryMemberIsKept(t *testing.T, backend store.Backend) {
	account := newAccount("ada")
	account.Phone, account.CredentialsVersion = "+49 30 1234567", -1<<63
	account.Groups, account.Disabled, account.Format = []string{"editors"}, true, 1
	account.Unknown = map[string]any{"later": "account"}
	account.Sessions = []store.Session{{
		ID: "id", ClientID: "client", UserAgent: "agent", Address: "2001:db8::1", Generation: 1 << 40, RotationID: -1 << 63,
		Used: true, LostReplies: 2, RecoveredAt: epoch.Add(time.Minute), Created: epoch, Rotated: epoch.Add(time.Second),
		Expires: epoch.Add(time.Hour), Unknown: map[string]any{"later": "session"},
	}}
	for _, value := range []reflect.Value{reflect.ValueOf(*account), reflect.ValueOf(account.Sessions[0])} {
		for i := range value.NumField() {
			require.False(t, value.Field(i).IsZero(), "set %s", value.Type().Field(i).Name)
		}
	}
	require.NoError(t, backend.Create(t.Context(), account))
	assert.Equal(t, account, find(t, backend, account.ID))
	require.NoError(t, backend.Update(t.Context(), account.ID, func(*store.Account) error { return nil }))
	assert.Equal(t, account, find(t, backend, account.ID), "written again")
}

func testSnapshotsArePrivate(t *testing.T, backend store.Backend) {
	account := newAccount("ada")
	account.Groups = []string{"one"}
	require.NoError(t, backend.Create(t.Context(), account))
	account.Groups[0] = "changed after Create"
	before := find(t, backend, account.ID)
	assert.Equal(t, []string{"one"}, before.Groups)

	require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		a.Groups[0] = "two"
		a.Sessions = append(a.Sessions, store.Session{ID: "s", Created: epoch, Rotated: epoch, Expires: epoch})
		return nil
	}))
	assert.Equal(t, []string{"one"}, before.Groups, "a snapshot does not change")
	assert.Empty(t, before.Sessions)
	after := find(t, backend, account.ID)
	assert.Equal(t, []string{"two"}, after.Groups)
	assert.Len(t, after.Sessions, 1)
}

func testCreateRefusesTaken(t *testing.T, backend store.Backend) {
	ada := create(t, backend, "ada")
	for name, test := range map[string]struct{ name, email, field string }{
		"name":  {"ada", "other@example.org", "name"},
		"email": {"other", "ada@example.org", "email"},
		"both":  {"ada", "ada@example.org", "name"},
	} {
		t.Run("id and "+name, func(t *testing.T) {
			second := newAccount(test.name)
			second.ID, second.Email, second.EmailKey = ada.ID, test.email, test.email
			assertExists(t, backend.Create(t.Context(), second), test.field)
			assert.Equal(t, ada, find(t, backend, ada.ID))
		})
		t.Run(name, func(t *testing.T) {
			second := newAccount(test.name)
			second.Email, second.EmailKey = test.email, test.email
			assertExists(t, backend.Create(t.Context(), second), test.field)
			_, err := backend.FindByID(t.Context(), second.ID)
			assert.ErrorIs(t, err, store.ErrNotFound)
		})
	}
	second := newAccount("other")
	second.ID = ada.ID
	assertExists(t, backend.Create(t.Context(), second), "account_id")
	assert.Equal(t, ada, find(t, backend, ada.ID))
	create(t, backend, "other")
}

func assertExists(t *testing.T, err error, field string) {
	t.Helper()
	var exists *store.ExistsError
	if assert.ErrorAs(t, err, &exists) {
		assert.Equal(t, field, exists.Field)
	}
}

// together runs work in n goroutines at once and returns their errors.
func together(n int, work func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = work(i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

func testCreateRace(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	accounts := make([]*store.Account, 16)
	errs := together(len(accounts), func(i int) error {
		accounts[i] = newAccount("ada")
		if i%2 == 1 {
			accounts[i].Name = fmt.Sprintf("ada-%d", i) // the e-mail alone is taken
		}
		return backend.Create(ctx, accounts[i])
	})
	var winner *store.Account
	for i, err := range errs {
		if err == nil {
			require.Nil(t, winner, "two callers created the same account")
			winner = accounts[i]
			continue
		}
		assert.ErrorIs(t, err, store.ErrExists)
		_, err = backend.FindByID(ctx, accounts[i].ID)
		assert.ErrorIs(t, err, store.ErrNotFound)
	}
	require.NotNil(t, winner)
	found, err := backend.FindByEmail(ctx, "ada@example.org")
	require.NoError(t, err)
	assert.Equal(t, winner.ID, found.ID)
}

func testDelete(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	account, bystander := create(t, backend, "ada"), create(t, backend, "grace")
	require.NoError(t, backend.Delete(ctx, account.ID))
	_, err := backend.FindByID(ctx, account.ID)
	assert.ErrorIs(t, err, store.ErrNotFound)
	_, err = backend.FindByName(ctx, account.Name)
	assert.ErrorIs(t, err, store.ErrNotFound)
	_, err = backend.FindByEmail(ctx, account.EmailKey)
	assert.ErrorIs(t, err, store.ErrNotFound)
	assert.ErrorIs(t, backend.Delete(ctx, account.ID), store.ErrNotFound)
	assert.Equal(t, bystander, find(t, backend, bystander.ID))
	create(t, backend, "ada")
}

// testDeleteRace checks that an update never brings a deleted record back.
func testDeleteRace(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	for round := range 8 {
		account := create(t, backend, fmt.Sprint("ada", round))
		together(4, func(i int) error {
			if i == 0 {
				return backend.Delete(ctx, account.ID)
			}
			return backend.Update(ctx, account.ID, func(a *store.Account) error {
				a.Disabled = true
				return nil
			})
		})
		_, err := backend.FindByID(ctx, account.ID)
		assert.ErrorIs(t, err, store.ErrNotFound)
		_, err = backend.FindByName(ctx, account.Name)
		assert.ErrorIs(t, err, store.ErrNotFound)
	}
}

func testContext(t *testing.T, backend store.Backend) {
	account := create(t, backend, "ada")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := backend.FindByID(ctx, account.ID)
	assert.Error(t, err)
	_, err = backend.FindByName(ctx, account.Name)
	assert.Error(t, err)
	_, err = backend.FindByEmail(ctx, account.EmailKey)
	assert.Error(t, err)
	assert.Error(t, backend.Create(ctx, newAccount("grace")))
	assert.Error(t, backend.Update(ctx, account.ID, func(a *store.Account) error { a.Disabled = true; return nil }))
	assert.Error(t, backend.UpdateRecord(ctx, "a", epoch, func(r *store.Record) error {
		r.Value, r.Expires = []byte("x"), epoch.Add(time.Hour)
		return nil
	}))
	assert.Error(t, backend.Delete(ctx, account.ID))
	assert.Error(t, backend.Ping(ctx))
	assert.Equal(t, account, find(t, backend, account.ID))
	_, err = backend.FindByName(t.Context(), "grace")
	assert.ErrorIs(t, err, store.ErrNotFound)
}
