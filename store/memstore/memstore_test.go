package memstore_test

import (
	"testing"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/storetest"
)

func TestBackend(t *testing.T) {
	storetest.Test(t, func(*testing.T) store.Backend { return memstore.New() })
}
