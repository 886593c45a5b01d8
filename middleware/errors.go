package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// What a request can lack, for errors.Is. A token that is refused gives the
// reason of package tokens or store instead.
var (
	// ErrNoCredentials: no access token, or credentials of another scheme.
	ErrNoCredentials = errors.New("middleware: no credentials")
	// ErrMalformedCredentials: not of the form RFC 6750 gives, or more than one.
	ErrMalformedCredentials = errors.New("middleware: malformed credentials")
	// ErrCrossOrigin: a browser sent the cookie for another site.
	ErrCrossOrigin = errors.New("middleware: cross-origin request")
	// ErrNotAllowed: the caller is known, and is not in the group that is needed, or
	// fails another check. Pass it to WriteError after a check of your own.
	ErrNotAllowed = errors.New("middleware: not allowed")
)

// The error codes of RFC 6750 section 3.1, and two for what it does not know.
const (
	CodeInvalidRequest         = "invalid_request"
	CodeInvalidToken           = "invalid_token"
	CodeInsufficientScope      = "insufficient_scope"
	CodeCrossOrigin            = "cross_origin_request"
	CodeTemporarilyUnavailable = "temporarily_unavailable"
)

// Error is why a request is not let through.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is "error" of the answer, empty where there are no credentials (RFC
	// 6750 section 3.1).
	Code string
	// Description is "error_description": fixed ASCII text.
	Description string
	// RetryAfter is sent as Retry-After, in whole seconds, unless it is 0.
	RetryAfter time.Duration
	// Err is the cause, for errors.Is and errors.As. It is not sent.
	Err error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("middleware: status %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// retryAfter is how long a client should wait out an outage.
const retryAfter = 5 * time.Second

func asError(err error) *Error {
	var already *Error
	switch {
	case errors.As(err, &already):
		return already
	case errors.Is(err, ErrNoCredentials):
		return &Error{Status: http.StatusUnauthorized, Err: err}
	case errors.Is(err, ErrMalformedCredentials):
		return &Error{Status: http.StatusBadRequest, Code: CodeInvalidRequest, Description: "malformed or repeated credentials", Err: err}
	case errors.Is(err, ErrCrossOrigin):
		return &Error{Status: http.StatusForbidden, Code: CodeCrossOrigin, Description: "the origin of this request is not trusted for the cookie", Err: err}
	case errors.Is(err, ErrNotAllowed):
		return &Error{Status: http.StatusForbidden, Code: CodeInsufficientScope, Description: "the account may not do this", Err: err}
	case errors.Is(err, tokens.ErrInvalid), store.Refused(err):
		return &Error{Status: http.StatusUnauthorized, Code: CodeInvalidToken, Description: "the access token is invalid, expired or revoked", Err: err}
	}
	// An outage never looks like a bad token.
	return &Error{
		Status: http.StatusServiceUnavailable, Code: CodeTemporarilyUnavailable, Description: "try again later",
		RetryAfter: retryAfter, Err: err,
	}
}

// WriteError writes the answer to a request that is refused, with Config.WriteError
// where that is set. err is what AuthenticateRequest, Authenticate or FreshAccount
// returned, or [ErrNotAllowed].
func (a *Authenticator) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	a.config.WriteError(w, r, asError(err))
}

// WriteDefaultError writes the answer that is written where Config.WriteError is not
// set: the challenge of RFC 6750 section 3 and a JSON body.
func (a *Authenticator) WriteDefaultError(w http.ResponseWriter, answer *Error) {
	header := w.Header()
	if challenge := a.challenge(answer); challenge != "" {
		header.Set("WWW-Authenticate", challenge)
	}
	if answer.RetryAfter > 0 {
		seconds := (answer.RetryAfter + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	header.Set("Content-Type", "application/json;charset=UTF-8")
	header.Set("Cache-Control", "no-store, private")
	w.WriteHeader(answer.Status)
	_ = json.NewEncoder(w).Encode(struct { // the client is gone: nobody is left to tell
		Error       string `json:"error,omitempty"`
		Description string `json:"error_description,omitempty"`
	}{answer.Code, answer.Description})
}

// challenge is WWW-Authenticate (RFC 6750 section 3), empty for what no other
// token could mend.
func (a *Authenticator) challenge(answer *Error) string {
	challenge := `Bearer realm="` + a.config.Realm + `"`
	switch answer.Code {
	case "":
		return challenge
	case CodeInvalidRequest, CodeInvalidToken, CodeInsufficientScope:
		return challenge + `, error="` + answer.Code + `", error_description="` + answer.Description + `"`
	}
	return ""
}
