package tokens

import "bytes"

// plainTexts and plainNumbers are the members of a payload in the order in which appendPayload
// writes them.
var (
	plainTexts   = [...]string{`{"iss":"`, `,"aud":"`, `,"sub":"`, `,"client_id":"`, `,"sid":"`, `,"jti":"`}
	plainNumbers = [...]string{`,"gen":`, `,"iat":`, `,"exp":`}
)

// readPlain reads a payload that has just the form that appendPayload writes, with texts of ASCII
// without escapes. It reports whether it was one: if not, claims is unchanged and the JSON package
// has to read it. FuzzReadPlain holds it to what that package reads. Decoding is a third of the
// verification of a new token without it, see BenchmarkMAC.
//
// It allocates one string for all texts. It writes behind text, so that memory must be free.
func readPlain(text []byte, claims *wireClaims) bool {
	var lengths [len(plainTexts)]int
	var numbers [len(plainNumbers)]int64
	rest, joined := text, text[len(text):]
	for i, name := range plainTexts {
		value, after, found := cutPlainText(rest, name)
		if !found {
			return false
		}
		joined, rest, lengths[i] = append(joined, value...), after, len(value)
	}
	for i, name := range plainNumbers {
		found := false
		if numbers[i], rest, found = cutPlainNumber(rest, name); !found {
			return false
		}
	}
	if string(rest) != "}" {
		return false
	}
	all := string(joined)
	for i, member := range [...]*string{&claims.Issuer, &claims.Audience.one, &claims.Subject, &claims.ClientID, &claims.SessionID, &claims.ID} {
		*member, all = all[:lengths[i]], all[lengths[i]:]
	}
	claims.Generation, claims.IssuedAt, claims.Expiry = numbers[0], numbers[1], numbers[2]
	return true
}

// cutPlainText cuts a member with its text from the beginning of what is left.
func cutPlainText(text []byte, name string) (value, after []byte, found bool) {
	if len(text) < len(name) || string(text[:len(name)]) != name {
		return nil, nil, false
	}
	text = text[len(name):]
	end := bytes.IndexByte(text, '"')
	if end < 0 {
		return nil, nil, false
	}
	for _, c := range text[:end] {
		if c < ' ' || c > '~' || c == '\\' {
			return nil, nil, false
		}
	}
	return text[:end], text[end+1:], true
}

// cutPlainNumber cuts a member with its number from the beginning of what is left: 1 to 18 digits,
// which always fit, without a zero in front.
func cutPlainNumber(text []byte, name string) (value int64, after []byte, found bool) {
	if len(text) < len(name) || string(text[:len(name)]) != name {
		return 0, nil, false
	}
	text = text[len(name):]
	digits := 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		value = 10*value + int64(text[digits]-'0')
		if digits++; digits > 18 {
			return 0, nil, false
		}
	}
	return value, text[digits:], digits > 0 && text[0] != '0'
}
