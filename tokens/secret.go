package tokens

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rawSecret drops the newline that editors and shells put after text. In binary
// data a last byte of 0x0A is part of the secret.
func rawSecret(data []byte) []byte {
	text, found := bytes.CutSuffix(data, []byte("\n"))
	if !found {
		return data
	}
	text = bytes.TrimSuffix(text, []byte("\r"))
	if !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return data
	}
	return text
}

// checkSecret refuses what cannot be meant as a secret. Public text that became a
// secret would let everybody sign tokens. No rule here is likely to meet a random
// secret: each needs a chance of less than one in a million.
func checkSecret(data []byte) error {
	text := trimStart(data)
	if problem := beginsLikeForeignKey(text); problem != "" {
		return keyError("%s", problem)
	}
	for _, marker := range foreignMarkers {
		if bytes.Contains(data, []byte(marker.text)) {
			return keyError("%s", marker.problem)
		}
	}
	switch {
	case isMarkup(text):
		return keyError("the file looks like markup, such as an HTML error page: fetch the key again, or make one with: openssl rand -hex 64")
	case isDER(data), isDER(bytes.TrimSuffix(data, []byte("\n"))), isDER(bytes.TrimSuffix(data, []byte("\r\n"))):
		return keyError("the file looks like a key or certificate in DER form: convert a private key to PEM, with: openssl pkey -inform DER -in FILE -out NEWFILE")
	case isEncodedDER(text):
		return keyError("the file looks like a key or certificate in DER form, written as base64 or hex: put a private key between the lines -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----")
	case len(data) >= minHMACBytes && isAlike(data):
		return keyError("the bytes of the secret are nearly all alike: make a random one, with: openssl rand -hex 64")
	}
	return nil
}

// trimStart drops a byte order mark and white space.
func trimStart(data []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n\f\v")
}

// beginsLikeForeignKey says what is wrong with data that begins like a key of
// another kind. It is empty if there is nothing wrong.
func beginsLikeForeignKey(data []byte) string {
	const problem = "an SSH or PuTTY key, or text in UTF-16, is not read here; convert it to PEM (PKCS #8) or JWK"
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "-----", "PuTTY-User-Key-File"} {
		if bytes.HasPrefix(data, []byte(prefix)) {
			return problem
		}
	}
	// Two bytes alone may be chance. In UTF-16 the letters of a key have zero
	// bytes between them; among random bytes they are one in 256.
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		if bytes.Count(data, []byte{0}) >= len(data)/8 {
			return problem
		}
	}
	return ""
}

const (
	problemBefore = "the file holds a PEM block behind other text or bytes: remove all that stands before the line -----BEGIN PRIVATE KEY-----"
	problemSSH    = "the file holds an SSH key, which is not read here; convert a private key to PEM (PKCS #8) or JWK"
	problemShown  = "the file looks like what openssl prints about a key or certificate: put the PEM private key alone into the file"
)

// foreignMarkers is text that no secret holds, wherever it stands.
var foreignMarkers = []struct{ text, problem string }{
	{"-----BEGIN", problemBefore},
	{"-----END", "the file looks like PEM without its first line, or cut off: put the whole PEM block into the file"},
	{"---- BEGIN ", problemSSH},
	{"AAAAB3NzaC1", problemSSH}, // "ssh-rsa", "ssh-dss" with their length, in base64
	{"AAAAC3NzaC1", problemSSH}, // "ssh-ed25519"
	{"AAAAE2VjZHNh", problemSSH},
	{"Certificate:", problemShown},
	{"Certificate Request:", problemShown},
	{"Public-Key:", problemShown},
	{"Private-Key:", problemShown},
	{"Bag Attributes", problemShown},
	{`"kty"`, "the file holds a JWK behind other text: remove all that stands before its first brace"},
}

// isText reports whether data is text: valid UTF-8 without control characters, or,
// for text in another encoding, at least three quarters printable ASCII. Of random
// bytes less than two fifths are.
func isText(data []byte) bool {
	ascii := 0
	for _, b := range data {
		if b >= ' ' && b <= '~' || b == '\n' || b == '\r' || b == '\t' {
			ascii++
		}
	}
	if 4*ascii >= 3*len(data) {
		return true
	}
	return utf8.Valid(data) && !bytes.ContainsFunc(data, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) })
}

func isMarkup(text []byte) bool {
	if !bytes.HasPrefix(text, []byte("<")) {
		return false
	}
	start := strings.ToLower(string(text[:min(len(text), 9)]))
	return isText(text) || strings.HasPrefix(start, "<!doctype") || strings.HasPrefix(start, "<html") || strings.HasPrefix(start, "<?xml")
}

// isDER reports whether data is one or several whole ASN.1 SEQUENCEs, which keys
// and certificates are. It looks at all that is nested in them, as one random secret
// in 65,536 begins like a SEQUENCE of the right length.
func isDER(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	for len(data) > 0 {
		var value asn1.RawValue
		if data[0] != 0x30 {
			return false
		}
		rest, err := asn1.Unmarshal(data, &value)
		if err != nil || len(value.Bytes) == 0 || !areElements(value.Bytes, 0) {
			return false
		}
		data = rest
	}
	return true
}

// maxDERDepth is more than keys and certificates nest, and few enough for the stack.
const maxDERDepth = 32

func areElements(data []byte, depth int) bool {
	for len(data) > 0 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(data, &value)
		if err != nil || value.Class == asn1.ClassUniversal && value.Tag == 0 {
			return false
		}
		if value.IsCompound && (depth == maxDERDepth || !areElements(value.Bytes, depth+1)) {
			return false
		}
		data = rest
	}
	return true
}

var toStandardAlphabet = strings.NewReplacer("-", "+", "_", "/")

// isEncodedDER reports whether text is base64 of either alphabet, or hex, of DER.
// Line breaks and padding may be there or not.
func isEncodedDER(text []byte) bool {
	joined := strings.Join(strings.Fields(string(text)), "")
	if der, err := hex.DecodeString(joined); err == nil && isDER(der) {
		return true
	}
	// Padding ends a value; another may follow.
	values := strings.FieldsFunc(toStandardAlphabet.Replace(joined), func(r rune) bool { return r == '=' })
	for _, value := range values {
		der, err := base64.RawStdEncoding.DecodeString(value)
		if err != nil || !isDER(der) {
			return false
		}
	}
	return len(values) > 0
}

// isAlike reports whether data has fewer than 8 different bytes, or one byte makes
// up a third of it or more. Hex text has 16 different ones, and each of them makes
// up a sixteenth of it.
func isAlike(data []byte) bool {
	var counts [256]int
	for _, b := range data {
		counts[b]++
	}
	different, most := 0, 0
	for _, count := range counts {
		if count > 0 {
			different++
		}
		most = max(most, count)
	}
	return different < 8 || 3*most >= len(data)
}
