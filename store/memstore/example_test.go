package memstore_test

import (
	"context"
	"fmt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func Example() {
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New()})
	if err != nil {
		panic(err)
	}
	root, err := accounts.EnsureRoot(context.Background(), "root", "root@localhost", "correct horse battery staple")
	if err != nil {
		panic(err)
	}
	fmt.Println(root.Created)
	// Output: true
}
