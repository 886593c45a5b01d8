package grant

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/oauthsv/oauthsv/store"
)

// Problem is the error response of an endpoint around accounts, in packages selfservice and
// admin (RFC 9457). Use it for endpoints of your own that stand beside them.
type Problem struct {
	// Type tells one kind of problem from another. It is stable: programs compare it.
	Type ProblemType `json:"type"`
	// Title says the same for people.
	Title string `json:"title"`
	// Status is the HTTP status.
	Status int `json:"status"`
	// Detail says what to do. It repeats nothing of the request.
	Detail string `json:"detail,omitempty"`
	// Field is the member of the request that is at fault, if it is one.
	Field string `json:"field,omitempty"`
	// Reason is why a password is refused, see store.PasswordReason.
	Reason store.PasswordReason `json:"reason,omitempty"`

	// RetryAfter is the header Retry-After, in whole seconds. 0 sends none.
	RetryAfter time.Duration `json:"-"`
	// Err is the cause, for errors.Is and errors.As. Clients do not see it.
	Err error `json:"-"`
}

func (p *Problem) Error() string {
	if p.Err == nil {
		return "grant: " + p.Title
	}
	return "grant: " + p.Title + ": " + p.Err.Error()
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// ProblemType is the type of a [Problem], a URI that names it.
type ProblemType string

// The types of problems.
const (
	ProblemMalformed      ProblemType = "urn:oauthsv:problem:malformed"
	ProblemCode           ProblemType = "urn:oauthsv:problem:code"
	ProblemWrongPassword  ProblemType = "urn:oauthsv:problem:wrong-password"
	ProblemNotFound       ProblemType = "urn:oauthsv:problem:not-found"
	ProblemTaken          ProblemType = "urn:oauthsv:problem:taken"
	ProblemLastAdmin      ProblemType = "urn:oauthsv:problem:last-admin"
	ProblemDisabled       ProblemType = "urn:oauthsv:problem:disabled"
	ProblemRefusedValue   ProblemType = "urn:oauthsv:problem:refused-value"
	ProblemRefusedRequest ProblemType = "urn:oauthsv:problem:refused-request"
	ProblemCrossOrigin    ProblemType = "urn:oauthsv:problem:cross-origin"
	ProblemThrottled      ProblemType = "urn:oauthsv:problem:throttled"
	ProblemNotConfigured  ProblemType = "urn:oauthsv:problem:not-configured"
	ProblemUnavailable    ProblemType = "urn:oauthsv:problem:unavailable"
)

// ProblemOf returns the answer to an error of package store. Any error that it does not know
// counts as an outage.
func ProblemOf(err error) *Problem {
	var (
		already   *Problem
		invalid   *store.InvalidError
		password  *store.PasswordError
		exists    *store.ExistsError
		throttled *store.ThrottledError
		refused   *Error
	)
	switch {
	case errors.As(err, &already):
		return already
	case errors.As(err, &invalid):
		problem := &Problem{
			Type: ProblemRefusedValue, Title: "the value is refused", Status: http.StatusUnprocessableEntity,
			Detail: invalid.Field + ": " + invalid.Reason, Field: invalid.Field, Err: err,
		}
		if errors.As(err, &password) {
			problem.Reason = password.Reason
		}
		return problem
	case errors.As(err, &exists):
		return &Problem{
			Type: ProblemTaken, Title: "the " + exists.Field + " is taken", Status: http.StatusConflict,
			Detail: "choose another one", Field: exists.Field, Err: err,
		}
	case errors.Is(err, store.ErrCode):
		return &Problem{
			Type: ProblemCode, Title: "the code is wrong, used or expired", Status: http.StatusBadRequest,
			Detail: "ask for a new code", Field: "code", Err: err,
		}
	case errors.As(err, &throttled):
		return &Problem{
			Type: ProblemThrottled, Title: "too many attempts", Status: http.StatusTooManyRequests,
			Detail: "wait as long as Retry-After says", RetryAfter: throttled.RetryAfter, Err: err,
		}
	case errors.Is(err, store.ErrCredentials):
		return &Problem{
			Type: ProblemWrongPassword, Title: "the current password is wrong", Status: http.StatusForbidden,
			Field: "current_password", Err: err,
		}
	case errors.Is(err, store.ErrLastAdmin):
		return &Problem{
			Type: ProblemLastAdmin, Title: "the last administrator must stay", Status: http.StatusConflict,
			Detail: "put another account into the group first", Err: err,
		}
	case errors.Is(err, store.ErrDisabled):
		return &Problem{
			Type: ProblemDisabled, Title: "the account is disabled", Status: http.StatusConflict, Err: err,
		}
	case store.Refused(err):
		return &Problem{
			Type: ProblemNotFound, Title: "no such account or session", Status: http.StatusNotFound, Err: err,
		}
	case errors.Is(err, ErrCrossOrigin):
		return &Problem{
			Type: ProblemCrossOrigin, Title: "cross-origin request", Status: http.StatusForbidden,
			Detail: "send it from an origin that the server trusts", Err: err,
		}
	case errors.As(err, &refused) && refused.Status/100 == 4:
		return &Problem{
			Type: ProblemRefusedValue, Title: "the client is refused", Status: http.StatusUnprocessableEntity,
			Detail: refused.Description, Field: "client_id", Err: err,
		}
	case errors.Is(err, store.ErrNoMailer):
		return &Problem{
			Type: ProblemNotConfigured, Title: "this server sends no mail", Status: http.StatusNotImplemented,
			Detail: "ask its administrator", Err: err,
		}
	}
	return &Problem{
		Type: ProblemUnavailable, Title: "try again later", Status: http.StatusServiceUnavailable,
		RetryAfter: retryAfter, Err: err,
	}
}

// WriteProblem writes the answer to an error, see [ProblemOf]. It logs an outage.
func (s *Server) WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	problem := *ProblemOf(err)
	problem.Detail = strings.ToValidUTF8(problem.Detail, "") // a reason of PasswordPolicy.Refuse may be anything
	if problem.Status == http.StatusServiceUnavailable {
		s.logOutage(r, err)
	}
	explain(w.Header(), problem.Status, problem.RetryAfter)
	text, err := json.Marshal(problem)
	if err != nil {
		text = []byte("{}") // cannot be: every text is UTF-8
	}
	write(w, problem.Status, "application/problem+json", text)
}

// Problems makes a handler of a function. If the function returns an error, that is the
// answer, see [ProblemOf].
func (s *Server) Problems(handle func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handle(w, r); err != nil {
			s.WriteProblem(w, r, err)
		}
	})
}

// WriteJSON writes an answer that no cache may keep.
func (s *Server) WriteJSON(w http.ResponseWriter, status int, body any) { writeJSON(w, status, body) }

// WriteEmpty writes an answer without a body that no cache may keep.
func (s *Server) WriteEmpty(w http.ResponseWriter) {
	noStore(w.Header())
	w.WriteHeader(http.StatusNoContent)
}

// ReadJSON reads the object in the body of a request into a struct. Names of members count
// by exact case, and none may stand twice. Unknown members are ignored. The required ones
// must be there and must not be null. Every error is a *[Problem].
func (s *Server) ReadJSON(w http.ResponseWriter, r *http.Request, into any, required ...string) error {
	if mediaType(r) != "application/json" {
		return Malformed("the content type must be application/json", "")
	}
	body, failure := readBody(w, r)
	if failure != nil {
		problem := Malformed(failure.Description, "")
		if failure.Status != http.StatusBadRequest {
			problem.Type, problem.Status = ProblemRefusedRequest, failure.Status
		}
		problem.Err = failure.Err
		return problem
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(body.Bytes(), &members); err != nil || members == nil {
		return Malformed("the body must be a JSON object", "")
	}
	for _, name := range required {
		if member, found := members[name]; !found || member.Kind() == 'n' {
			return Malformed("the member "+name+" is missing", name)
		}
	}
	if err := json.Unmarshal(body.Bytes(), into); err != nil {
		return Malformed("a member has the wrong type", "")
	}
	return nil
}

// Malformed returns the answer to a request that cannot be read. detail says what to do. field
// is the member or parameter that is at fault, or empty.
func Malformed(detail, field string) *Problem {
	return &Problem{
		Type: ProblemMalformed, Title: "the request is malformed", Status: http.StatusBadRequest, Detail: detail, Field: field,
	}
}
