package grant

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// parameters are those of RFC 6749, 6750, 7009 and 7662. A request must not repeat
// one of them (RFC 6749 section 3.2). Others are ignored. A credential must not stand
// in the query, where logs and histories keep it.
var parameters = []struct {
	name       string
	credential bool
}{
	{"grant_type", false},
	{"username", true},
	{"password", true},
	{"refresh_token", true},
	{"scope", false},
	{"client_id", false},
	{"client_secret", true},
	{"client_assertion", true},
	{"client_assertion_type", false},
	{"token", true},
	{"access_token", true},
	{"token_type_hint", false},
	{"code", true},
	{"redirect_uri", false},
	{"state", false},
	{"response_type", false},
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
	for _, parameter := range parameters {
		if parameter.credential && query.Has(parameter.name) {
			return nil, invalidRequest("credentials must not be in the query")
		}
	}
	contentType := mediaType(r)
	asJSON := s.config.AcceptJSON && contentType == "application/json"
	if contentType != formType && !asJSON {
		return nil, invalidRequest("the content type must be " + formType)
	}
	buffer, failure := readBody(w, r)
	if failure != nil {
		return nil, failure
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

func parseForm(body string) (map[string]string, *Error) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, invalidRequest("the body is malformed")
	}
	sent := make(map[string]string, len(form))
	for _, parameter := range parameters {
		switch values := form[parameter.name]; len(values) {
		case 0:
		case 1:
			sent[parameter.name] = values[0]
		default:
			return nil, invalidRequest("a parameter is repeated")
		}
	}
	return sent, nil
}

// parseJSON takes members that are strings. The JSON package refuses repeated ones.
func parseJSON(body []byte) (map[string]string, *Error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, invalidRequest("the body is malformed")
	}
	sent := make(map[string]string, len(members))
	for _, parameter := range parameters {
		member, found := members[parameter.name]
		if !found {
			continue
		}
		var text string // null leaves it empty, and so counts as absent
		if err := json.Unmarshal(member, &text); err != nil {
			return nil, invalidRequest("a parameter is not a string")
		}
		sent[parameter.name] = text
	}
	return sent, nil
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
		return sentClient{}, &Error{Code: CodeInvalidClient, Description: "the Authorization header is malformed", Status: http.StatusUnauthorized, Err: err, challenges: []string{challengeBasic}}
	case !isBasic:
		return inBody, nil
	case inBody.secret != "", inBody.id != "" && inBody.id != header.id:
		return sentClient{}, invalidRequest("the client is named in more than one way")
	}
	return header, nil
}

var errBasic = errors.New("grant: malformed Basic credentials")

// basicClient reads HTTP Basic credentials, whose halves are form-urlencoded
// (RFC 6749 section 2.3.1). It ignores other schemes.
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
