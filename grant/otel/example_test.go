package oauthsvotel_test

import (
	"fmt"
	"log"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/oauthsv/oauthsv/grant"
	oauthsvotel "github.com/oauthsv/oauthsv/grant/otel"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/tokens"
)

// A server makes its parts as usual, and keeps those that count. The backend is wrapped.
func Example() {
	hasher, err := password.New(password.Config{})
	if err != nil {
		log.Fatal(err)
	}
	backend := store.NewMeteredBackend(memstore.New())
	accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: hasher})
	if err != nil {
		log.Fatal(err)
	}
	key, err := tokens.GenerateKey(tokens.HS512)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		log.Fatal(err)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	if err != nil {
		log.Fatal(err)
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer})
	if err != nil {
		log.Fatal(err)
	}

	provider := metric.NewMeterProvider() // with a reader, such as that of an exporter
	_, err = oauthsvotel.Register(oauthsvotel.Config{
		MeterProvider: provider,
		Server:        server, Verifier: issuer.Verifier(), Hasher: hasher, Backend: backend,
	})
	fmt.Println("registered:", err == nil)
	// Output: registered: true
}
