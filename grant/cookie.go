package grant

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// RefreshCookie makes a client a browser app whose scripts never see the refresh token.
// The token endpoint and the password endpoint of package selfservice put it into a
// cookie, and no answer to the client holds it. The app keeps the access token in memory,
// and after a reload it refreshes to get a new one.
//
//	log in   POST /token   grant_type=password&client_id=app&username=...&password=...
//	refresh  POST /token   grant_type=refresh_token&client_id=app
//	log out  POST /revoke  client_id=app
//
// The configuration says which clients have a cookie. A request with another client_id
// cannot use it. For a client with a cookie, a refresh token in the form is refused. So if
// you give an existing client a cookie, its users log in once more.
//
// The cookie is HttpOnly, Secure and SameSite=Strict, and has no Domain. It lives as long
// as the refresh token. A refresh that finds the session gone clears it, and an outage does
// not. Chrome and Firefox also keep a Secure cookie of http://localhost, and Safari does
// not.
//
// An app on another origin can use the cookie if that origin is of the same site, as
// https://app.example.org and https://login.example.org are. It then needs CrossOrigin, and
// a CORS middleware that allows credentials. Browsers do not send the cookie from another
// site, whatever the server says.
//
// Tabs share the cookie. Two that refresh at once get the same generation, see
// [store.Accounts.RefreshSession]. But an answer can overtake another, and the browser keeps
// the cookie of the last one. So an app sends every request that sets or clears the cookie
// in the Web Lock of one name: login, refresh, logout, change of the password, end of the
// own session and removal of the account.
//
// Another tab may have logged in with another account. So an app compares the sub of the
// access token after each refresh. If it differs, the app shows the other account, and never
// repeats a request of the first one.
type RefreshCookie struct {
	// Name is the name of the cookie. The default is "__Host-refresh_token". No two
	// clients of one server may have the same. Browsers take a cookie with the prefix
	// __Host- from this very host alone. With any other name, another host of the same
	// site can plant a cookie, and so log the user in as somebody else.
	Name string
	// CrossOrigin says which origins may use the cookie besides that of the server. The
	// default is a http.CrossOriginProtection without trusted origins. A request of the
	// client from anywhere else is answered with 403.
	CrossOrigin *http.CrossOriginProtection
}

// ErrCrossOrigin: a browser sent a request of a client with a [RefreshCookie] for another
// origin.
var ErrCrossOrigin = errors.New("grant: cross-origin request")

func (c *RefreshCookie) name() string { return cmp.Or(c.Name, "__Host-refresh_token") }

// cookieProblems says what is wrong with the cookies of clients.
func cookieProblems(cookies map[string]*RefreshCookie) (problems []string) {
	owners := make(map[string]string)
	for _, id := range slices.Sorted(maps.Keys(cookies)) {
		cookie := cookies[id]
		if cookie == nil {
			continue
		}
		if cookie.with("", 0).Valid() != nil {
			problems = append(problems, fmt.Sprintf("client %q: RefreshCookie.Name is %q, which is no name of a cookie: give one such as __Host-refresh_token", id, cookie.Name))
		}
		if owner, taken := owners[cookie.name()]; taken {
			problems = append(problems, fmt.Sprintf("clients %q and %q: RefreshCookie.Name is %q for both: give each its own", owner, id, cookie.name()))
		}
		owners[cookie.name()] = id
	}
	return problems
}

// with makes the cookie. The Path must be "/" where the Name begins with __Host-.
func (c *RefreshCookie) with(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: c.name(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

// issue makes the cookie of a refresh token.
func (c *RefreshCookie) issue(refreshToken string, lifetime time.Duration) *http.Cookie {
	return c.with(refreshToken, max(1, int(lifetime/time.Second))) // 0 would last as long as the browser runs
}

// Clear tells the browser to forget the cookie. A nil RefreshCookie has none to forget.
func (c *RefreshCookie) Clear(w http.ResponseWriter) {
	if c != nil {
		http.SetCookie(w, c.with("", -1))
	}
}

// Token returns the refresh token in the cookie of a request. Every error is an *[Error].
// Without the cookie it is invalid_grant, as with a cookie that has run out: the user must
// log in. Of two cookies with the name, another host has planted one, so both are refused.
func (c *RefreshCookie) Token(r *http.Request) (string, error) {
	tokens := c.tokens(r)
	switch len(tokens) {
	case 0:
		return "", &Error{Code: CodeInvalidGrant, Description: "there is no cookie with a refresh token", Status: http.StatusBadRequest}
	case 1:
		return tokens[0], nil
	}
	return "", invalidRequest("there are two cookies with a refresh token")
}

// tokens returns what is in all cookies with the name.
func (c *RefreshCookie) tokens(r *http.Request) (tokens []string) {
	for _, cookie := range r.CookiesNamed(c.name()) {
		if cookie.Value != "" {
			tokens = append(tokens, cookie.Value)
		}
	}
	return tokens
}

// check refuses a request from another origin. A nil RefreshCookie needs no protection:
// without a cookie a browser sends nothing that the sender of the request does not have.
func (c *RefreshCookie) check(r *http.Request) *Error {
	if c == nil {
		return nil
	}
	protection := c.CrossOrigin
	if protection == nil {
		protection = http.NewCrossOriginProtection()
	}
	if protection.Check(r) == nil {
		return nil
	}
	return &Error{Code: CodeCrossOrigin, Description: "the origin of this request is not trusted for the cookie of this client", Status: http.StatusForbidden, Err: ErrCrossOrigin}
}

// RefreshCookie returns the RefreshCookie of a client, or nil if the client has none. It is
// for endpoints of your own that set, read or clear the cookie. It refuses a request from
// another origin, with [ErrCrossOrigin]. Every error is an *[Error].
func (s *Server) RefreshCookie(r *http.Request, clientID string) (*RefreshCookie, error) {
	client, failure := s.client(r.Context(), clientID)
	switch {
	case failure == nil:
	case errors.Is(failure, ErrNoClient): // its users can still end their sessions
		return nil, nil
	default:
		return nil, failure
	}
	cookie := s.refreshCookie(client, clientID)
	if failure := cookie.check(r); failure != nil {
		return nil, failure
	}
	return cookie, nil
}

// refreshCookie returns the RefreshCookie of a client, or nil. client is nil without a
// registry.
func (s *Server) refreshCookie(client *Client, id string) *RefreshCookie {
	if client != nil {
		return client.RefreshCookie
	}
	if !wellFormedClientID(id) {
		id = s.config.DefaultClientID
	}
	return s.config.RefreshCookies[id]
}

// refreshByCookie refreshes with the token in the cookie.
func (s *Server) refreshByCookie(w http.ResponseWriter, r *http.Request, cookie *RefreshCookie, origin Origin, client *Client) (*Response, *Error) {
	token, err := cookie.Token(r)
	var response *Response
	if err == nil {
		response, err = result(s.refresh(r.Context(), RefreshRequest{origin, token}, client))
	}
	if err == nil {
		return response, nil
	}
	failure := asError(err)
	if failure.Code == CodeInvalidGrant {
		cookie.Clear(w)
	}
	return nil, failure
}

// revokeCookies ends the sessions of all cookies with the name, and clears the cookie.
func (s *Server) revokeCookies(w http.ResponseWriter, r *http.Request, cookie *RefreshCookie, client *Client, origin Origin) *Error {
	for _, token := range cookie.tokens(r) {
		// A token of another client is garbage here.
		if failure := s.revoke(r.Context(), token, client, origin); failure != nil && !errors.Is(failure, errOtherClient) {
			return failure
		}
	}
	cookie.Clear(w)
	return nil
}
