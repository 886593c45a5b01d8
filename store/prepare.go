package store

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

const (
	maxNameRunes     = 64
	maxEmailBytes    = 254 // RFC 5321 section 4.5.3.1.3, without the angle brackets
	maxPhoneBytes    = 32
	maxPasswordBytes = 1024
)

// PrepareName returns the form in which a name is stored and compared: PRECIS
// UsernameCaseMapped (RFC 8265 section 3.3). This maps upper case to lower case, and
// full-width characters to ordinary ones. It does not fold "ß" or a final sigma. The
// result has 1 to 64 letters, digits, ".", "_" and "-". Errors match [ErrInvalid].
func PrepareName(name string) (string, error) {
	invalid := &InvalidError{"name", `must be 1 to 64 letters, digits, ".", "_" or "-"`}
	// Checked before the mapping, to save work: the result would be too long.
	if len(name) > 4*utf8.UTFMax*maxNameRunes {
		return "", invalid
	}
	prepared, err := precis.UsernameCaseMapped.String(name)
	if err != nil || prepared == "" || utf8.RuneCountInString(prepared) > maxNameRunes {
		return "", invalid
	}
	for _, r := range prepared {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r) {
			return "", invalid
		}
	}
	return prepared, nil
}

// PrepareEmail returns the form in which an address is compared: Unicode NFC, in lower
// case, with the domain in its ASCII form (IDNA, RFC 5891).
//
// The address must be an addr-spec that net/mail accepts, such as name@example.org,
// without display name, comments or angle brackets. It has at most 254 bytes, and its
// domain is a name, not an IP address in brackets. Errors match [ErrInvalid].
func PrepareEmail(address string) (string, error) {
	invalid := &InvalidError{"email", "must be one address such as name@example.org, of at most 254 bytes"}
	if len(address) > maxEmailBytes {
		return "", invalid
	}
	address = norm.NFC.String(address) // first, as it makes a semicolon of a Greek question mark
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.String() != "<"+address+">" {
		return "", invalid
	}
	at := strings.LastIndexByte(address, '@')
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil || domain == "" || strings.Contains(domain, "..") || strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") {
		return "", invalid
	}
	local := norm.NFC.String(strings.ToLower(address[:at]))
	prepared := local + "@" + domain
	if len(prepared) > maxEmailBytes {
		return "", invalid
	}
	return prepared, nil
}

// preparePassword returns the password in Unicode NFC, so that "é" is the same letter
// whether the keyboard sends one code point or two. Any character is allowed.
func preparePassword(password string) (string, error) {
	invalid := &InvalidError{"password", "must be 1 to 1,024 bytes of UTF-8"}
	if len(password) > maxPasswordBytes || !utf8.ValidString(password) {
		return "", invalid
	}
	prepared := norm.NFC.String(password)
	if prepared == "" || len(prepared) > maxPasswordBytes {
		return "", invalid
	}
	return prepared, nil
}

// checkHash refuses text that cannot be a hash. The empty text stands for no hash.
func checkHash(hash string) error {
	if len(hash) > maxPasswordBytes || strings.ContainsFunc(hash, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &InvalidError{"password", "a hash must be at most 1,024 printable ASCII characters"}
	}
	return nil
}

func checkPhone(phone string) error {
	if phone == "" {
		return nil
	}
	for _, r := range phone {
		if !strings.ContainsRune("0123456789+-() ./#*,;x", r) {
			return &InvalidError{"phone", "must be made of digits, spaces and the signs + - ( ) . / # * , ; x"}
		}
	}
	if len(phone) > maxPhoneBytes || !strings.ContainsAny(phone, "0123456789") {
		return &InvalidError{"phone", "must hold a digit and be at most 32 characters long"}
	}
	return nil
}
