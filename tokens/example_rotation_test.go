package tokens_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oauthsv/oauthsv/tokens"
)

// printStates prints the state of each key in the order of the file.
func printStates(when string, keys *tokens.Keyring) {
	fmt.Print(when, ":")
	for _, key := range keys.Keys() {
		fmt.Printf(" %s is %s.", key.Algorithm(), key.State())
	}
	fmt.Println()
}

// An operator replaces a shared secret by a key pair while the server runs. Tokens from
// before the change stay valid.
func ExampleKeyFile() {
	directory, err := os.MkdirTemp("", "oauthsv")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	file := tokens.KeyFile{Path: filepath.Join(directory, "oauthsv.key")}
	if _, err := file.Add(tokens.HS512); err != nil { // makes the file
		panic(err)
	}

	// The server starts, and signs a token.
	keys, err := tokens.OpenKeyring(file)
	if err != nil {
		panic(err)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	if err != nil {
		panic(err)
	}
	old, err := issuer.SignAccess(tokens.Claims{
		Subject: "65f0c0ffee65f0c0ffee0001", ClientID: "app", SessionID: "AAECAwQFBgcICQoLDA0ODw",
		Generation: 1, Expiry: time.Now().Add(15 * time.Minute),
	})
	if err != nil {
		panic(err)
	}
	printStates("start", keys)

	// The operator adds a key. Each server reloads, and then knows it.
	added, err := file.Add(tokens.EdDSA)
	if err != nil {
		panic(err)
	}
	if _, err := keys.Reload(); err != nil {
		panic(err)
	}
	printStates("added", keys)

	// The operator activates the key. Each server reloads, and then signs with it.
	// Refresh tokens live 30 days here, so the old key verifies for that long.
	if err := file.Activate(added.ID(), 30*24*time.Hour); err != nil {
		panic(err)
	}
	if _, err := keys.Reload(); err != nil {
		panic(err)
	}
	printStates("activated", keys)

	_, err = issuer.Verifier().Verify(context.Background(), old)
	fmt.Println("the old token verifies:", err == nil)
	// Output:
	// start: HS512 is active.
	// added: HS512 is active. EdDSA is next.
	// activated: HS512 is retired. EdDSA is active.
	// the old token verifies: true
}
