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
	path := filepath.Join(directory, "accounts.db")
	backend, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		panic(err)
	}
	defer backend.Close()
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	if err != nil {
		panic(err)
	}
	root, err := accounts.EnsureRoot(context.Background(), "root", "root@localhost", "correct horse battery staple")
	if err != nil {
		panic(err)
	}
	fmt.Println(root.Created)

	// A file can be open only once.
	_, err = boltstore.Open(path, boltstore.Config{})
	fmt.Println(errors.Is(err, boltstore.ErrInUse))
	// Output:
	// true
	// true
}

// A backup is made while the store is in use. It gets its name only when it is complete,
// so that an interrupted backup never replaces a good one.
func ExampleStore_WriteTo() {
	directory, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	backend, err := boltstore.Open(filepath.Join(directory, "accounts.db"), boltstore.Config{})
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
	if err := backup(path); err != nil {
		panic(err)
	}

	// To check the backup, open it.
	restored, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		panic(err)
	}
	fmt.Println(restored.Ping(context.Background()))
	if err := restored.Close(); err != nil {
		panic(err)
	}
	// Output: <nil>
}
