package store

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// PasswordPolicy says which new passwords are taken. The zero value is good: it is what
// NIST SP 800-63B-4 asks for where the password is the only factor.
//
// A password has a minimum length and at most 256 characters. It is not a common one, and
// is not made of the account's name or e-mail. There is no rule about digits, signs or
// capital letters: NIST forbids such rules, because they make passwords alike.
//
// Common are the first few thousand passwords of a public list; what repeats one of them
// or repeats up to 4 characters; and rows of keys, letters or digits, such as
// "qwertyuiop12345". A password that holds a common one among other text is taken.
//
// A character is a Unicode code point after NFC.
type PasswordPolicy struct {
	// MinLength is how many characters a password has at least. The default is 15, the
	// minimum 8, the maximum 256. NIST asks for 15 where the password is the only
	// factor, and for 8 where a second one follows.
	MinLength int
	// Refuse, if set, can refuse what the other rules take, for example because a list
	// of stolen passwords holds it. It gets the password in NFC. It returns nil to take
	// the password. The text of its error may be shown to the user, so it must not hold
	// the password.
	//
	// An error that matches [ErrUnavailable] is an outage, and is returned as it is. So
	// is the end of a context: it is wrapped in ErrUnavailable.
	Refuse func(ctx context.Context, password string) error
}

// PasswordReason says which rule of [PasswordPolicy] refuses a password. It is stable, so
// that a program can tell the reasons apart.
type PasswordReason string

// The reasons to refuse a password.
const (
	PasswordTooShort PasswordReason = "too_short"
	PasswordTooLong  PasswordReason = "too_long"
	PasswordCommon   PasswordReason = "common"   // among the first that an attacker tries
	PasswordPersonal PasswordReason = "personal" // made of the account's own name or e-mail
	PasswordRefused  PasswordReason = "refused"  // by PasswordPolicy.Refuse
)

// PasswordError says why a new password is refused. It matches [ErrInvalid], and
// errors.As finds an *[InvalidError] in it.
type PasswordError struct {
	Reason PasswordReason
	// Text says what the password must look like. It is for the user, and does not
	// repeat the password.
	Text string
	// Err is what PasswordPolicy.Refuse returned, and nil for the other reasons.
	Err error
}

func (e *PasswordError) Error() string { return e.invalid().Error() }

// Unwrap returns an *[InvalidError] with the same text, and Err.
func (e *PasswordError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.invalid()}
	}
	return []error{e.invalid(), e.Err}
}

func (e *PasswordError) invalid() *InvalidError { return &InvalidError{"password", e.Text} }

const (
	maxPasswordLength = 256 // in UTF-8 at most maxPasswordBytes
	shortUnit         = 4   // repeated, or in a row, it is still short to guess
	minPersonal       = 3   // a shorter name is in many a password by chance
	minOthers         = 8   // beside the account's name or e-mail
)

func (p *PasswordPolicy) setDefaults() { p.MinLength = cmp.Or(p.MinLength, 15) }

func (p *PasswordPolicy) problems() (problems []string) {
	if p.MinLength < 8 || p.MinLength > maxPasswordLength {
		problems = append(problems, fmt.Sprintf("PasswordPolicy.MinLength is %d: it must be 8 to %d", p.MinLength, maxPasswordLength))
	}
	return problems
}

// prepare does what preparePassword does, for a new password. A user who gives none, or one
// that is far too long, gets a *PasswordError as for any other length.
func (p *PasswordPolicy) prepare(password string) (string, error) {
	switch {
	case password == "":
		return "", p.tooShort()
	case len(password) > maxPasswordBytes:
		return "", errTooLong
	}
	return preparePassword(password)
}

func (p *PasswordPolicy) tooShort() error {
	return &PasswordError{Reason: PasswordTooShort, Text: fmt.Sprintf(
		"must have at least %d characters: take several words that do not belong together", p.MinLength)}
}

var errTooLong = &PasswordError{Reason: PasswordTooLong, Text: fmt.Sprintf("must have at most %d characters", maxPasswordLength)}

// check returns a *PasswordError for a prepared password that the account may not have.
// The name and the e-mail are prepared as well. Either may be empty.
func (p *PasswordPolicy) check(ctx context.Context, prepared, name, emailKey string) error {
	length := utf8.RuneCountInString(prepared)
	switch {
	case length < p.MinLength:
		return p.tooShort()
	case length > maxPasswordLength:
		return errTooLong
	}
	folded := foldCase(prepared)
	switch {
	case isCommon(folded):
		return &PasswordError{Reason: PasswordCommon,
			Text: "must not be a common password, a repetition or a row of keys: take several words that do not belong together"}
	case isPersonal(folded, name, emailKey):
		return &PasswordError{Reason: PasswordPersonal, Text: "must not be made of the name or the e-mail of the account: take other words"}
	case p.Refuse == nil:
		return nil
	}
	err := p.Refuse(ctx, prepared)
	switch {
	case err == nil, errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unavailable("checking a new password", err)
	}
	return &PasswordError{Reason: PasswordRefused, Text: err.Error(), Err: err}
}

func foldCase(text string) string { return norm.NFC.String(strings.ToLower(text)) }

// isPersonal reports whether little is left of the password without the name, the e-mail
// and the part of it before the "@".
func isPersonal(folded, name, emailKey string) bool {
	local := emailKey[:max(0, strings.LastIndexByte(emailKey, '@'))]
	own := []string{emailKey, local, name}                                 // prepared, so in lower case
	slices.SortFunc(own, func(a, b string) int { return len(b) - len(a) }) // one may hold another
	var remove []string
	for _, text := range own {
		if utf8.RuneCountInString(text) >= minPersonal {
			remove = append(remove, text, "")
		}
	}
	others := strings.NewReplacer(remove...).Replace(folded)
	return others != folded && utf8.RuneCountInString(others) < minOthers
}

//go:embed common_passwords.txt
var commonPasswordsFile string

// commonPasswords is made at first use.
var commonPasswords = sync.OnceValue(func() map[string]bool {
	common := make(map[string]bool)
	for line := range strings.Lines(commonPasswordsFile) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			common[line] = true
		}
	}
	return common
})

// isCommon reports whether the password, in lower case, is one that attackers try first.
func isCommon(folded string) bool {
	characters := []rune(folded)
	if commonPasswords()[folded] || isRows(characters) {
		return true
	}
	for unit := 1; unit <= len(characters)/2; unit++ {
		if repeats(characters, unit) &&
			(unit <= shortUnit || commonPasswords()[string(characters[:unit])] || isRows(characters[:unit])) {
			return true
		}
	}
	return false
}

// repeats reports whether the text repeats its first so many characters. The last
// repetition may be cut off.
func repeats(text []rune, unit int) bool {
	return slices.Equal(text[unit:], text[:len(text)-unit])
}

// rows are the orders in which fingers and minds run, in circles.
var rows = []map[rune]int{
	row("1234567890"),
	row("abcdefghijklmnopqrstuvwxyz"),
	row("1234567890qwertyuiopasdfghjklzxcvbnm"),
	row("qwertzuiopasdfghjklyxcvbnm"),
	row("azertyuiopqsdfghjklmwxcvbn"),
	row("йцукенгшщзхъфывапролджэячсмитьбю"),
	row("1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/"),
	row("1q2w3e4r5t6y7u8i9o0p"),
	row("!@#$%^&*()_+"),
}

func row(keys string) map[rune]int {
	places := make(map[rune]int)
	for _, key := range keys {
		places[key] = len(places)
	}
	return places
}

// isRows reports whether the text is made of rows of at least 4 characters each, and of
// nothing else.
func isRows(text []rune) bool {
	for len(text) > 0 {
		longest := inRow(text, func(a, b rune) bool { return max(a, b)-min(a, b) <= 1 }) // by code point
		for _, places := range rows {
			longest = max(longest, inRow(text, func(a, b rune) bool {
				from, known1 := places[a]
				to, known2 := places[b]
				apart := max(from, to) - min(from, to)
				return known1 && known2 && (apart <= 1 || apart == len(places)-1)
			}))
		}
		if longest < shortUnit {
			return false
		}
		text = text[longest:]
	}
	return true
}

// inRow returns how many characters from the start are each a neighbour of the one before.
func inRow(text []rune, neighbours func(a, b rune) bool) int {
	for i := 1; i < len(text); i++ {
		if !neighbours(text[i-1], text[i]) {
			return i
		}
	}
	return len(text)
}
