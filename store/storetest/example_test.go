package storetest_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/storetest"
)

// countingBackend stands for a backend of your own. It counts the reads by id of the
// backend below it.
type countingBackend struct {
	store.Backend
	reads atomic.Int64
}

func (b *countingBackend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	b.reads.Add(1)
	return b.Backend.FindByID(ctx, id)
}

// testCountingBackend is the whole test of the backend. In the tests of your package it
// is func TestBackend(t *testing.T).
func testCountingBackend(t *testing.T) {
	storetest.Test(t, func(t *testing.T) store.Backend {
		file, err := boltstore.Open(filepath.Join(t.TempDir(), "accounts.db"), boltstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		})
		return &countingBackend{Backend: file}
	})
}

// The test of a backend is one call of Test.
func ExampleTest() {
	var TestBackend func(*testing.T) = testCountingBackend // run it with go test -race
	_ = TestBackend
}
