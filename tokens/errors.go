package tokens

import (
	"errors"
	"fmt"
)

// ErrInvalid matches, with errors.Is, every reason for which a token is refused.
var ErrInvalid = errors.New("tokens: invalid token")

// The reasons for which a token is refused. Each of them matches [ErrInvalid]
// as well. None of them, wrapped or not, holds any part of the token.
var (
	// ErrMalformed: not a compact JWS, or JSON or base64 that is not strictly
	// what section 3 of RFC 7515 and this package's claims ask for.
	ErrMalformed error = &reason{"malformed token"}
	// ErrType: a token of another kind, such as a refresh token where an access
	// token is expected.
	ErrType error = &reason{"token of another type"}
	// ErrUnknownKey: "kid" names no key of the keyring.
	ErrUnknownKey error = &reason{"unknown key"}
	// ErrAlgorithm: "alg" is not the algorithm of the key that "kid" names.
	ErrAlgorithm error = &reason{"algorithm is not that of the key"}
	// ErrSignature: the signature is not that of the key.
	ErrSignature error = &reason{"wrong signature"}
	// ErrIssuer: "iss" is another issuer.
	ErrIssuer error = &reason{"another issuer"}
	// ErrAudience: "aud" does not hold the expected audience.
	ErrAudience error = &reason{"another audience"}
	// ErrExpired: the clock has reached "exp".
	ErrExpired error = &reason{"expired token"}
	// ErrNotYetValid: the clock has not reached "nbf". The issuer of this
	// package never writes that claim.
	ErrNotYetValid error = &reason{"token not yet valid"}
)

// ErrKey matches, with errors.Is, every reason for which a key is refused.
var ErrKey = errors.New("tokens: unusable key")

type reason struct{ text string }

func (r *reason) Error() string        { return "tokens: " + r.text }
func (r *reason) Is(target error) bool { return target == ErrInvalid }

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

func keyError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrKey, fmt.Errorf(format, args...))
}
