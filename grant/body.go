package grant

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strings"
)

const (
	// maxBody bounds the body of a request, in bytes.
	maxBody = 64 << 10
	// usualBody is the length that nearly every body stays below, in bytes.
	usualBody = 1 << 10
)

// readBody reads the body of a request, up to maxBody.
func readBody(w http.ResponseWriter, r *http.Request) (*bytes.Buffer, *Error) {
	if isEncoded(r) {
		return nil, &Error{Code: CodeInvalidRequest, Description: "the body must not be encoded", Status: http.StatusUnsupportedMediaType}
	}
	// A client that announces a long body and sends none must not cost its length.
	buffer := new(bytes.Buffer)
	buffer.Grow(int(min(max(r.ContentLength, 0), usualBody)) + bytes.MinRead)
	_, err := buffer.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case err == nil:
		return buffer, nil
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, &Error{Code: CodeInvalidRequest, Description: "the body is too large", Status: http.StatusRequestEntityTooLarge}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Error{Code: CodeInvalidRequest, Description: "the body came too slowly", Status: http.StatusRequestTimeout, Err: err}
	}
	return nil, invalidRequest("the body is malformed")
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
