package grant

import (
	"net/http"
	"net/url"
	"strings"
)

// Endpoint is an HTTP endpoint and the path where clients look for it.
type Endpoint struct {
	// Path of an endpoint of a [Server] follows from the URL of the issuer. For the
	// issuer https://h.example/tenant/a the token endpoint is at /tenant/a/token.
	// Those of packages selfservice and admin stand at the root.
	Path    string
	Handler http.Handler
	// Method is that of the requests for the Handler. If it is empty, the Handler
	// takes requests of any method, and answers a wrong one itself.
	Method string
}

// Pattern returns the pattern of the endpoint for a *http.ServeMux.
func (e *Endpoint) Pattern() string {
	if e.Method == "" {
		return e.Path
	}
	return e.Method + " " + e.Path
}

// Mux is where endpoints are mounted. *http.ServeMux and the routers that are made
// like it are Muxes.
type Mux interface {
	Handle(pattern string, handler http.Handler)
}

// Mount mounts all endpoints of the server, each at its path. For a router that is no
// [Mux], or to leave an endpoint out, use [Server.Endpoints].
//
// The patterns have no method: each endpoint answers a wrong method itself. A
// *http.ServeMux with the pattern "GET /" panics on such a pattern, because neither is
// more specific than the other. Register "/" instead.
func (s *Server) Mount(mux Mux) {
	Mount(mux, s.Endpoints())
}

// Mount mounts endpoints, each with its pattern.
func Mount(mux Mux, endpoints []Endpoint) {
	for _, endpoint := range endpoints {
		mux.Handle(endpoint.Pattern(), endpoint.Handler)
	}
}

// Endpoints lists all endpoints of the server. The introspection endpoint is among
// them where somebody may use it: with Config.Clients or Config.MayIntrospect.
//
// All paths but one begin with the path of the issuer. The path of the metadata ends
// with it: for https://h.example/tenant/a the metadata are at
// /.well-known/oauth-authorization-server/tenant/a (RFC 8414 section 3.1).
func (s *Server) Endpoints() []Endpoint {
	base := s.basePath()
	endpoints := []Endpoint{
		{Path: base + pathToken, Handler: s.TokenHandler()},
		{Path: base + pathRevoke, Handler: s.RevocationHandler()},
		{Path: base + pathJWKS, Handler: s.JWKSHandler()},
		{Path: pathMetadata + base, Handler: s.MetadataHandler()}, // RFC 8414 section 3.1
	}
	if s.introspects() {
		endpoints = append(endpoints, Endpoint{Path: base + pathIntrospect, Handler: s.IntrospectionHandler()})
	}
	return endpoints
}

// The paths below the issuer, but for that of the metadata.
const (
	pathToken      = "/token" // where tokens.Issuer has it
	pathRevoke     = "/revoke"
	pathIntrospect = "/introspect"
	pathJWKS       = "/.well-known/jwks.json"
	pathMetadata   = "/.well-known/oauth-authorization-server"
)

// basePath is the path of the issuer, without a slash at its end.
func (s *Server) basePath() string {
	location, err := url.Parse(s.config.Issuer.URL())
	if err != nil {
		return "" // tokens.NewIssuer has parsed it
	}
	return strings.TrimSuffix(location.Path, "/")
}

// urlOf is the absolute URL of a path below the issuer.
func (s *Server) urlOf(path string) string {
	return strings.TrimSuffix(s.config.Issuer.URL(), "/") + path
}
