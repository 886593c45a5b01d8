package grant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// Client is a registered client (RFC 6749 section 2).
type Client struct {
	// ID is the client_id: 1 to 256 printable ASCII characters.
	ID string
	// SecretHash is the hash of a confidential client's secret, from NewClientSecret
	// or HashClientSecret. A public client, such as an app, has none.
	SecretHash string
	// Grants are the grant types that the client may use. Nil allows both.
	Grants []string
	// MayIntrospect lets a confidential client, such as a resource server, use the
	// introspection endpoint.
	MayIntrospect bool
	// Audience limits what the client may ask about: tokens for this audience. The
	// default is every token of this server.
	Audience string
	// RefreshCookie, if set, keeps the refresh token of a browser app in a cookie. A
	// confidential client has none.
	RefreshCookie *RefreshCookie

	// AccessTTL, RefreshTTL and SessionTTL replace Config.AccessTTL and the TTLs of
	// store.Config for this client. 0 keeps those. With store.Off as SessionTTL a
	// session has no end.
	AccessTTL, RefreshTTL, SessionTTL time.Duration
}

// The grant types (RFC 6749 sections 4.3.2 and 6).
const (
	GrantPassword     = "password"
	GrantRefreshToken = "refresh_token"
)

// ErrNoClient says that a registry has no such client.
var ErrNoClient = errors.New("grant: no such client")

// ClientRegistry finds clients. Implementations are safe for concurrent use.
type ClientRegistry interface {
	// FindClient returns the client, which nobody changes afterwards, or
	// ErrNoClient. A nil client without an error counts as ErrNoClient. Any other
	// error counts as an outage.
	FindClient(ctx context.Context, id string) (*Client, error)
}

// NewClients makes a registry of clients that do not change. It returns one error
// that names each wrong client.
func NewClients(clients ...Client) (ClientRegistry, error) {
	registry := make(fixedClients, len(clients))
	cookies := make(map[string]*RefreshCookie)
	var problems []string
	for _, client := range clients {
		if problem := client.problem(); problem != "" {
			problems = append(problems, fmt.Sprintf("client %q: %s", client.ID, problem))
		}
		if registry[client.ID] != nil {
			problems = append(problems, fmt.Sprintf("client %q: twice", client.ID))
		}
		registry[client.ID] = &client
		if client.RefreshCookie != nil {
			cookies[client.ID] = client.RefreshCookie
		}
	}
	problems = append(problems, cookieProblems(cookies)...)
	if len(problems) > 0 {
		return nil, fmt.Errorf("grant: clients: %s", strings.Join(problems, "; "))
	}
	return registry, nil
}

type fixedClients map[string]*Client

func (c fixedClients) FindClient(_ context.Context, id string) (*Client, error) {
	if client := c[id]; client != nil {
		return client, nil
	}
	return nil, ErrNoClient
}

func (c *Client) problem() string {
	switch {
	case !wellFormedClientID(c.ID):
		return "ID must be 1 to 256 printable ASCII characters, such as app"
	case c.SecretHash != "" && !isSecretHash(c.SecretHash):
		return "SecretHash is not what grant.HashClientSecret returns"
	case c.MayIntrospect && c.SecretHash == "":
		return "MayIntrospect needs a SecretHash"
	case c.RefreshCookie != nil && c.SecretHash != "":
		return "RefreshCookie is for public clients, without a SecretHash"
	case c.AccessTTL != 0 && c.AccessTTL < time.Second, c.RefreshTTL != 0 && c.RefreshTTL < time.Second, c.SessionTTL > 0 && c.SessionTTL < time.Second:
		return fmt.Sprintf("AccessTTL (%v), RefreshTTL (%v) and SessionTTL (%v) must be at least 1s, or 0 for the default", c.AccessTTL, c.RefreshTTL, c.SessionTTL)
	}
	for _, grantType := range c.Grants {
		if grantType != GrantPassword && grantType != GrantRefreshToken {
			return fmt.Sprintf("Grants must not hold %q: the grants are %s and %s", grantType, GrantPassword, GrantRefreshToken)
		}
	}
	return ""
}

func (c *Client) may(grantType string) bool {
	return c == nil || c.Grants == nil || slices.Contains(c.Grants, grantType)
}

// lifetimes returns the zero value without a registry.
func (c *Client) lifetimes() store.Lifetimes {
	if c == nil {
		return store.Lifetimes{}
	}
	return store.Lifetimes{Refresh: c.RefreshTTL, Session: c.SessionTTL}
}

const (
	secretHashPrefix = "$sha256$"
	minSecretBytes   = 32
)

// NewClientSecret makes a secret of 256 random bits for a confidential client. Give
// the secret to the client and keep the hash.
func NewClientSecret() (secret, hash string) {
	random := make([]byte, minSecretBytes)
	rand.Read(random) // never fails
	secret = base64.RawURLEncoding.EncodeToString(random)
	return secret, hashSecret(secret)
}

// HashClientSecret hashes a secret that was made elsewhere. The secret must be random:
// the hash is one plain SHA-256, which is cheap at every request and does not protect
// a secret that somebody has thought up. It returns an error for a secret under 32
// bytes.
func HashClientSecret(secret string) (hash string, err error) {
	if len(secret) < minSecretBytes {
		return "", fmt.Errorf("grant: a client secret of %d bytes is too short: it must be at least %d, and random", len(secret), minSecretBytes)
	}
	return hashSecret(secret), nil
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return secretHashPrefix + base64.RawStdEncoding.EncodeToString(sum[:])
}

func isSecretHash(hash string) bool {
	text, found := strings.CutPrefix(hash, secretHashPrefix)
	sum, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return found && err == nil && len(sum) == sha256.Size
}

// client finds a client by its id. Without a registry it returns nil.
func (s *Server) client(ctx context.Context, id string) (*Client, *Error) {
	if s.config.Clients == nil {
		return nil, nil
	}
	client, err := s.config.Clients.FindClient(ctx, id)
	switch {
	case errors.Is(err, ErrNoClient), err == nil && client == nil:
		return nil, invalidClient(ErrNoClient)
	case err != nil:
		return nil, outage(err)
	}
	return client, nil
}

// authenticateClient checks what a request says of its client (RFC 6749 section 2.3).
// Without a registry no secret is known, so it checks none.
func (s *Server) authenticateClient(ctx context.Context, sent sentClient) (*Client, *Error) {
	client, failure := s.client(ctx, sent.id)
	if failure == nil && client != nil {
		// A public client has no secret, so it must not present one.
		expected := client.SecretHash
		presented := ""
		if sent.secret != "" {
			presented = hashSecret(sent.secret)
		}
		if subtle.ConstantTimeCompare([]byte(presented), []byte(expected)) != 1 {
			failure = invalidClient(errClientSecret)
		}
	}
	if failure != nil && failure.Code == CodeInvalidClient && sent.inHeader {
		failure.challenges = []string{challengeBasic} // RFC 6749 section 5.2
	}
	return client, failure
}

const challengeBasic = `Basic realm="token endpoint", charset="UTF-8"`

var errClientSecret = errors.New("grant: wrong client secret")

func invalidClient(err error) *Error {
	return &Error{Code: CodeInvalidClient, Description: "client authentication failed: client_id is missing or unknown, or the secret is wrong", Status: http.StatusUnauthorized, Err: err}
}

func unauthorizedClient() *Error {
	return &Error{Code: CodeUnauthorizedClient, Description: "the client may not use this grant", Status: http.StatusBadRequest}
}
