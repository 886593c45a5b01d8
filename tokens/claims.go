package tokens

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Claims are the claims of a token of either kind (RFC 7519 section 4, RFC 9068
// section 2.2).
type Claims struct {
	// Subject ("sub") names the account.
	Subject string
	// ClientID ("client_id") names the client that received the token.
	ClientID string
	// SessionID ("sid") names the session. A session is one login.
	SessionID string
	// Generation ("gen") is the generation of the session when the token was made.
	// It starts at 1 and rises as the session is refreshed.
	Generation int64
	// Expiry ("exp") is the first moment at which the token is refused. A token
	// holds whole seconds, and fractions are dropped.
	Expiry time.Time

	// The issuer sets the fields below.

	// ID ("jti") is different for every token.
	ID string
	// Issuer ("iss") is the URL of the authorization server that made the token.
	Issuer string
	// Audience ("aud") names the services that may accept the token. Do not change
	// the slice: several tokens can share it.
	Audience []string
	// IssuedAt ("iat") is the time at which the token was made, by the clock of the
	// issuer.
	IssuedAt time.Time
}

// HasAudience reports whether the token is for the audience.
func (c *Claims) HasAudience(audience string) bool { return slices.Contains(c.Audience, audience) }

// AccessToken is a verified access token. Its claims were true when it was issued.
type AccessToken struct{ Claims }

// RefreshToken is a verified refresh token.
type RefreshToken struct{ Claims }

// MaxLength is the length of the longest token that is accepted, in bytes. Longer tokens
// are malformed.
const MaxLength = 8 << 10

const (
	typeAccess  = "at+jwt" // RFC 9068 section 2.1
	typeRefresh = "rt+jwt"
	typeAny     = "" // either of them

	// maxTime is the end of the year 9999, in Unix time. Text forms of time.Time,
	// such as RFC 3339, cannot hold a later time.
	maxTime = 253402300799
)

// expectation is the issuer and the audience that tokens must have.
type expectation struct {
	issuer   string
	audience []string // always one; a slice, so that Claims can share it
	opening  string   // what the payload of each token that has them begins with

	// The errors of check. They say what is expected, and nothing of the token.
	errIssuer, errAudience error
}

func newExpectation(issuer, audience string) expectation {
	// They come from a configuration that was checked, or match no token.
	iss, _ := jsontext.AppendQuote(nil, issuer)
	aud, _ := jsontext.AppendQuote(nil, audience)
	return expectation{
		issuer: issuer, audience: []string{audience},
		opening:     fmt.Sprintf(`{"iss":%s,"aud":%s`, iss, aud),
		errIssuer:   fmt.Errorf("%w: expected %q", ErrIssuer, issuer),
		errAudience: fmt.Errorf("%w: expected %q", ErrAudience, audience),
	}
}

// appendPayload appends the payload of a new token, as readPlain reads it. json.Marshal of a
// struct with the same members would be a third of the time of signing: see BenchmarkSign.
func (e *expectation) appendPayload(memory []byte, c *Claims, now time.Time) (_ []byte, err error) {
	memory = append(memory, e.opening...)
	for _, member := range [...]struct{ name, text string }{
		{`,"sub":`, c.Subject}, {`,"client_id":`, c.ClientID}, {`,"sid":`, c.SessionID}, {`,"jti":`, rand.Text()},
	} {
		if memory, err = jsontext.AppendQuote(append(memory, member.name...), member.text); err != nil {
			return nil, err
		}
	}
	memory = strconv.AppendInt(append(memory, `,"gen":`...), c.Generation, 10)
	memory = strconv.AppendInt(append(memory, `,"iat":`...), now.Unix(), 10)
	memory = strconv.AppendInt(append(memory, `,"exp":`...), c.Expiry.Unix(), 10)
	return append(memory, '}'), nil
}

// check compares the issuer and the audience. No code compares "iat" with the clock,
// because the clocks of two processes differ.
func (e *expectation) check(c *wireClaims) error {
	switch {
	case c.Issuer != e.issuer:
		return e.errIssuer
	case !c.Audience.has(e.audience[0]):
		return e.errAudience
	}
	return nil
}

// export converts claims that check has accepted.
func (e *expectation) export(c *wireClaims) Claims {
	return Claims{
		Subject:    c.Subject,
		ClientID:   c.ClientID,
		SessionID:  c.SessionID,
		Generation: c.Generation,
		Expiry:     time.Unix(c.Expiry, 0).UTC(),
		ID:         c.ID,
		Issuer:     c.Issuer,
		Audience:   c.Audience.list(e.audience),
		IssuedAt:   time.Unix(c.IssuedAt, 0).UTC(),
	}
}

// window is the time in which a token is valid. Nothing else about a token changes
// with the clock.
type window struct {
	from, until time.Time // from is zero if the token has no "nbf"
}

func (c *wireClaims) window(leeway time.Duration) window {
	w := window{until: time.Unix(c.Expiry, 0).Add(leeway)}
	if c.notBefore != 0 {
		w.from = time.Unix(c.notBefore, 0).Add(-leeway)
	}
	return w
}

func (w window) check(now time.Time) error {
	switch {
	case !now.Before(w.until):
		return ErrExpired
	case now.Before(w.from):
		return ErrNotYetValid
	}
	return nil
}
