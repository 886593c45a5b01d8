package sqlbackend

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

//go:embed migrate.sql
var migration string

// migrate adds the kit's columns and tables, unless they are there. Then it makes each user
// an account. All of it is one transaction: it happens completely or not at all.
func migrate(ctx context.Context, tx *sql.Tx) error {
	var done bool
	err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pragma_table_info('users') WHERE name = 'account_id')").Scan(&done)
	if err != nil || done {
		return err
	}
	if _, err := tx.ExecContext(ctx, migration); err != nil {
		return err
	}
	users, err := readUsers(ctx, tx)
	if err != nil {
		return err
	}
	var problems []error // all of them, so that the team can mend them at once
	for _, u := range users {
		if err := u.makeAccount(ctx, tx, time.Now()); err != nil {
			problems = append(problems, fmt.Errorf("the user with the id %d: %w", u.id, err))
		}
	}
	return errors.Join(problems...)
}

// user is what the team's table says about a user.
type user struct {
	id          int64
	name, email string
}

func readUsers(ctx context.Context, tx *sql.Tx) ([]user, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, name, email FROM users")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells of every failure
	var users []user
	for rows.Next() {
		var u user
		if err := rows.Scan(&u.id, &u.name, &u.email); err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, rows.Err()
}

// makeAccount gives the user an account_id, and the name and the e-mail in the form that
// the kit compares. The password hash stays as it is.
func (u user) makeAccount(ctx context.Context, tx *sql.Tx, now time.Time) error {
	name, nameError := store.PrepareName(u.name)
	emailKey, emailError := store.PrepareEmail(u.email)
	if err := errors.Join(nameError, emailError); err != nil {
		return err
	}
	id := store.NewID()
	_, err := tx.ExecContext(ctx, `UPDATE users SET account_id = ?, name = ?, email_key = ?,
		created = ?, modified = ?, last_action = ?, format = ?, version = ? WHERE id = ?`,
		id[:], name, emailKey, now.UnixMilli(), now.UnixMilli(), now.UnixMilli(), store.RecordFormat, newVersion(), u.id)
	return err
}

// UserID returns the team's own id of the user with an account. It returns an error that
// matches store.ErrNotFound if there is none.
func (b *Backend) UserID(ctx context.Context, account store.ID) (int64, error) {
	var id int64
	err := b.db.QueryRowContext(ctx, "SELECT id FROM users WHERE account_id = ?", account[:]).Scan(&id)
	return id, named("finding a user", err)
}

// AccountID returns the account of the user with the team's own id. It is the way back from
// UserID.
func (b *Backend) AccountID(ctx context.Context, user int64) (store.ID, error) {
	var id []byte
	err := b.db.QueryRowContext(ctx, "SELECT account_id FROM users WHERE id = ?", user).Scan(&id)
	if err != nil {
		return store.NilID, named("finding an account", err)
	}
	return store.ID(id), nil
}
