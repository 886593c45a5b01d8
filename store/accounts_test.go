package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestCreate(t *testing.T) {
	k := newKit(t, store.Config{})
	k.now = epoch.Add(1234567 * time.Nanosecond).In(time.FixedZone("x", 3600))
	account, err := k.Create(t.Context(), store.NewAccount{
		Name: "Ada", Email: "Ada@EXAMPLE.org", Phone: "+49 30/123", Password: secret, Groups: []string{"b", "a", "b"},
	})
	require.NoError(t, err)
	assert.Equal(t, "ada", account.Name)
	assert.Equal(t, "Ada@EXAMPLE.org", account.Email, "mail goes to the address as given")
	assert.Equal(t, []string{"a", "b"}, account.Groups)
	assert.Equal(t, epoch.Add(time.Millisecond), account.Created)
	assert.Equal(t, account, k.find(t, account.ID))
	assert.True(t, strings.HasPrefix(account.PasswordHash, "$argon2id$"))

	byName, err := k.FindByName(t.Context(), "ADA")
	require.NoError(t, err)
	assert.Equal(t, account, byName)
	byEmail, err := k.FindByEmail(t.Context(), "aDA@example.ORG")
	require.NoError(t, err)
	assert.Equal(t, account, byEmail)

	for field, what := range map[string]store.NewAccount{
		"name":  {Name: "aDA", Email: "other@example.org", NoPassword: true},
		"email": {Name: "other", Email: "ada@example.org", NoPassword: true},
	} {
		_, err := k.Create(t.Context(), what)
		var exists *store.ExistsError
		require.ErrorAs(t, err, &exists)
		assert.Equal(t, field, exists.Field)
	}
	for field, what := range map[string]store.NewAccount{
		"name":     {Name: "a b", Email: "x@example.org", NoPassword: true},
		"email":    {Name: "x", Email: "x", NoPassword: true},
		"phone":    {Name: "x", Email: "x@example.org", Phone: "call me", NoPassword: true},
		"password": {Name: "x", Email: "x@example.org", Password: strings.Repeat("x", 1025)},
		"group":    {Name: "x", Email: "x@example.org", Groups: []string{"a b"}, NoPassword: true},
	} {
		_, err := k.Create(t.Context(), what)
		var invalid *store.InvalidError
		require.ErrorAs(t, err, &invalid, field)
		assert.Equal(t, field, invalid.Field)
	}
}

// TestPasswordIsExplicit checks that nobody can make an account without a password by mistake.
func TestPasswordIsExplicit(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	hash := k.create(t, "ada").PasswordHash
	for name, what := range map[string]store.NewAccount{
		"none":             {},
		"two":              {Password: secret, NoPassword: true},
		"the other two":    {Password: secret, PasswordHash: hash},
		"hash and without": {PasswordHash: hash, NoPassword: true},
		"no hash":          {PasswordHash: "two\nlines"},
	} {
		what.Name, what.Email = "x", "x@example.org"
		_, err := k.Create(ctx, what)
		var invalid *store.InvalidError
		require.ErrorAs(t, err, &invalid, name)
		assert.Equal(t, "password", invalid.Field)
	}
	moved, err := k.Create(ctx, store.NewAccount{Name: "moved", Email: "moved@example.org", PasswordHash: hash})
	require.NoError(t, err)
	got, err := k.VerifyPassword(ctx, "moved", secret)
	require.NoError(t, err)
	assert.Equal(t, moved.ID, got.ID)
}

func TestCreateNamesEachWrongField(t *testing.T) {
	_, err := newKit(t, store.Config{}).Create(t.Context(), store.NewAccount{Name: "a b", Email: "x", Phone: "call me", NoPassword: true})
	require.ErrorIs(t, err, store.ErrInvalid)
	for _, field := range []string{"name", "email", "phone"} {
		assert.ErrorContains(t, err, "invalid "+field)
	}
	assert.NotContains(t, err.Error(), "\n")
}

func TestAccountShowsNoSecrets(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	k.login(t, account)
	account = k.find(t, account.ID)
	text, err := json.Marshal(account)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "account", account)
	for _, shown := range []string{string(text), log.String(), fmt.Sprint(account), fmt.Sprintf("%+v", account)} {
		assert.Contains(t, shown, account.ID.Hex())
		assert.NotContains(t, shown, "argon2id")
		assert.NotContains(t, shown, account.Sessions[0].ID)
	}
}

// TestAccountMovesInWithItsTimes: each time is kept on its own, in UTC and to the millisecond.
func TestAccountMovesInWithItsTimes(t *testing.T) {
	k := newKit(t, store.Config{})
	at := func(hours time.Duration) time.Time {
		return epoch.Add(-hours*time.Hour + 1234567*time.Nanosecond).In(time.FixedZone("x", 3600))
	}
	made, err := k.Create(t.Context(), store.NewAccount{
		Name: "ada", Email: "ada@example.org", NoPassword: true, Disabled: true,
		Created: at(3), Modified: at(2), LastAction: at(1),
	})
	require.NoError(t, err)
	kept := k.find(t, made.ID)
	assert.Equal(t, made, kept)
	assert.True(t, kept.Disabled)
	for hours, got := range map[time.Duration]time.Time{3: kept.Created, 2: kept.Modified, 1: kept.LastAction} {
		assert.Equal(t, epoch.Add(-hours*time.Hour+time.Millisecond), got)
	}
}

// TestReturnedAccountStaysAsItIs: goroutines share it while its sessions move on.
func TestReturnedAccountStaysAsItIs(t *testing.T) {
	k := newKit(t, store.Config{})
	ref := k.login(t, k.create(t, "ada"))
	found := k.find(t, ref.AccountID)
	session := found.Sessions[0]
	require.NoError(t, second(k.RefreshSession(t.Context(), ref, store.Lifetimes{})))
	assert.Equal(t, []store.Session{session}, found.Sessions)
	require.NoError(t, k.EndSessions(t.Context(), ref.AccountID, ""))
	assert.Equal(t, []store.Session{session}, found.Sessions)
}

func TestChangesEndSessions(t *testing.T) {
	for name, change := range map[string]func(*kit, store.ID) error{
		"SetPassword":    func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, newSecret) },
		"ChangePassword": func(k *kit, id store.ID) error { return k.changePassword(context.Background(), id, secret, newSecret) },
		"Disable":        func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) },
		"Remove":         func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) },
		"EndSessions":    func(k *kit, id store.ID) error { return k.EndSessions(context.Background(), id, "") },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, store.Config{})
			account := k.create(t, "ada")
			first, second := k.login(t, account), k.login(t, account)
			require.NoError(t, change(k, account.ID))
			for _, ref := range []store.SessionRef{first, second} {
				_, err := k.FindBySession(t.Context(), ref)
				assert.Error(t, err)
				_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
				assert.Error(t, err)
			}
			if name != "Remove" {
				_ = k.Enable(t.Context(), account.ID)
				_, err := k.FindBySession(t.Context(), first)
				assert.ErrorIs(t, err, store.ErrSessionEnded, "for good")
			}
		})
	}
}

func TestChangePassword(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	ref := k.login(t, account)
	assert.ErrorIs(t, k.changePassword(ctx, account.ID, "wrong", newSecret), store.ErrCredentials)
	assert.ErrorIs(t, k.changePassword(ctx, account.ID, secret, ""), store.ErrInvalid)
	assert.ErrorIs(t, k.changePassword(ctx, store.NewID(), secret, newSecret), store.ErrNotFound)
	_, err := k.FindBySession(ctx, ref)
	require.NoError(t, err, "a refused change ends nothing")
	require.NoError(t, k.changePassword(ctx, account.ID, secret, newSecret))
	_, err = k.VerifyPassword(ctx, "ada", secret)
	assert.ErrorIs(t, err, store.ErrCredentials)
	_, err = k.VerifyPassword(ctx, "ada", newSecret)
	assert.NoError(t, err)
}

func TestGroups(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	k.now = k.now.Add(time.Minute)
	for _, group := range []string{"b", "a", "b", "c"} {
		require.NoError(t, k.AddToGroup(ctx, account.ID, group))
	}
	assert.Equal(t, []string{"a", "b", "c"}, k.find(t, account.ID).Groups)
	assert.Equal(t, k.now, k.find(t, account.ID).Modified)
	require.NoError(t, k.RemoveFromGroup(ctx, account.ID, "b"))
	changed := k.now
	k.now = k.now.Add(time.Minute)
	require.NoError(t, k.RemoveFromGroup(ctx, account.ID, "b"))
	require.NoError(t, k.AddToGroup(ctx, account.ID, "a"))
	assert.Equal(t, changed, k.find(t, account.ID).Modified, "nothing has changed since")
	found := k.find(t, account.ID)
	assert.True(t, found.InGroup("a"))
	assert.False(t, found.InGroup("b"))
	assert.False(t, found.InGroup("A"))
	for _, group := range []string{"", "a b", "\u00e9", strings.Repeat("x", 65), "a\n", ".", ".."} {
		assert.ErrorIs(t, k.AddToGroup(ctx, account.ID, group), store.ErrInvalid, "%q", group)
	}
	assert.ErrorIs(t, k.AddToGroup(ctx, store.NewID(), "a"), store.ErrNotFound)
}

func TestEnsureRoot(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	root, err := k.EnsureRoot(ctx, "root", "root@localhost", "")
	require.NoError(t, err)
	require.True(t, root.Created)
	assert.GreaterOrEqual(t, len(root.Password), 26)
	assert.NoError(t, root.Weakness)
	account, err := k.VerifyPassword(ctx, "root", root.Password)
	require.NoError(t, err)
	assert.True(t, account.InGroup(store.AdminGroup))

	root, err = k.EnsureRoot(ctx, "ROOT", "other@localhost", "other")
	require.NoError(t, err)
	assert.Zero(t, root)
	assert.Equal(t, account, k.find(t, account.ID), "never overwritten")

	renamed := "boss"
	_, err = k.Change(ctx, account.ID, store.Changes{Name: &renamed})
	require.NoError(t, err)
	root, err = k.EnsureRoot(ctx, "root", "other@localhost", "")
	require.NoError(t, err)
	assert.Zero(t, root, "a renamed root stays renamed")

	_, err = newKit(t, store.Config{}).EnsureRoot(ctx, "a b", "x@localhost", "")
	assert.ErrorIs(t, err, store.ErrInvalid)
}

// TestLastAdministratorIsKept: without one nobody could make another.
func TestLastAdministratorIsKept(t *testing.T) {
	yes := true
	for name, end := range map[string]func(k *kit, id store.ID) error{
		"remove":              func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) },
		"remove by its owner": func(k *kit, id store.ID) error { return k.RemoveWithPassword(context.Background(), id, secret) },
		"disable":             func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) },
		"change": func(k *kit, id store.ID) error {
			_, err := k.Change(context.Background(), id, store.Changes{Disabled: &yes})
			return err
		},
		"group": func(k *kit, id store.ID) error { return k.RemoveFromGroup(context.Background(), id, store.AdminGroup) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, store.Config{})
			ctx := t.Context()
			root, other := k.create(t, "root"), k.create(t, "other")
			require.NoError(t, k.AddToGroup(ctx, root.ID, store.AdminGroup))
			require.NoError(t, k.AddToGroup(ctx, root.ID, "editors"))
			before := k.find(t, root.ID)
			assert.ErrorIs(t, end(k, root.ID), store.ErrLastAdmin)
			assert.ErrorIs(t, k.RemoveWithPassword(ctx, root.ID, "wrong"), store.ErrCredentials, "the password comes first")
			assert.Equal(t, before, k.find(t, root.ID))
			require.NoError(t, k.RemoveFromGroup(ctx, root.ID, "editors"), "other groups are free")
			require.NoError(t, k.Enable(ctx, root.ID), "this takes nobody out")

			require.NoError(t, k.AddToGroup(ctx, other.ID, store.AdminGroup))
			require.NoError(t, k.Disable(ctx, other.ID))
			assert.ErrorIs(t, end(k, root.ID), store.ErrLastAdmin, "a disabled one is no help")
			require.NoError(t, k.Enable(ctx, other.ID))
			assert.NoError(t, end(k, root.ID))
			assert.ErrorIs(t, end(k, other.ID), store.ErrLastAdmin)
		})
	}
}

// TestLastAdministratorIsKeptInAnOutage: if it cannot be seen who else administers, nothing changes.
func TestLastAdministratorIsKeptInAnOutage(t *testing.T) {
	for name, end := range map[string]func(k *kit, id store.ID) error{
		"remove":  func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) },
		"disable": func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) },
		"group":   func(k *kit, id store.ID) error { return k.RemoveFromGroup(context.Background(), id, store.AdminGroup) },
	} {
		for _, method := range []string{"FindByID", "List"} {
			t.Run(name+", "+method, func(t *testing.T) {
				backend := &failingBackend{Backend: memstore.New()}
				k := newKit(t, store.Config{Backend: backend})
				root := k.create(t, "root")
				require.NoError(t, k.AddToGroup(t.Context(), root.ID, store.AdminGroup))
				before := k.find(t, root.ID)
				backend.failNext(method)
				assert.ErrorIs(t, end(k, root.ID), store.ErrUnavailable)
				assert.Equal(t, before, k.backendFind(t, root.ID))
			})
		}
	}
}

// TestWeakRootPasswordIsWarnedOf: an operator may choose a password that the policy refuses.
func TestWeakRootPasswordIsWarnedOf(t *testing.T) {
	k := newKit(t, store.Config{})
	root, err := k.EnsureRoot(t.Context(), "root", "root@localhost", "short")
	require.NoError(t, err)
	assert.True(t, root.Created)
	assert.ErrorIs(t, root.Weakness, store.ErrInvalid)
	assert.Empty(t, root.Password, "a chosen one is not printed")
	_, err = k.VerifyPassword(t.Context(), "root", "short")
	assert.NoError(t, err)
}
