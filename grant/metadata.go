package grant

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/oauthsv/oauthsv/tokens"
)

// Metadata says what [MetadataHandler] publishes (RFC 8414 section 2). Every URL
// is absolute.
type Metadata struct {
	// Issuer is that of the tokens. Required.
	Issuer string
	// TokenEndpoint is required, the others are left out if empty.
	TokenEndpoint         string
	RevocationEndpoint    string
	IntrospectionEndpoint string
	// JWKSURI is where a JWKSHandler is. It is published only while Keys holds a
	// public key.
	JWKSURI string
	Keys    *tokens.Keyring
	// Clients says that there is a client registry: then clients can authenticate.
	Clients bool
}

type metadataBody struct {
	Issuer                   string   `json:"issuer"`
	TokenEndpoint            string   `json:"token_endpoint"`
	RevocationEndpoint       string   `json:"revocation_endpoint,omitempty"`
	IntrospectionEndpoint    string   `json:"introspection_endpoint,omitempty"`
	JWKSURI                  string   `json:"jwks_uri,omitempty"`
	GrantTypes               []string `json:"grant_types_supported"`
	ResponseTypes            []string `json:"response_types_supported"`
	TokenAuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
}

// MetadataPath is where the metadata of an issuer are found: a path of the issuer
// comes behind the well-known one (RFC 8414 section 3.1).
func MetadataPath(issuer string) (string, error) {
	location, err := url.Parse(issuer)
	if err != nil {
		return "", fmt.Errorf("grant: the issuer is no URL: %w", err)
	}
	return "/.well-known/oauth-authorization-server" + strings.TrimSuffix(location.EscapedPath(), "/"), nil
}

// MetadataHandler publishes what the server can do (RFC 8414). Mount it at
// [MetadataPath].
func MetadataHandler(metadata Metadata) (http.Handler, error) {
	if metadata.Issuer == "" || metadata.TokenEndpoint == "" {
		return nil, errors.New("grant: metadata: Issuer and TokenEndpoint are required")
	}
	if metadata.JWKSURI != "" && metadata.Keys == nil {
		return nil, errors.New("grant: metadata: JWKSURI needs Keys")
	}
	return document(func() ([]byte, error) {
		methods := []string{"none"}
		if metadata.Clients {
			methods = []string{"client_secret_basic", "client_secret_post", "none"}
		}
		body := metadataBody{
			Issuer:                metadata.Issuer,
			TokenEndpoint:         metadata.TokenEndpoint,
			RevocationEndpoint:    metadata.RevocationEndpoint,
			IntrospectionEndpoint: metadata.IntrospectionEndpoint,
			GrantTypes:            []string{GrantPassword, GrantRefreshToken},
			ResponseTypes:         []string{},
			TokenAuthMethods:      methods,
		}
		if body.RevocationEndpoint != "" {
			body.RevocationAuthMethods = methods
		}
		if body.IntrospectionEndpoint != "" && metadata.Clients {
			body.IntrospectionAuthMethods = methods[:2]
		}
		if metadata.JWKSURI != "" && hasPublicKey(metadata.Keys) {
			body.JWKSURI = metadata.JWKSURI
		}
		return json.Marshal(body)
	}), nil
}

func hasPublicKey(keys *tokens.Keyring) bool {
	for _, key := range keys.Keys() {
		if key.Algorithm() != tokens.HS512 {
			return true
		}
	}
	return false
}

// JWKSHandler publishes the public keys of a keyring (RFC 7517 section 5), and
// never a shared secret.
func JWKSHandler(keys *tokens.Keyring) http.Handler { return document(keys.PublicJWKs) }

// publicFor is how long others may keep a document: a key is published that long
// before it signs, if its operator waits as long.
const publicFor = "public, max-age=300"

// document serves a small JSON document that a CDN can carry.
func document(make func() ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the method must be GET", http.StatusMethodNotAllowed)
			return
		}
		text, err := make()
		if err != nil {
			http.Error(w, "the document cannot be made", http.StatusInternalServerError)
			return
		}
		sum := sha256.Sum256(text)
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", publicFor)
		header.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	})
}
