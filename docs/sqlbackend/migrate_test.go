package sqlbackend_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/docs/sqlbackend"
	"github.com/oauthsv/oauthsv/store"
)

// TestUserAndAccountFindEachOther shows how the two ids of a user belong together.
func TestUserAndAccountFindEachOther(t *testing.T) {
	ctx := t.Context()
	db, _ := openTeamDB(t)
	backend := openBackend(t, db)
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	require.NoError(t, err)

	// Ada was in the table before the kit came, with the id 4711.
	ada, err := accounts.FindByEmail(ctx, "ada@example.org")
	require.NoError(t, err)
	assert.Equal(t, "ada", ada.Name, "prepared")
	assert.Equal(t, "Ada@Example.org", ada.Email, "as she wrote it")
	assert.WithinDuration(t, time.Now(), ada.Created, time.Minute)

	// The kit makes Grace. The database gives her the next id.
	grace, err := accounts.Create(ctx, store.NewAccount{Name: "grace", Email: "grace@example.org", NoPassword: true})
	require.NoError(t, err)

	for user, account := range map[int64]store.ID{4711: ada.ID, 4712: grace.ID} {
		foundUser, err := backend.UserID(ctx, account)
		require.NoError(t, err)
		assert.Equal(t, user, foundUser)
		foundAccount, err := backend.AccountID(ctx, user)
		require.NoError(t, err)
		assert.Equal(t, account, foundAccount)
	}
	_, err = backend.UserID(ctx, store.NewID())
	assert.ErrorIs(t, err, store.ErrNotFound)
	_, err = backend.AccountID(ctx, 4713)
	assert.ErrorIs(t, err, store.ErrNotFound)

	// An id that another user had is not given again, so orders keep their owner.
	require.NoError(t, accounts.Remove(ctx, grace.ID))
	grace, err = accounts.Create(ctx, store.NewAccount{Name: "grace", Email: "grace@example.org", NoPassword: true})
	require.NoError(t, err)
	user, err := backend.UserID(ctx, grace.ID)
	require.NoError(t, err)
	assert.Equal(t, int64(4713), user)
}

// TestTheTeamsColumnsAreTheTeams: the kit writes only its own columns, and the team's writes
// do not make an update of the kit fail.
func TestTheTeamsColumnsAreTheTeams(t *testing.T) {
	ctx := t.Context()
	db, _ := openTeamDB(t)
	backend := openBackend(t, db)
	ada, err := backend.AccountID(ctx, 4711)
	require.NoError(t, err)
	runs := 0
	require.NoError(t, backend.Update(ctx, ada, func(a *store.Account) error {
		runs++
		exec(t, db, "UPDATE users SET plan = 'silver' WHERE id = 4711") // between the read and the write
		a.Disabled = true
		return nil
	}))
	assert.Equal(t, 1, runs)
	var plan string
	var disabled bool
	require.NoError(t, db.QueryRowContext(ctx, "SELECT plan, disabled FROM users WHERE id = 4711").Scan(&plan, &disabled))
	assert.Equal(t, "silver", plan)
	assert.True(t, disabled)

	require.NoError(t, backend.Delete(ctx, ada))
	var owner *int64
	require.NoError(t, db.QueryRowContext(ctx, "SELECT user_id FROM orders LIMIT 1").Scan(&owner))
	assert.Nil(t, owner, "the team's rows that point to the user do what their foreign key says")
}

func TestNewPreparesTheTableOnceAndWholly(t *testing.T) {
	ctx := t.Context()
	db, path := openTeamDB(t)
	exec(t, db, "INSERT INTO users (id, name, email) VALUES (5000, 'ADA', 'second@example.org'), (5001, 'two words', 'nobody'), (5002, 'grace', 'grace@example.org')")
	_, err := sqlbackend.New(ctx, db)
	for _, text := range []string{"the user with the id 5000", "users.name", "the user with the id 5001", "invalid name", "invalid email"} {
		assert.ErrorContains(t, err, text)
	}
	assert.NotContains(t, err.Error(), "5002")
	var columns int
	require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_table_info('users')").Scan(&columns))
	assert.Equal(t, 5, columns, "the table is as it was")

	exec(t, db, "UPDATE users SET name = 'ada2' WHERE id = 5000; DELETE FROM users WHERE id = 5001")
	before, err := openBackend(t, db).AccountID(ctx, 4711)
	require.NoError(t, err)
	after, err := openBackend(t, openDB(t, path)).AccountID(ctx, 4711)
	require.NoError(t, err)
	assert.Equal(t, before, after, "a second start changes nothing")

	_, err = db.ExecContext(ctx, "INSERT INTO users (name, email) VALUES ('eve', 'eve@example.org')")
	assert.ErrorContains(t, err, "users are made with store.Accounts.Create")
}
