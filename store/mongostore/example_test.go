package mongostore_test

import (
	"context"
	"fmt"
	"os"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// MONGODB_URI is a connection string with the name of a database, such as
// mongodb://localhost:27017/oauthsv.
func Example() {
	ctx := context.Background()
	backend, err := mongostore.Open(ctx, os.Getenv("MONGODB_URI"), mongostore.Config{})
	if err != nil {
		panic(err)
	}
	defer backend.Close()
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	if err != nil {
		panic(err)
	}
	_, err = accounts.Create(ctx, store.NewAccount{
		Name: "ada", Email: "ada@example.org", Password: "correct horse battery staple",
	})
	if err != nil {
		panic(err)
	}
	state, err := accounts.Login(ctx, store.Login{
		Username: "ada", Password: "correct horse battery staple", Session: store.NewSession{ClientID: "app"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(state.Account.Name, "is logged in until", state.Session.Expires)
}

// An error says what to do, and shows neither user name nor password.
func ExampleOpen_error() {
	_, err := mongostore.Open(context.Background(), "mongodb://oauthsv:secret@db1.example.org", mongostore.Config{})
	fmt.Println(err)
	// Output:
	// mongostore: the connection string names no database: add its name after the hosts, as in mongodb://localhost/oauthsv
}
