package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

func Example() {
	directory, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	backend, err := boltstore.Open(filepath.Join(directory, "accounts.db"))
	if err != nil {
		panic(err)
	}
	defer backend.Close()
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	if err != nil {
		panic(err)
	}
	_, created, err := accounts.EnsureRoot(context.Background(), "root", "root@localhost", "correct horse")
	fmt.Println(created, err)

	_, err = boltstore.Open(filepath.Join(directory, "accounts.db"))
	fmt.Println(errors.Is(err, boltstore.ErrInUse))
	// Output:
	// true <nil>
	// true
}
