package tokens

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Claims is what a token of either kind says (RFC 7519 section 4, RFC 9068
// section 2.2).
type Claims struct {
	// Subject ("sub") names the account.
	Subject string
	// ClientID ("client_id") names the client the tokens were issued to.
	ClientID string
	// SessionID ("sid") names the session, that is, one login.
	SessionID string
	// Generation ("gen") is the session's generation the token was made for. It
	// starts at 1.
	Generation int64
	// Expiry ("exp") is the first moment at which the token is no longer good.
	// Tokens count in whole seconds.
	Expiry time.Time

	// The issuer fills in what follows.

	// ID ("jti") is unique to the token.
	ID string
	// Issuer ("iss") is the URL of who made the token.
	Issuer string
	// Audience ("aud") is who may believe the token. It must not be changed.
	Audience []string
	// IssuedAt ("iat") is when the token was made, by its issuer's clock.
	IssuedAt time.Time
}

// HasAudience tells whether the token is for the audience.
func (c *Claims) HasAudience(audience string) bool { return slices.Contains(c.Audience, audience) }

// AccessToken is a verified access token. It is proof of what was true when it
// was issued: whether the session and the account still exist must be looked up.
type AccessToken struct{ Claims }

// RefreshToken is a verified refresh token.
type RefreshToken struct{ Claims }

const (
	typeAccess  = "at+jwt" // RFC 9068 section 2.1
	typeRefresh = "rt+jwt"
	typeAny     = "" // of either type

	// MaxLength is the longest token, in bytes, that is looked at. Longer ones
	// are malformed.
	MaxLength = 8 << 10

	// maxTime keeps times within what time.Time and its formats can hold.
	maxTime = 253402300799 // the end of the year 9999
)

// strictBase64 refuses a second spelling of the same bytes, but for CR and LF,
// which it skips: split looks for those.
var strictBase64 = base64.RawURLEncoding.Strict()

// wireHeader is the protected header. What is not named here is ignored.
type wireHeader struct {
	Algorithm Algorithm      `json:"alg"`
	Type      string         `json:"typ"`
	KeyID     string         `json:"kid"`
	Critical  jsontext.Value `json:"crit,omitempty"`
	Base64    jsontext.Value `json:"b64,omitempty"`
	Unknown   jsontext.Value `json:",embed"`
}

var headerNames = []string{"alg", "typ", "kid", "crit", "b64"}

// wireClaims is the payload. What is not named here is ignored.
type wireClaims struct {
	Issuer     string         `json:"iss"`
	Subject    string         `json:"sub"`
	Audience   audience       `json:"aud"`
	ClientID   string         `json:"client_id"`
	SessionID  string         `json:"sid"`
	Generation int64          `json:"gen"`
	IssuedAt   int64          `json:"iat"`
	Expiry     int64          `json:"exp"`
	ID         string         `json:"jti"`
	NotBefore  jsontext.Value `json:"nbf,omitempty"`
	Unknown    jsontext.Value `json:",embed"`

	notBefore int64 // of NotBefore, 0 where it is absent
}

var claimNames = []string{"iss", "sub", "aud", "client_id", "sid", "gen", "iat", "exp", "jti", "nbf"}

// audience is a JSON string or an array of them (RFC 7519 section 4.1.3). Nearly
// always it is one string, for which no array is made.
type audience struct {
	one  string
	many []string // nil where it is one
}

func (a audience) MarshalJSONTo(encoder *jsontext.Encoder) error {
	return encoder.WriteToken(jsontext.String(a.one)) // an issuer writes one alone
}

func (a *audience) UnmarshalJSONFrom(decoder *jsontext.Decoder) error {
	switch decoder.PeekKind() {
	case '"':
		return json.UnmarshalDecode(decoder, &a.one)
	case '[':
		a.many = []string{}
		return json.UnmarshalDecode(decoder, &a.many)
	}
	return errors.New("neither a string nor an array of strings")
}

func (a *audience) valid() bool {
	return a.one != "" || len(a.many) > 0 && !slices.Contains(a.many, "")
}

func (a *audience) has(audience string) bool {
	return a.one == audience || slices.Contains(a.many, audience)
}

// list is the audience as an array: expected itself, where it holds the same one
// string.
func (a *audience) list(expected []string) []string {
	switch {
	case a.many != nil:
		return a.many
	case expected[0] == a.one:
		return expected
	}
	return []string{a.one}
}

// parts are the three segments of a compact JWS (RFC 7515 section 7.1).
type parts struct {
	header, payload, signature []byte
	signed                     []byte // what the signature covers
}

func split(compact []byte) (parts, error) {
	if bytes.IndexByte(compact, '\n') >= 0 || bytes.IndexByte(compact, '\r') >= 0 {
		return parts{}, malformed("a line break in it")
	}
	first := bytes.IndexByte(compact, '.')
	last := bytes.LastIndexByte(compact, '.')
	if first < 0 || first == last || bytes.IndexByte(compact[first+1:last], '.') >= 0 {
		return parts{}, malformed("not three segments")
	}
	return parts{
		header:    compact[:first],
		payload:   compact[first+1 : last],
		signature: compact[last+1:],
		signed:    compact[:last],
	}, nil
}

func encodeHeader(typ string, algorithm Algorithm, keyID string) string {
	// The id came out of valid JSON or base64, so this cannot fail.
	text, _ := json.Marshal(wireHeader{Algorithm: algorithm, Type: typ, KeyID: keyID})
	return base64.RawURLEncoding.EncodeToString(text)
}

func decodeHeader(segment []byte) (wireHeader, error) {
	var header wireHeader
	if err := decodeSegment(segment, nil, &header); err != nil {
		return header, malformed("header: " + err.Error())
	}
	switch {
	case header.Critical != nil:
		return header, malformed("header: no extension that \"crit\" could name is understood")
	case header.Base64 != nil:
		return header, malformed("header: \"b64\" is not supported")
	}
	if err := checkNames(header.Unknown, headerNames); err != nil {
		return header, malformed("header: " + err.Error())
	}
	return header, nil
}

// decodeClaims decodes a payload, with memory that it may use.
func decodeClaims(segment, memory []byte, claims *wireClaims) error {
	if err := decodeSegment(segment, memory, claims); err != nil {
		return malformed("claims: " + err.Error())
	}
	if err := checkNames(claims.Unknown, claimNames); err != nil {
		return malformed("claims: " + err.Error())
	}
	switch {
	case claims.Issuer == "", claims.Subject == "", claims.ClientID == "", claims.SessionID == "", claims.ID == "":
		return malformed("claims: one of iss, sub, client_id, sid, jti is missing or empty")
	case !claims.Audience.valid():
		return malformed("claims: aud is missing or empty")
	case claims.Generation < 1:
		return malformed("claims: gen is missing or not positive")
	case claims.IssuedAt <= 0 || claims.IssuedAt > maxTime, claims.Expiry <= 0 || claims.Expiry > maxTime:
		return malformed("claims: iat or exp is missing or out of range")
	}
	if claims.NotBefore == nil {
		return nil
	}
	if claims.NotBefore.Kind() != '0' || json.Unmarshal(claims.NotBefore, &claims.notBefore) != nil ||
		claims.notBefore < 0 || claims.notBefore > maxTime {
		return malformed("claims: nbf is not a time")
	}
	return nil
}

// errSyntax stands for what the JSON and base64 packages find: their texts quote
// the token.
var errSyntax = errors.New("not strict base64 of a JSON object with members of the right types")

func decodeSegment(segment, memory []byte, value any) error {
	text, err := strictBase64.AppendDecode(memory, segment)
	if err != nil || json.Unmarshal(text, value) != nil {
		return errSyntax
	}
	return nil
}

var errOtherCase = errors.New("a member is named in another case")

// checkNames refuses unknown members that another parser, less strict about
// case, would take for known ones.
func checkNames(unknown jsontext.Value, known []string) error {
	if len(unknown) == 0 {
		return nil
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(unknown, &members); err != nil {
		return errSyntax
	}
	for name := range members {
		if slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			return errOtherCase
		}
	}
	return nil
}

// expectation is whose tokens are believed, and for whom they must be.
type expectation struct {
	issuer   string
	audience []string // one, in the form that Claims have it in
}

func expect(issuer, audience string) expectation { return expectation{issuer, []string{audience}} }

// check compares identities. "iat" is not compared with the clock anywhere: the
// clocks of two processes differ.
func (e *expectation) check(c *wireClaims) error {
	switch {
	case c.Issuer != e.issuer:
		return ErrIssuer
	case !c.Audience.has(e.audience[0]):
		return ErrAudience
	}
	return nil
}

// export makes Claims of what check has found good.
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

// window is when a token is good: all that the clock changes about it.
type window struct {
	from, until time.Time // from may be zero
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

const issuerProblem = "Issuer must be an absolute http or https URL without user, query and fragment, such as https://login.example.org"

// isIssuer reports whether endpoints can stand below a URL. Its path is compared and
// mounted as it is, so it must be plain.
func isIssuer(issuer string) bool {
	location, err := url.Parse(issuer)
	if err != nil || location.Host == "" || location.User != nil || location.Scheme != "https" && location.Scheme != "http" {
		return false
	}
	plain := strings.TrimSuffix(location.Path, "/")
	return !strings.ContainsAny(issuer, "?#") && !strings.ContainsAny(plain, "{} ") && (plain == "" || path.Clean(plain) == plain)
}
