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
		Name: "Ada", Email: "Ada@example.org", Password: "correct horse battery staple", Groups: []string{"editors"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(ada.Name, ada.Email, ada.InGroup("editors"))

	// Ada logs in, with her e-mail in capital letters.
	login := store.Login{
		Username: "ADA@EXAMPLE.ORG", Password: "correct horse battery staple",
		Session: store.NewSession{ClientID: "app"},
	}
	state, err := accounts.Login(ctx, login)
	if err != nil {
		panic(err)
	}
	fmt.Println("generation", state.Session.Generation)

	login.Password = "battery staple"
	_, err = accounts.Login(ctx, login)
	fmt.Println(errors.Is(err, store.ErrCredentials), err)

	// Her refresh token names the account, the session and the generation.
	token := store.SessionRef{AccountID: ada.ID, SessionID: state.Session.ID, Generation: 1}
	state, err = accounts.RefreshSession(ctx, token, store.Lifetimes{})
	if err != nil {
		panic(err)
	}
	fmt.Println("generation", state.Session.Generation)

	// A disabled account has no sessions.
	if err := accounts.Disable(ctx, ada.ID); err != nil {
		panic(err)
	}
	token.Generation = 2
	_, err = accounts.RefreshSession(ctx, token, store.Lifetimes{})
	fmt.Println(errors.Is(err, store.ErrDisabled), err)
	// Output:
	// ada Ada@example.org true
	// generation 1
	// true store: unknown name or wrong password
	// generation 2
	// true store: the account is disabled
}
