package tokens

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
)

// ParseKeys reads the keys in data, which holds one of these:
//   - a JWK or a JWK set (RFC 7517)
//   - PEM blocks (PKCS #8, PKCS #1, SEC 1, PKIX)
//   - a raw HMAC secret
//
// A raw secret is all of data. But if data is printable text with a newline at its end,
// that newline is not part of the secret.
//
// If others can guess a secret, they can sign tokens. So ParseKeys refuses a raw secret
// that looks like something else:
//   - data that begins like JSON, PEM or an SSH key
//   - a PEM block, a JWK or an SSH key after other text
//   - what openssl prints about a key or certificate
//   - markup, such as an HTML error page
//   - DER (ITU-T X.690), or DER as base64 or hex
//   - bytes that are nearly all alike: fewer than 8 different values, or one value that
//     makes up a third of the data
//
// ParseKeys also refuses a key that is too short or encrypted, a JWK whose "alg", "use"
// or "key_ops" does not fit, a certificate, an empty set, and two keys with one id. Every
// error matches [ErrKey].
//
// A public key is accepted. It verifies and does not sign.
func ParseKeys(data []byte) ([]*Key, error) {
	keys, err := parseKeys(data)
	if err != nil {
		return nil, err
	}
	if id, found := repeatedID(keys); found {
		return nil, keyError("two keys have the id %q: give each its own \"kid\", or remove one", id)
	}
	return keys, nil
}

func parseKeys(data []byte) ([]*Key, error) {
	start := trimStart(data)
	switch {
	case len(start) == 0:
		return nil, keyError("the file is empty")
	case (start[0] == '{' || start[0] == '[') && isText(start):
		return parseJWKs(start)
	case bytes.HasPrefix(start, []byte("-----BEGIN ")):
		return parsePEM(start)
	}
	if err := checkSecret(data); err != nil {
		return nil, err
	}
	key, err := newKey("", rawSecret(data))
	if err != nil {
		return nil, err
	}
	return []*Key{key}, nil
}

func repeatedID(keys []*Key) (id string, found bool) {
	seen := make(map[string]bool, len(keys))
	for _, key := range keys {
		if seen[key.id] {
			return key.id, true
		}
		seen[key.id] = true
	}
	return "", false
}

func parsePEM(data []byte) ([]*Key, error) {
	var keys []*Key
	for data = bytes.TrimSpace(data); len(data) > 0; {
		if !bytes.HasPrefix(data, []byte("-----BEGIN ")) {
			return nil, keyError("there is other text between or after the PEM blocks: remove it")
		}
		block, rest := pem.Decode(data)
		// Decode skips a damaged block and returns the next one.
		if block == nil || bytes.Count(data[:len(data)-len(rest)], []byte("-----BEGIN")) != 1 {
			return nil, keyError("the PEM text is cut off or damaged")
		}
		data = bytes.TrimSpace(rest)
		if block.Type == "EC PARAMETERS" {
			continue // "openssl ecparam -genkey" writes this block before the key
		}
		raw, err := parsePEMBlock(block)
		if err != nil {
			return nil, err
		}
		key, err := newKey("", raw)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, keyError("the PEM text holds no key")
	}
	return keys, nil
}

func parsePEMBlock(block *pem.Block) (raw any, err error) {
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, keyError("the PEM key is encrypted; decrypt it first with: openssl pkey -in FILE -out NEWFILE")
	}
	switch block.Type {
	case "PRIVATE KEY":
		raw, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		raw, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		raw, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		raw, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		raw, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, keyError("a PEM block of type %q holds no key that this package can use", block.Type)
	}
	if err != nil {
		return nil, keyError("PEM block %q: %w", block.Type, err)
	}
	return raw, nil
}
