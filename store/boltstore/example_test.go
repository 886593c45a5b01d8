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

// A backup is written while the store is in use, first under another name, so that a
// backup that was interrupted never takes the place of a good one.
func ExampleStore_WriteTo() {
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

	backup := func(path string) error {
		file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := backend.WriteTo(file); err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
	path := filepath.Join(directory, "backup.db")
	fmt.Println(backup(path))

	restored, err := boltstore.Open(path) // checks all of it
	fmt.Println(restored.Ping(context.Background()), err)
	restored.Close()
	// Output:
	// <nil>
	// <nil> <nil>
}
