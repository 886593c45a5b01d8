package store_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func Example() {
	ctx := context.Background()
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New()})
	if err != nil {
		panic(err)
	}
	ada, err := accounts.Create(ctx, store.NewAccount{
		Name: "Ada", Email: "Ada@example.org", Password: "correct horse", Groups: []string{"editors"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(ada.Name, ada.Email, ada.InGroup("editors"))

	proven, err := accounts.VerifyPassword(ctx, "ADA@EXAMPLE.ORG", "correct horse")
	fmt.Println(proven.ID == ada.ID, err)
	_, err = accounts.VerifyPassword(ctx, "ada", "battery staple")
	fmt.Println(errors.Is(err, store.ErrCredentials), err)

	session, err := accounts.StartSession(ctx, proven, store.NewSession{ClientID: "app"})
	fmt.Println(session.Session.Generation, err)
	if err := accounts.Disable(ctx, ada.ID); err != nil {
		panic(err)
	}
	_, err = accounts.RefreshSession(ctx, store.SessionRef{AccountID: ada.ID, SessionID: session.Session.ID, Generation: 1}, store.Lifetimes{})
	fmt.Println(err)
	// Output:
	// ada Ada@example.org true
	// true <nil>
	// true store: unknown name or wrong password
	// 1 <nil>
	// store: the account is disabled
}
