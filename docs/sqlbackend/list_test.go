package sqlbackend_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestListsAsMemstoreDoes reads lists page by page, and compares them with memstore's.
func TestListsAsMemstoreDoes(t *testing.T) {
	ctx := t.Context()
	backend, _, _ := openEmpty(t)
	model := memstore.New()
	names := []string{"a", "a%", "a_b", "aa", "aab", "ab", "b", "é", "ê", "żółć", "\U0010ffff", "\U0010ffffa", "\xff", "\xffa"}
	for i, name := range names {
		account := newAccount(name)
		if i%2 == 0 {
			account.Groups = []string{"editors"}
		}
		require.NoError(t, backend.Create(ctx, account))
		require.NoError(t, model.Create(ctx, account))
	}
	lists := []store.List{
		{By: store.ListByID},
		{By: store.ListByGroup, Match: "editors"}, {By: store.ListByGroup, Match: "editor"}, {By: store.ListByGroup, Match: "EDITORS"},
		{By: store.ListByName, Match: "a", After: "B"}, // before the prefix
		{By: store.ListByName, Match: "a", After: "b"}, // behind it
	}
	for _, prefix := range append(names, "", "A", "a_", "nobody", "\xc3", "\xf4\x8f\xbf") {
		lists = append(lists, store.List{By: store.ListByName, Match: prefix}, store.List{By: store.ListByEmail, Match: prefix})
	}
	for _, list := range lists {
		for _, list.Limit = range []int{1, 3, 100} {
			t.Run(fmt.Sprintf("%d %q after %q limit %d", list.By, list.Match, list.After, list.Limit), func(t *testing.T) {
				for {
					want, err := model.List(ctx, list)
					require.NoError(t, err)
					got, err := backend.List(ctx, list)
					require.NoError(t, err)
					require.Equal(t, want, got)
					if len(got) < list.Limit {
						return
					}
					last := got[len(got)-1]
					list.After = [...]string{last.ID.Hex(), last.Name, last.EmailKey, last.ID.Hex()}[list.By]
				}
			})
		}
	}
}

// TestListOfAGroupFollowsTheAccount: the rows of users_in_groups change with the account.
func TestListOfAGroupFollowsTheAccount(t *testing.T) {
	ctx := t.Context()
	backend, db, _ := openEmpty(t)
	account := newAccount("ada")
	account.Groups = []string{"editors"}
	require.NoError(t, backend.Create(ctx, account))
	inGroup := func(group string) int {
		t.Helper()
		found, err := backend.List(ctx, store.List{By: store.ListByGroup, Match: group, Limit: 10})
		require.NoError(t, err)
		return len(found)
	}
	assert.Equal(t, 1, inGroup("editors"))
	require.NoError(t, backend.Update(ctx, account.ID, func(a *store.Account) error {
		a.Groups = []string{"authors"}
		return nil
	}))
	assert.Zero(t, inGroup("editors"))
	assert.Equal(t, 1, inGroup("authors"))

	second := newAccount("grace")
	require.NoError(t, backend.Create(ctx, second))
	assert.ErrorIs(t, backend.Update(ctx, second.ID, func(a *store.Account) error {
		a.Name, a.Groups = "ada", []string{"authors"}
		return nil
	}), store.ErrExists)
	assert.Equal(t, 1, inGroup("authors"), "the update was refused as a whole")

	require.NoError(t, backend.Delete(ctx, account.ID))
	var rows int
	require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM users_in_groups").Scan(&rows))
	assert.Zero(t, rows)
}

// explainer is a driver that keeps the statements that the Backend prepares.
type explainer struct {
	driver.Driver
	statements *[]string
}

func (e explainer) Open(name string) (driver.Conn, error) {
	conn, err := e.Driver.Open(name)
	return explainedConn{conn, e.statements}, err
}

// explainedConn has no method QueryContext, so that database/sql prepares each statement.
type explainedConn struct {
	driver.Conn
	statements *[]string
}

func (c explainedConn) Prepare(query string) (driver.Stmt, error) {
	*c.statements = append(*c.statements, query)
	return c.Conn.Prepare(query)
}

// connector connects to one database.
type connector struct {
	explainer
	name string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.Open(c.name) }
func (c connector) Driver() driver.Driver                        { return c.explainer }

// TestEveryReadUsesAnIndex asks SQLite for the plan of each statement that a read sends.
func TestEveryReadUsesAnIndex(t *testing.T) {
	ctx := t.Context()
	backend, db, path := openEmpty(t)
	for i := range 200 {
		account := newAccount(fmt.Sprint("user-", i))
		account.Groups = []string{"everybody"}
		require.NoError(t, backend.Create(ctx, account))
	}
	exec(t, db, "ANALYZE") // the plans depend on what SQLite knows of the tables
	var statements []string
	watched := sql.OpenDB(connector{explainer{&sqlite.Driver{}, &statements}, strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace("file:" + path)})
	defer func() { assert.NoError(t, watched.Close()) }()
	reader := openBackend(t, watched)

	id := store.NewID()
	list := func(list store.List) func() error {
		list.Limit = 10
		return func() error { _, err := reader.List(ctx, list); return err }
	}
	for want, read := range map[string]func() error{
		"SEARCH users USING INDEX users_account_id (account_id=?)": func() error { _, err := reader.FindByID(ctx, id); return err },
		"SEARCH users USING INDEX users_name (name=?)":             func() error { _, err := reader.FindByName(ctx, "x"); return err },
		"SEARCH users USING INDEX users_email_key (email_key=?)":   func() error { _, err := reader.FindByEmail(ctx, "x"); return err },
		"SEARCH expiring_records USING PRIMARY KEY (key=?)": func() error {
			return reader.UpdateRecord(ctx, "x", epoch, func(*store.Record) error { return store.ErrUnchanged })
		},
		"SEARCH users USING INDEX users_account_id (account_id>?)":                                                             list(store.List{}),
		"SEARCH users USING INDEX users_name (name>? AND name<?)":                                                              list(store.List{By: store.ListByName, Match: "user-1"}),
		"SEARCH users USING INDEX users_name (name>?)":                                                                         list(store.List{By: store.ListByName, After: "user-1"}),
		"SEARCH users USING INDEX users_email_key (email_key>? AND email_key<?)":                                               list(store.List{By: store.ListByEmail, Match: "user-1", After: "user-10"}),
		"SEARCH g USING PRIMARY KEY (group_name=? AND account_id>?); SEARCH users USING INDEX users_account_id (account_id=?)": list(store.List{By: store.ListByGroup, Match: "everybody"}),
	} {
		statements = nil
		if err := read(); err != nil {
			require.ErrorIs(t, err, store.ErrNotFound)
		}
		require.Len(t, statements, 1, "one statement, one consistent answer")
		assert.Equal(t, want, plan(t, db, statements[0]))
	}
	assert.Contains(t, plan(t, db, "SELECT * FROM users WHERE name LIKE ? ORDER BY plan"), "SCAN", "the test can fail")
}

// plan returns what SQLite would do. A part SCAN reads a whole table, and a part TEMP B-TREE
// sorts.
func plan(t *testing.T, db *sql.DB, statement string) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, slices.Repeat([]any{nil}, strings.Count(statement, "?"))...)
	require.NoError(t, err)
	defer func() { assert.NoError(t, rows.Close()) }()
	var parts []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
		parts = append(parts, detail)
	}
	require.NoError(t, rows.Err())
	return strings.Join(parts, "; ")
}
