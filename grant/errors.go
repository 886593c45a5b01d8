package grant

import (
	"errors"
	"net/http"
	"time"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// The error codes of RFC 6749 section 5.2. CodeTemporarilyUnavailable, with status 503,
// is an extension: the RFC has it for another endpoint only. So is CodeCrossOrigin, with
// status 403, see [RefreshCookie].
const (
	CodeInvalidRequest         = "invalid_request"
	CodeInvalidClient          = "invalid_client"
	CodeInvalidGrant           = "invalid_grant"
	CodeUnauthorizedClient     = "unauthorized_client"
	CodeUnsupportedGrantType   = "unsupported_grant_type"
	CodeTemporarilyUnavailable = "temporarily_unavailable"
	CodeCrossOrigin            = "cross_origin_request"
)

// Error is an error response (RFC 6749 section 5.2).
type Error struct {
	// Code is the member "error" of the response.
	Code string
	// Description is the member "error_description": fixed ASCII text without
	// quotation marks and backslashes. It repeats nothing of the request.
	Description string
	// Status is the HTTP status, 400 if 0.
	Status int
	// RetryAfter is the header Retry-After, in whole seconds. 0 sends none.
	RetryAfter time.Duration
	// Err is the cause, for errors.Is and errors.As. Clients do not see it.
	Err error

	challenges []string // of WWW-Authenticate
}

func (e *Error) Error() string {
	text := "grant: " + e.Code + ": " + e.Description
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// retryAfter is how long a client should wait out an outage.
const retryAfter = 5 * time.Second

// asError makes the answer to an error of package store or tokens.
func asError(err error) *Error {
	var (
		already   *Error
		throttled *store.ThrottledError
	)
	switch {
	case errors.As(err, &already):
		return already
	case errors.As(err, &throttled):
		return &Error{
			Code: CodeInvalidGrant, Description: "too many failed logins", Status: http.StatusTooManyRequests,
			RetryAfter: throttled.RetryAfter, Err: err,
		}
	case errors.Is(err, store.ErrCredentials):
		return &Error{Code: CodeInvalidGrant, Description: "unknown name or wrong password", Status: http.StatusBadRequest, Err: err}
	case isInvalidGrant(err):
		return &Error{Code: CodeInvalidGrant, Description: "the grant is invalid, expired or revoked", Status: http.StatusBadRequest, Err: err}
	}
	// Whatever else it is, it is not the client's fault.
	return outage(err)
}

func outage(err error) *Error {
	return &Error{
		Code: CodeTemporarilyUnavailable, Description: "try again later",
		Status: http.StatusServiceUnavailable, RetryAfter: retryAfter, Err: err,
	}
}

// isInvalidGrant reports whether the token is to blame, and no outage.
func isInvalidGrant(err error) bool {
	return errors.Is(err, tokens.ErrInvalid) || errors.Is(err, errOtherClient) || store.Refused(err)
}

var errOtherClient = errors.New("grant: the token was issued to another client")

func invalidRequest(description string) *Error {
	return &Error{Code: CodeInvalidRequest, Description: description, Status: http.StatusBadRequest}
}
