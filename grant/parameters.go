package grant

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

const (
	// maxBody bounds the body of a request, in bytes.
	maxBody = 64 << 10
	// usualBody is the length that nearly every body stays below, in bytes.
	usualBody = 1 << 10
)

// parametersOfRFCs must not be repeated (RFC 6749 section 3.2); others are not
// our business.
var parametersOfRFCs = []string{
	"grant_type", "username", "password", "refresh_token", "scope",
	"client_id", "client_secret", "client_assertion", "client_assertion_type",
	"token", "token_type_hint", "code", "redirect_uri", "state", "response_type",
}

// credentials must not stand in the query, where logs and histories keep them.
var credentials = []string{
	"username", "password", "refresh_token", "client_secret", "client_assertion", "token", "access_token", "code",
}

// readParameters reads the body of a request. Parameters without a value count
// as absent (RFC 6749 section 3.2).
func (s *Server) readParameters(w http.ResponseWriter, r *http.Request) (map[string]string, *Error) {
	if r.Method != http.MethodPost {
		return nil, &Error{Code: CodeInvalidRequest, Description: "the method must be POST", Status: http.StatusMethodNotAllowed}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalidRequest("the query is malformed")
	}
	for name := range query {
		if slices.Contains(credentials, name) {
			return nil, invalidRequest("credentials must not be in the query")
		}
	}
	contentType := mediaType(r)
	asJSON := s.config.AcceptJSON && contentType == "application/json"
	if contentType != formType && !asJSON {
		return nil, invalidRequest("the content type must be " + formType)
	}
	if isEncoded(r) {
		return nil, &Error{Code: CodeInvalidRequest, Description: "the body must not be encoded", Status: http.StatusUnsupportedMediaType}
	}
	// A client that announces a long body and sends none must not cost its length.
	var buffer bytes.Buffer
	buffer.Grow(int(min(max(r.ContentLength, 0), usualBody)) + bytes.MinRead)
	_, err = buffer.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case err == nil:
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, &Error{Code: CodeInvalidRequest, Description: "the body is too large", Status: http.StatusRequestEntityTooLarge}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Error{Code: CodeInvalidRequest, Description: "the body came too slowly", Status: http.StatusRequestTimeout, Err: err}
	default:
		return nil, invalidRequest("the body is malformed")
	}
	if asJSON {
		return parseJSON(buffer.Bytes())
	}
	return parseForm(buffer.String())
}

const formType = "application/x-www-form-urlencoded"

// mediaType is the one content type of a request without its parameters, empty if
// there is not exactly one.
func mediaType(r *http.Request) string {
	values := r.Header["Content-Type"]
	if len(values) != 1 {
		return ""
	}
	if values[0] == formType { // nearly always
		return formType
	}
	contentType, _, err := mime.ParseMediaType(values[0])
	if err != nil {
		return ""
	}
	return contentType
}

// isEncoded reports whether the body has a content coding, such as gzip, that
// somebody would have to undo.
func isEncoded(r *http.Request) bool {
	for _, value := range r.Header["Content-Encoding"] {
		if value = strings.TrimSpace(value); value != "" && !strings.EqualFold(value, "identity") {
			return true
		}
	}
	return false
}

func parseForm(body string) (map[string]string, *Error) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, invalidRequest("the body is malformed")
	}
	parameters := make(map[string]string, len(form))
	for _, name := range parametersOfRFCs {
		switch values := form[name]; len(values) {
		case 0:
		case 1:
			parameters[name] = values[0]
		default:
			return nil, invalidRequest("a parameter is repeated")
		}
	}
	return parameters, nil
}

func parseJSON(body []byte) (map[string]string, *Error) {
	var members struct {
		GrantType     string `json:"grant_type"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		RefreshToken  string `json:"refresh_token"`
		ClientID      string `json:"client_id"`
		ClientSecret  string `json:"client_secret"`
		Token         string `json:"token"`
		TokenTypeHint string `json:"token_type_hint"`
	}
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, invalidRequest("the body is malformed")
	}
	return map[string]string{
		"grant_type":      members.GrantType,
		"username":        members.Username,
		"password":        members.Password,
		"refresh_token":   members.RefreshToken,
		"client_id":       members.ClientID,
		"client_secret":   members.ClientSecret,
		"token":           members.Token,
		"token_type_hint": members.TokenTypeHint,
	}, nil
}

// sentClient is what a request says of its client.
type sentClient struct {
	id, secret string
	inHeader   bool
}

// clientOf finds the client's id and secret in the Authorization header or in the
// parameters, but not in both (RFC 6749 section 2.3).
func clientOf(r *http.Request, parameters map[string]string) (sentClient, *Error) {
	inBody := sentClient{id: parameters["client_id"], secret: parameters["client_secret"]}
	header, isBasic, err := basicClient(r)
	switch {
	case err != nil:
		return sentClient{}, &Error{Code: CodeInvalidClient, Description: "the Authorization header is malformed", Status: http.StatusUnauthorized, Err: err, challenge: true}
	case !isBasic:
		return inBody, nil
	case inBody.secret != "", inBody.id != "" && inBody.id != header.id:
		return sentClient{}, invalidRequest("the client is named in more than one way")
	}
	return header, nil
}

var errBasic = errors.New("grant: malformed Basic credentials")

// basicClient reads HTTP Basic credentials, whose halves are form-urlencoded
// (RFC 6749 section 2.3.1). Other schemes are none of our business.
func basicClient(r *http.Request) (client sentClient, isBasic bool, err error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return client, false, nil
	}
	if len(headers) > 1 {
		return client, true, errBasic
	}
	if scheme, _, _ := strings.Cut(headers[0], " "); !strings.EqualFold(scheme, "Basic") {
		return client, false, nil
	}
	id, secret, ok := r.BasicAuth()
	if !ok {
		return client, true, errBasic
	}
	client.inHeader = true
	if client.id, err = url.QueryUnescape(id); err != nil {
		return client, true, errBasic
	}
	if client.secret, err = url.QueryUnescape(secret); err != nil {
		return client, true, errBasic
	}
	return client, true, nil
}
