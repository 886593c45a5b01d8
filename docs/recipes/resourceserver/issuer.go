package resourceserver

import (
	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/tokens"
)

// audience names the API. The issuer writes it into the tokens, and the API expects it.
const audience = "https://orders.example.org"

// newTokenIssuer signs with a key that has a public half. The default, HS512, has none.
func newTokenIssuer(url, keyFile string) (*tokens.Issuer, error) {
	keys, err := tokens.OpenKeyring(tokens.KeyFile{Path: keyFile, Algorithm: tokens.EdDSA})
	if err != nil {
		return nil, err
	}
	return tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: url, Audience: audience})
}

// newClients makes the clients of the issuer: the app where users log in, and the API,
// which may only ask about tokens. The hash is from grant.NewClientSecret.
func newClients(secretHash string) (grant.ClientRegistry, error) {
	return grant.NewClients(
		grant.Client{ID: "app"},
		grant.Client{ID: "orders-api", SecretHash: secretHash, Grants: []string{}, MayIntrospect: true, Audience: audience},
	)
}
