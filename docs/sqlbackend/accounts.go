package sqlbackend

import (
	"context"
	"database/sql"
	"slices"

	"github.com/oauthsv/oauthsv/store"
)

// FindByID is as [store.Backend] says.
func (b *Backend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	return b.find(ctx, "account_id", id[:])
}

// FindByName is as [store.Backend] says.
func (b *Backend) FindByName(ctx context.Context, name string) (*store.Account, error) {
	return b.find(ctx, "name", name)
}

// FindByEmail is as [store.Backend] says.
func (b *Backend) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	return b.find(ctx, "email_key", emailKey)
}

func (b *Backend) find(ctx context.Context, column string, value any) (*store.Account, error) {
	found, err := b.read(ctx, column, value)
	if err != nil {
		return nil, err
	}
	return found.Account, nil
}

// read reads one row. That is one statement, so the sessions belong to the account.
func (b *Backend) read(ctx context.Context, column string, value any) (row, error) {
	found, err := scan(b.db.QueryRowContext(ctx, selectAccount+" FROM users WHERE "+column+" = ?", value))
	return found, named("reading an account", err)
}

// Create is as [store.Backend] says. The database chooses the team's own id of the user, and
// the defaults of the team's other columns.
func (b *Backend) Create(ctx context.Context, account *store.Account) error {
	values, err := row{account, newVersion()}.values()
	if err != nil {
		return named("encoding an account", err)
	}
	return b.write(ctx, "creating an account", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, insertAccount, values...); err != nil {
			return whatIsTaken(ctx, tx, err, account, store.NilID)
		}
		return writeGroups(ctx, tx, account)
	})
}

// Update is as [store.Backend] says. change runs outside of the transaction, so nobody waits
// for it.
func (b *Backend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	return untilNoConflict(ctx, "updating an account", func() error {
		changed, err := b.read(ctx, "account_id", id[:])
		if err != nil {
			return err
		}
		readVersion, groups := changed.version, slices.Clone(changed.Groups)
		if err := change(changed.Account); err != nil {
			return unlessUnchanged(err)
		}
		changed.ID, changed.version = id, newVersion()
		values, err := changed.values()
		if err != nil {
			return named("encoding an account", err)
		}
		return b.write(ctx, "updating an account", func(tx *sql.Tx) error {
			err := mustHitOne(tx.ExecContext(ctx, updateAccount, append(values, id[:], readVersion)...))
			if err != nil {
				return whatIsTaken(ctx, tx, err, changed.Account, id)
			}
			if slices.Equal(groups, changed.Groups) {
				return nil
			}
			return writeGroups(ctx, tx, changed.Account)
		})
	})
}

// Delete is as [store.Backend] says. The rows of users_in_groups go with the user, by their
// foreign key.
func (b *Backend) Delete(ctx context.Context, id store.ID) error {
	return b.write(ctx, "deleting an account", func(tx *sql.Tx) error {
		var deleted []byte
		return tx.QueryRowContext(ctx, "DELETE FROM users WHERE account_id = ? RETURNING account_id", id[:]).Scan(&deleted)
	})
}

// whatIsTaken says which value of the account is taken, if that is why a write failed. The
// message of the database cannot say it: it names only one value, in an order of its own.
// The row of self does not count.
//
// SQLite goes on with the transaction after the failed statement. So the answer comes from
// the state that the statement met.
func whatIsTaken(ctx context.Context, tx *sql.Tx, failure error, account *store.Account, self store.ID) error {
	if !isUniqueViolation(failure) {
		return failure
	}
	var field string
	err := tx.QueryRowContext(ctx, `SELECT CASE
		WHEN EXISTS (SELECT 1 FROM users WHERE name = ? AND account_id <> ?) THEN 'name'
		WHEN EXISTS (SELECT 1 FROM users WHERE email_key = ? AND account_id <> ?) THEN 'email'
		WHEN EXISTS (SELECT 1 FROM users WHERE account_id = ? AND account_id <> ?) THEN 'account_id'
		ELSE '' END`,
		account.Name, self[:], account.EmailKey, self[:], account.ID[:], self[:]).Scan(&field)
	switch {
	case err != nil:
		return err
	case field == "":
		return failure // a unique column of the team's own
	}
	return &store.ExistsError{Field: field}
}

// writeGroups replaces the rows of users_in_groups of an account. They are only an index for
// List: the column groups is what FindByID and the others read. Both change in the same
// transaction.
func writeGroups(ctx context.Context, tx *sql.Tx, account *store.Account) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM users_in_groups WHERE account_id = ?", account.ID[:]); err != nil {
		return err
	}
	for _, group := range account.Groups {
		if _, err := tx.ExecContext(ctx, "INSERT INTO users_in_groups (group_name, account_id) VALUES (?, ?)", group, account.ID[:]); err != nil {
			return err
		}
	}
	return nil
}
