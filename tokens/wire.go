package tokens

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// strictBase64 accepts only one spelling of the same bytes, but it skips CR and LF.
// So split refuses those.
var strictBase64 = base64.RawURLEncoding.Strict()

// wireHeader is the protected header. Other members go to Unknown, see checkNames.
type wireHeader struct {
	Algorithm Algorithm      `json:"alg"`
	Type      string         `json:"typ"`
	KeyID     string         `json:"kid"`
	Critical  jsontext.Value `json:"crit,omitempty"`
	Base64    jsontext.Value `json:"b64,omitempty"`
	Unknown   jsontext.Value `json:",embed"`
}

var headerNames = []string{"alg", "typ", "kid", "crit", "b64"}

// wireClaims is the payload. Other members go to Unknown, see checkNames.
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

	notBefore int64 // decoded from NotBefore; 0 if that is absent
}

var claimNames = []string{"iss", "sub", "aud", "client_id", "sid", "gen", "iat", "exp", "jti", "nbf"}

// audience is a JSON string or an array of strings (RFC 7519 section 4.1.3). Nearly
// always it is one string, which needs no slice.
type audience struct {
	one  string
	many []string // nil if it is one string
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

// list returns the audience, which has the expected one, as a slice. If it is the only one,
// list returns expected itself and allocates nothing.
func (a *audience) list(expected []string) []string {
	if a.many != nil {
		return a.many
	}
	return expected
}

// parts are the three segments of a compact JWS (RFC 7515 section 7.1).
type parts struct {
	header, payload, signature []byte
	signed                     []byte // header, dot and payload: the signature covers these bytes
}

// split finds the segments of a compact JWS. It does not decode them.
func split(compact []byte) (parts, error) {
	if bytes.IndexByte(compact, '\n') >= 0 || bytes.IndexByte(compact, '\r') >= 0 {
		return parts{}, malformed("it holds a line break")
	}
	first := bytes.IndexByte(compact, '.')
	last := bytes.LastIndexByte(compact, '.')
	if first < 0 || first == last || bytes.IndexByte(compact[first+1:last], '.') >= 0 {
		return parts{}, malformed("it does not have three segments")
	}
	return parts{
		header:    compact[:first],
		payload:   compact[first+1 : last],
		signature: compact[last+1:],
		signed:    compact[:last],
	}, nil
}

func encodeHeader(typ string, algorithm Algorithm, keyID string) string {
	// The id comes from valid JSON or base64, so Marshal cannot fail.
	text, _ := json.Marshal(wireHeader{Algorithm: algorithm, Type: typ, KeyID: keyID})
	return base64.RawURLEncoding.EncodeToString(text)
}

func decodeHeader(segment []byte) (wireHeader, error) {
	var header wireHeader
	if err := decodeSegment(segment, &header); err != nil {
		return header, malformed("header: " + err.Error())
	}
	switch {
	case header.Critical != nil:
		return header, malformed("header: \"crit\" is not supported")
	case header.Base64 != nil:
		return header, malformed("header: \"b64\" is not supported")
	}
	if err := checkNames(header.Unknown, headerNames); err != nil {
		return header, malformed("header: " + err.Error())
	}
	return header, nil
}

// decodeClaims decodes a payload and checks its claims. It uses memory as its buffer.
func decodeClaims(segment, memory []byte, claims *wireClaims) error {
	text, err := strictBase64.AppendDecode(memory, segment)
	if err != nil {
		return malformed("claims: " + errSyntax.Error())
	}
	if !readPlain(text, claims) {
		if json.Unmarshal(text, claims) != nil {
			return malformed("claims: " + errSyntax.Error())
		}
		if err := checkNames(claims.Unknown, claimNames); err != nil {
			return malformed("claims: " + err.Error())
		}
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

// errSyntax replaces the errors of the JSON and base64 packages, which quote the
// token.
var errSyntax = errors.New("not strict base64 of a JSON object whose members have the right types")

func decodeSegment(segment []byte, value any) error {
	text, err := strictBase64.AppendDecode(nil, segment)
	if err != nil || json.Unmarshal(text, value) != nil {
		return errSyntax
	}
	return nil
}

var errOtherCase = errors.New("the name of a known member in the wrong case")

// checkNames ignores unknown members, but refuses one that differs from a known one
// only in case, such as "Sub". A parser that ignores case would take it for "sub".
func checkNames(unknown jsontext.Value, known []string) error {
	if len(unknown) == 0 {
		return nil
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(unknown, &members); err != nil {
		return errSyntax
	}
	for name := range members {
		if slices.ContainsFunc(known, func(knownName string) bool { return strings.EqualFold(knownName, name) }) {
			return errOtherCase
		}
	}
	return nil
}
