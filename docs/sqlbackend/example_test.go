package sqlbackend_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oauthsv/oauthsv/docs/sqlbackend"
	"github.com/oauthsv/oauthsv/store"
)

// A user of the team's table is an account of the kit. Each id leads to the other.
func Example() {
	ctx := context.Background()
	directory, err := os.MkdirTemp("", "example")
	check(err)
	defer func() { check(os.RemoveAll(directory)) }()
	db, err := sqlbackend.OpenDB(filepath.Join(directory, "team.db"))
	check(err)
	defer func() { check(db.Close()) }()
	_, err = db.ExecContext(ctx, teamSQL) // the team's table, with Ada in it
	check(err)

	users, err := sqlbackend.New(ctx, db)
	check(err)
	accounts, err := store.NewAccounts(store.Config{Backend: users})
	check(err)
	ada, err := accounts.FindByName(ctx, "Ada")
	check(err)
	id, err := users.UserID(ctx, ada.ID)
	check(err)
	back, err := users.AccountID(ctx, id)
	check(err)
	fmt.Println(id, back == ada.ID)
	// Output: 4711 true
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
