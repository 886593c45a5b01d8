package grant

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// TokenHandler is the token endpoint (RFC 6749 section 3.2): POST with a form. It
// sends no CORS headers: a browser app on another origin needs a CORS middleware around
// it. For a browser app see [RefreshCookie].
func (s *Server) TokenHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, failure := s.token(w, r)
		if failure != nil {
			writeError(w, failure)
			return
		}
		s.WriteTokens(w, response)
	})
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) (*Response, *Error) {
	parameters, failure := s.readParameters(w, r)
	if failure != nil {
		return nil, failure
	}
	sent, failure := clientOf(r, parameters)
	if failure != nil {
		return nil, failure
	}
	client, failure := s.authenticateClient(r.Context(), sent)
	if failure != nil {
		return nil, failure
	}
	cookie := s.refreshCookie(client, sent.id)
	if failure := cookie.check(r); failure != nil {
		return nil, failure
	}
	origin := s.Origin(r)
	origin.ClientID = sent.id

	switch parameters["grant_type"] {
	case "":
		return nil, invalidRequest("grant_type is missing")
	case GrantPassword:
		if parameters["username"] == "" || parameters["password"] == "" {
			return nil, invalidRequest("username or password is missing")
		}
		return s.password(r.Context(), PasswordRequest{origin, parameters["username"], parameters["password"]}, client)
	case GrantRefreshToken:
		switch {
		case cookie != nil && parameters["refresh_token"] != "":
			return nil, invalidRequest("the refresh token of this client is taken from its cookie alone")
		case cookie != nil:
			return s.refreshByCookie(w, r, cookie, origin, client)
		case parameters["refresh_token"] == "":
			return nil, invalidRequest("refresh_token is missing, and this client keeps none in a cookie")
		}
		return s.refresh(r.Context(), RefreshRequest{origin, parameters["refresh_token"]}, client)
	}
	return nil, &Error{Code: CodeUnsupportedGrantType, Description: "grant_type must be password or refresh_token", Status: http.StatusBadRequest}
}

type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// fail writes an error, and logs an outage. It is for endpoints whose outages make no
// event.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err *Error) {
	if err.Status == http.StatusServiceUnavailable {
		s.logOutage(r, err.Err)
	}
	writeError(w, err)
}

func (s *Server) logOutage(r *http.Request, err error) {
	s.config.Logger.WarnContext(r.Context(), "a request could not be answered", "path", clean(r.URL.Path), "error", err)
}

// WriteError writes the answer to an error of a [Server], for endpoints of your own that
// stand beside the token endpoint. Any error that is no *[Error] and that it does not know
// counts as an outage. The endpoints of package selfservice have [Server.WriteProblem].
func WriteError(w http.ResponseWriter, err error) { writeError(w, asError(err)) }

func writeError(w http.ResponseWriter, err *Error) {
	status := err.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	for _, challenge := range err.challenges {
		w.Header().Add("WWW-Authenticate", challenge)
	}
	explain(w.Header(), status, err.RetryAfter)
	writeJSON(w, status, errorBody{err.Code, err.Description})
}

// explain sets the headers that tell a client what to do about a status.
func explain(header http.Header, status int, retryAfter time.Duration) {
	switch status {
	case http.StatusUnsupportedMediaType: // RFC 9110 section 12.5.3
		header.Set("Accept-Encoding", "identity")
	case http.StatusRequestTimeout: // RFC 9110 section 15.5.9
		header.Set("Connection", "close")
	}
	if retryAfter > 0 {
		seconds := (retryAfter + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
}

const jsonType = "application/json;charset=UTF-8"

// writeJSON writes an answer that no cache may keep (RFC 6749 section 5.1).
func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // a description of Config.Approve's that is no UTF-8
		text = []byte(`{"error":"invalid_request"}`)
	}
	write(w, status, jsonType, text)
}

// WriteTokens writes a token response. It sets the cookie, if there is one.
func (s *Server) WriteTokens(w http.ResponseWriter, response *Response) {
	http.SetCookie(w, response.Cookie) // which does nothing without one
	text := make([]byte, 0, 128+len(response.AccessToken)+len(response.RefreshToken))
	write(w, http.StatusOK, jsonType, response.appendJSON(text))
}

// appendJSON appends what json.Marshal would write. Marshal looks at each byte of a token for
// what it must escape, and that is a tenth of a refresh: see BenchmarkRefreshGrant.
func (r *Response) appendJSON(text []byte) []byte {
	text = appendText(append(text, `{"access_token":`...), r.AccessToken)
	text = appendText(append(text, `,"token_type":`...), r.TokenType)
	text = strconv.AppendInt(append(text, `,"expires_in":`...), r.ExpiresIn, 10)
	if r.RefreshToken != "" {
		text = appendText(append(text, `,"refresh_token":`...), r.RefreshToken)
	}
	return append(text, '}')
}

// appendText appends a JSON string.
func appendText(text []byte, value string) []byte {
	for i := range len(value) {
		if !plain[value[i]] {
			text, _ = jsontext.AppendQuote(text, value) // what is no UTF-8 is replaced
			return text
		}
	}
	return append(append(append(text, '"'), value...), '"')
}

// plain holds the characters of a JWT, which JSON does not escape.
var plain = func() (plain [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") {
		plain[c] = true
	}
	return plain
}()

// write writes an answer that no cache may keep.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	noStore(header)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: nobody is left to tell
}

func noStore(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
}
