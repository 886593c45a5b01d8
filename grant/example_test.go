package grant_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// Opens a store with a root account, logs in as root, and prints the four fields
// of the token response, 32 characters of each at most.
func Example() {
	ctx := context.Background()
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New()})
	if err != nil {
		panic(err)
	}
	if _, _, err := accounts.EnsureRoot(ctx, "root", "root@localhost", "correct horse"); err != nil {
		panic(err)
	}
	keys, err := tokens.ParseKeys([]byte(strings.Repeat("only-in-examples", 4)))
	if err != nil {
		panic(err)
	}
	keyring, err := tokens.NewKeyring(keys...)
	if err != nil {
		panic(err)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keyring, Issuer: "https://login.example.org"})
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{
		Accounts: accounts, Issuer: issuer, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}

	response, err := server.Password(ctx, grant.PasswordRequest{Username: "root", Password: "correct horse"})
	if err != nil {
		panic(err)
	}
	fmt.Printf("access_token: %.32s\n", response.AccessToken)
	fmt.Printf("token_type: %.32s\n", response.TokenType)
	fmt.Printf("expires_in: %d\n", response.ExpiresIn)
	fmt.Printf("refresh_token: %.32s\n", response.RefreshToken)
	// Output:
	// access_token: eyJhbGciOiJIUzUxMiIsInR5cCI6ImF0
	// token_type: Bearer
	// expires_in: 900
	// refresh_token: eyJhbGciOiJIUzUxMiIsInR5cCI6InJ0
}
