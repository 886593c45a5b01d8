package storetest_test

import (
	"testing"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/storetest"
)

// A backend's test is one call.
func ExampleTest() {
	_ = func(t *testing.T) { // func TestBackend(t *testing.T)
		storetest.Test(t, func(t *testing.T) store.Backend { return memstore.New() })
	}
	// Output:
}
