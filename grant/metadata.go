package grant

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
)

// metadata is what a server can do (RFC 8414 section 2).
type metadata struct {
	Issuer                   string   `json:"issuer"`
	TokenEndpoint            string   `json:"token_endpoint"`
	RevocationEndpoint       string   `json:"revocation_endpoint"`
	IntrospectionEndpoint    string   `json:"introspection_endpoint,omitempty"`
	JWKSURI                  string   `json:"jwks_uri,omitempty"`
	GrantTypes               []string `json:"grant_types_supported"`
	ResponseTypes            []string `json:"response_types_supported"`
	TokenAuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
}

// MetadataHandler publishes what the server can do (RFC 8414), so that clients find
// the endpoints by the issuer alone. Every URL in it is made from the URL of the
// issuer, none from the request.
func (s *Server) MetadataHandler() http.Handler {
	return document(func() ([]byte, error) {
		methods := []string{"none"}
		var introspectionMethods []string
		if s.config.Clients != nil {
			introspectionMethods = []string{"client_secret_basic", "client_secret_post"}
			methods = []string{"client_secret_basic", "client_secret_post", "none"}
		}
		if s.config.MayIntrospect != nil {
			introspectionMethods = append(introspectionMethods, tokenTypeBearer)
		}
		document := metadata{
			Issuer:                   s.config.Issuer.URL(),
			TokenEndpoint:            s.config.Issuer.TokenEndpoint(),
			RevocationEndpoint:       s.urlOf(pathRevoke),
			GrantTypes:               []string{GrantPassword, GrantRefreshToken},
			ResponseTypes:            []string{},
			TokenAuthMethods:         methods,
			RevocationAuthMethods:    methods,
			IntrospectionAuthMethods: introspectionMethods,
		}
		if s.introspects() {
			document.IntrospectionEndpoint = s.urlOf(pathIntrospect)
		}
		if s.config.Issuer.Keys().HasPublicKey(s.config.Now()) {
			document.JWKSURI = s.urlOf(pathJWKS)
		}
		return json.Marshal(document)
	})
}

// JWKSHandler publishes the public keys of the issuer (RFC 7517 section 5), and never
// a shared secret.
func (s *Server) JWKSHandler() http.Handler {
	return document(func() ([]byte, error) { return s.config.Issuer.Keys().PublicJWKSet(s.config.Now()) })
}

// publicFor is how long others may keep a document. Operators wait as long between
// publishing a key and signing with it.
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
