package grant

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// TokenHandler is the token endpoint (RFC 6749 section 3.2): POST with a form. It
// sends no CORS headers: a browser app needs a CORS middleware around it.
func (s *Server) TokenHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, failure := s.token(w, r)
		if failure != nil {
			writeError(w, failure)
			return
		}
		writeJSON(w, http.StatusOK, response)
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
	origin := Origin{ClientID: sent.id, Address: s.config.ClientAddress(r), UserAgent: r.UserAgent()}

	switch parameters["grant_type"] {
	case "":
		return nil, invalidRequest("grant_type is missing")
	case GrantPassword:
		if parameters["username"] == "" || parameters["password"] == "" {
			return nil, invalidRequest("username or password is missing")
		}
		return s.password(r.Context(), PasswordRequest{origin, parameters["username"], parameters["password"]}, client)
	case GrantRefreshToken:
		if parameters["refresh_token"] == "" {
			return nil, invalidRequest("refresh_token is missing")
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
		s.config.Logger.WarnContext(r.Context(), "a request could not be answered", "path", clean(r.URL.Path), "error", err.Err)
	}
	writeError(w, err)
}

func writeError(w http.ResponseWriter, err *Error) {
	status := err.Status
	switch status {
	case 0:
		status = http.StatusBadRequest
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusUnsupportedMediaType: // RFC 9110 section 12.5.3
		w.Header().Set("Accept-Encoding", "identity")
	case http.StatusRequestTimeout: // RFC 9110 section 15.5.9
		w.Header().Set("Connection", "close")
	}
	for _, challenge := range err.challenges {
		w.Header().Add("WWW-Authenticate", challenge)
	}
	if err.RetryAfter > 0 {
		seconds := (err.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	writeJSON(w, status, errorBody{err.Code, err.Description})
}

// writeJSON writes an answer that no cache may keep (RFC 6749 section 5.1).
func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // a description of Config.Approve's that is no UTF-8
		text = []byte(`{"error":"invalid_request"}`)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json;charset=UTF-8")
	noStore(header)
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client is gone: nobody is left to tell
}

func noStore(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
}
