package middleware

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/oauthsv/oauthsv/tokens"
)

// place is where a token was found.
type place int

const (
	fromHeader place = iota
	fromCookie
	fromForm
	fromQuery
)

const (
	parameter = "access_token" // RFC 6750 sections 2.2 and 2.3
	maxForm   = 64 << 10
)

// tokenOf finds the one token of a request. It does not check the token's form. Its
// errors match ErrNoCredentials or ErrMalformedCredentials.
func (a *Authenticator) tokenOf(r *http.Request) (token string, from place, err error) {
	found := 0
	add := func(value string, at place) {
		token, from = value, at
		found++
	}
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		return "", 0, ErrMalformedCredentials
	}
	if len(headers) == 1 {
		if value, isBearer := bearer(headers[0]); isBearer {
			add(value, fromHeader)
		}
	}
	if a.config.Cookie != "" {
		for _, cookie := range r.CookiesNamed(a.config.Cookie) {
			if cookie.Value != "" { // one that was cleared holds nothing
				add(cookie.Value, fromCookie)
			}
		}
	}
	if a.config.Form {
		values, err := formValues(r)
		if err != nil {
			return "", 0, err
		}
		for _, value := range values {
			add(value, fromForm)
		}
	}
	if a.config.Query && r.URL.RawQuery != "" {
		values, err := parseTokens(r.URL.RawQuery)
		if err != nil {
			return "", 0, err
		}
		for _, value := range values {
			add(value, fromQuery)
		}
	}
	switch {
	case found == 0:
		return "", 0, ErrNoCredentials
	case found > 1:
		return "", 0, ErrMalformedCredentials
	}
	return token, from, nil
}

// isToken68 is the b64token of RFC 6750 section 2.1, with a bound.
func isToken68(token string) bool {
	body := strings.TrimRight(token, "=")
	if body == "" || len(token) > tokens.MaxLength {
		return false
	}
	for i := range len(body) {
		c := body[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return true
}

// formValues reads the tokens of a form body and leaves the body as if unread. A
// body that is no form, or a larger one, holds none.
func formValues(r *http.Request) ([]string, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil
	}
	if r.PostForm != nil { // somebody outside has read the body
		return r.PostForm[parameter], nil
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != "application/x-www-form-urlencoded" || r.Body == nil {
		return nil, nil
	}
	body := r.Body
	text, err := io.ReadAll(io.LimitReader(body, maxForm+1))
	r.Body = &unreadBody{io.MultiReader(bytes.NewReader(text), body), body}
	if err != nil {
		return nil, errors.Join(ErrMalformedCredentials, err)
	}
	if len(text) > maxForm {
		return nil, nil
	}
	return parseTokens(string(text))
}

// parseTokens finds the tokens in a query or a form. url.ParseQuery drops the pairs
// that it cannot read, and one of them may be a second token: then all of it counts
// as malformed.
func parseTokens(text string) ([]string, error) {
	values, err := url.ParseQuery(text)
	if err != nil && mayHoldToken(text) {
		return nil, ErrMalformedCredentials
	}
	return values[parameter], nil
}

// mayHoldToken reports whether a parser that is less strict than url.ParseQuery
// could find a token. Some take a semicolon for an ampersand, and some take a broken
// escape as it stands.
func mayHoldToken(text string) bool {
	for pair := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(name)
		if decoded == parameter || err != nil && strings.HasPrefix(name, parameter) {
			return true
		}
	}
	return false
}

type unreadBody struct {
	io.Reader
	io.Closer
}

// bearer reports whether an Authorization header is of the Bearer scheme, and
// returns what follows the scheme.
func bearer(header string) (token string, isBearer bool) {
	const scheme = "Bearer"
	if token, usual := strings.CutPrefix(header, scheme+" "); usual {
		return strings.TrimLeft(token, " "), true
	}
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	rest := header[len(scheme):]
	if rest != "" && rest[0] != ' ' {
		// Either the name of a longer scheme, or no header at all.
		return rest, !isTokenCharacter(rest[0])
	}
	return strings.TrimLeft(rest, " "), true
}

// isTokenCharacter: RFC 9110 section 5.6.2.
func isTokenCharacter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
