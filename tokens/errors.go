package tokens

import (
	"errors"
	"fmt"
)

// ErrInvalid says that a token is refused. Each reason to refuse one, such as
// [ErrExpired], matches it with [errors.Is].
var ErrInvalid = errors.New("tokens: invalid token")

// The reasons to refuse a token. The text of an error never holds any part of the token.
var (
	// ErrMalformed: the token is not a compact JWS (RFC 7515 section 3), or its
	// base64 or its JSON is not strict, or a claim is missing or out of range. For
	// example, a JSON member occurs twice.
	ErrMalformed error = &reason{"malformed token"}
	// ErrType: the token is of another kind, such as a refresh token where an
	// access token is expected.
	ErrType error = &reason{"token of another type"}
	// ErrUnknownKey: "kid" names no key of the keyring, or a retired key that has
	// reached its [Key.VerifyUntil].
	ErrUnknownKey error = &reason{"unknown key"}
	// ErrAlgorithm: "alg" is not the algorithm of the key that "kid" names.
	ErrAlgorithm error = &reason{"wrong algorithm for the key"}
	// ErrSignature: the key did not make the signature.
	ErrSignature error = &reason{"wrong signature"}
	// ErrIssuer: "iss" names another issuer.
	ErrIssuer error = &reason{"token of another issuer"}
	// ErrAudience: "aud" does not hold the expected audience.
	ErrAudience error = &reason{"token for another audience"}
	// ErrExpired: the clock has reached "exp".
	ErrExpired error = &reason{"expired token"}
	// ErrNotYetValid: the clock has not reached "nbf". An [Issuer] never writes
	// that claim.
	ErrNotYetValid error = &reason{"token not yet valid"}
)

// ErrKey says that a key is refused. Every error that refuses a key matches it with
// [errors.Is], and says why.
var ErrKey = errors.New("tokens: unusable key")

// reason is an error that matches ErrInvalid.
type reason struct{ text string }

func (r *reason) Error() string        { return "tokens: " + r.text }
func (r *reason) Is(target error) bool { return target == ErrInvalid }

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// keyError formats an error that matches ErrKey.
func keyError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrKey, fmt.Errorf(format, args...))
}
