package mongostore_test

import (
	"context"
	"fmt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// openAccounts is how a program opens its accounts.
func openAccounts(ctx context.Context, uri string) (*store.Accounts, error) {
	backend, err := mongostore.Open(ctx, uri, mongostore.Config{})
	if err != nil {
		return nil, err
	}
	return store.NewAccounts(store.Config{Backend: backend})
}

func Example() {
	_, err := openAccounts(context.Background(), "mongodb://db1.example.org,db2.example.org/?replicaSet=rs0")
	fmt.Println(err)
	// Output:
	// mongostore: the connection string names no database: put it behind the hosts, as in mongodb://localhost/oauthsv
}
