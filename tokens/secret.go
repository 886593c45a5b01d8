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

// rawSecret drops the newline that editors and shells add to text. In binary data, a
// last byte 0x0A is part of the secret.
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

// checkSecret refuses data that nobody means as a secret. If public text became a secret,
// everybody could sign tokens. Each rule refuses fewer than one in a million random
// secrets.
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
		return keyError("the file looks like markup, such as an HTML error page: download the key again, or make one with: openssl rand -hex 64")
	case isDER(data), isDER(bytes.TrimSuffix(data, []byte("\n"))), isDER(bytes.TrimSuffix(data, []byte("\r\n"))):
		return keyError("the file looks like a key or certificate in DER form: convert a private key to PEM with: openssl pkey -inform DER -in FILE -out NEWFILE")
	case isEncodedDER(text):
		return keyError("the file looks like a key or certificate in DER form, encoded as base64 or hex: put a private key between the lines -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----")
	case len(data) >= minHMACBytes && isAlike(data):
		return keyError("the bytes of the secret are nearly all alike: make a random secret with: openssl rand -hex 64")
	}
	return nil
}

// trimStart drops a byte order mark and white space at the start.
func trimStart(data []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n\f\v")
}

// beginsLikeForeignKey returns what is wrong with data that begins like a key in a format
// that this package does not read. It returns "" if nothing is wrong.
func beginsLikeForeignKey(data []byte) string {
	const problem = "the file looks like an SSH or PuTTY key, or like text in UTF-16: convert it to PEM (PKCS #8) or JWK"
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "-----", "PuTTY-User-Key-File"} {
		if bytes.HasPrefix(data, []byte(prefix)) {
			return problem
		}
	}
	// A random secret can begin with these two bytes. But UTF-16 has a zero byte for
	// each letter of a key, and among random bytes only one in 256 is zero.
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		if bytes.Count(data, []byte{0}) >= len(data)/8 {
			return problem
		}
	}
	return ""
}

const (
	problemBefore = "the file holds a PEM block after other text or bytes: remove everything before the line -----BEGIN PRIVATE KEY-----"
	problemSSH    = "the file holds an SSH key: convert a private key to PEM (PKCS #8) or JWK"
	problemShown  = "the file looks like the text that openssl prints about a key or certificate: put only the PEM private key into the file"
)

// foreignMarkers lists text that no secret holds at any place.
var foreignMarkers = []struct{ text, problem string }{
	{"-----BEGIN", problemBefore},
	{"-----END", "the file looks like a part of a PEM block: put the whole block into the file"},
	{"---- BEGIN ", problemSSH},
	{"AAAAB3NzaC1", problemSSH},  // base64 of "ssh-rsa" or "ssh-dss" with its length
	{"AAAAC3NzaC1", problemSSH},  // the same of "ssh-ed25519"
	{"AAAAE2VjZHNh", problemSSH}, // the same of "ecdsa-sha2-nistp256", "-nistp384", "-nistp521"
	{"Certificate:", problemShown},
	{"Certificate Request:", problemShown},
	{"Public-Key:", problemShown},
	{"Private-Key:", problemShown},
	{"Bag Attributes", problemShown},
	{`"kty"`, "the file holds a JWK after other text: remove everything before its first brace"},
}

// isText reports whether data is text. Text is valid UTF-8 without control characters.
// To find text in another encoding, isText also accepts data of which at least three
// quarters are printable ASCII. Of random bytes, less than two fifths are.
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

// isMarkup reports whether text looks like HTML or XML.
func isMarkup(text []byte) bool {
	if !bytes.HasPrefix(text, []byte("<")) {
		return false
	}
	start := strings.ToLower(string(text[:min(len(text), 9)]))
	return isText(text) || strings.HasPrefix(start, "<!doctype") || strings.HasPrefix(start, "<html") || strings.HasPrefix(start, "<?xml")
}

// isDER reports whether data consists of whole ASN.1 SEQUENCEs, one or more. Keys and
// certificates have this form. isDER also checks all elements inside them, because one
// random secret in 65,536 begins like a SEQUENCE of the right length.
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

// maxDERDepth bounds the recursion of areElements. Keys and certificates nest less deeply.
const maxDERDepth = 32

// areElements reports whether data consists of whole ASN.1 elements, at every depth.
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

// isEncodedDER reports whether text is DER in hex or in base64 of either alphabet, with
// or without line breaks and padding.
func isEncodedDER(text []byte) bool {
	joined := strings.Join(strings.Fields(string(text)), "")
	if der, err := hex.DecodeString(joined); err == nil && isDER(der) {
		return true
	}
	// Padding ends a value, and another value may follow.
	values := strings.FieldsFunc(toStandardAlphabet.Replace(joined), func(r rune) bool { return r == '=' })
	for _, value := range values {
		der, err := base64.RawStdEncoding.DecodeString(value)
		if err != nil || !isDER(der) {
			return false
		}
	}
	return len(values) > 0
}

// isAlike reports whether data has fewer than 8 different bytes, or whether one byte
// makes up a third of it or more. Hex text passes: it has 16 different bytes, and each
// makes up about a sixteenth of it.
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
