package tokens

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// ParseKeys reads the keys in data: a JWK or a JWK set (RFC 7517), PEM blocks
// (PKCS #8, PKCS #1, SEC 1, PKIX), or else a raw HMAC secret, which is data
// itself less one trailing newline where the rest is printable text.
//
// Data that begins like JSON, PEM or an SSH key is never taken as a raw secret.
// A key whose "alg" or "use" does not fit, a short one, an encrypted one, a
// certificate, and an empty set are refused with an error that matches [ErrKey].
// Public keys are returned too: they verify and do not sign.
func ParseKeys(data []byte) ([]*Key, error) {
	start := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(start) == 0:
		return nil, keyError("the file is empty")
	case bytes.HasPrefix(start, []byte("{")), bytes.HasPrefix(start, []byte("[")):
		return parseJWKs(start)
	case bytes.HasPrefix(start, []byte("-----BEGIN ")):
		return parsePEM(start)
	case beginsLikeForeignKey(start):
		return nil, keyError("an SSH or PuTTY key, or text in UTF-16, is not read here; convert it to PEM (PKCS #8) or JWK")
	}
	key, err := newKey("", rawSecret(data))
	if err != nil {
		return nil, err
	}
	return []*Key{key}, nil
}

func beginsLikeForeignKey(data []byte) bool {
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN", "-----", "PuTTY-User-Key-File", "\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(data, []byte(prefix)) {
			return true
		}
	}
	return false
}

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

func parsePEM(data []byte) ([]*Key, error) {
	var keys []*Key
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, keyError("the PEM text is cut off or damaged")
		}
		data = rest
		if block.Type == "EC PARAMETERS" {
			continue // what "openssl ecparam -genkey" writes before the key
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
		return nil, keyError("the PEM key is encrypted; decrypt it first, with: openssl pkey -in FILE -out NEWFILE")
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
		return nil, keyError("a PEM block of type %q is not a key that can be used here", block.Type)
	}
	if err != nil {
		return nil, keyError("PEM block %q: %w", block.Type, err)
	}
	return raw, nil
}

func parseJWKs(data []byte) ([]*Key, error) {
	// jwx overlooks members named twice and what follows the JSON text.
	if !jsontext.Value(data).IsValid() {
		return nil, keyError("the JSON text of the JWK is cut off, damaged, or names a member twice")
	}
	set, err := jwk.Parse(data)
	if err != nil {
		// The cause may quote the text, secret part included.
		return nil, keyError("the JSON text is no JWK and no JWK set that can be read")
	}
	var keys []*Key
	for i := range set.Len() {
		entry, _ := set.Key(i)
		key, err := fromJWK(entry)
		if err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, set.Len(), err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, keyError("the JWK set is empty")
	}
	return keys, nil
}

func fromJWK(entry jwk.Key) (*Key, error) {
	var raw any
	if err := entry.Raw(&raw); err != nil {
		return nil, keyError("the JWK does not hold a usable key of type %q", entry.KeyType())
	}
	key, err := newKey(entry.KeyID(), raw)
	if err != nil {
		return nil, err
	}
	if alg := entry.Algorithm().String(); alg != "" && alg != string(key.algorithm) {
		return nil, keyError(`"alg" of the JWK is %q, and its key can only serve %s`, alg, key.algorithm)
	}
	if use := entry.KeyUsage(); use != "" && use != "sig" {
		return nil, keyError(`"use" of the JWK is %q, not "sig"`, use)
	}
	if operations := entry.KeyOps(); len(operations) > 0 {
		needed := jwk.KeyOpVerify
		if key.CanSign() {
			needed = jwk.KeyOpSign
		}
		if !hasOperation(operations, needed) {
			return nil, keyError(`"key_ops" of the JWK lacks %q`, needed)
		}
	}
	return key, nil
}

func hasOperation(operations jwk.KeyOperationList, wanted jwk.KeyOperation) bool {
	for _, operation := range operations {
		if operation == wanted {
			return true
		}
	}
	return false
}

func (k *Key) encodeJWK(raw any) ([]byte, error) {
	entry, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, keyError("%v: %w", k, err)
	}
	for name, value := range map[string]string{
		jwk.KeyIDKey:     k.id,
		jwk.AlgorithmKey: string(k.algorithm),
		jwk.KeyUsageKey:  "sig",
	} {
		if err := entry.Set(name, value); err != nil {
			return nil, keyError("%v: %w", k, err)
		}
	}
	return json.Marshal(entry)
}

// LoadKeys reads a key file with [ParseKeys]. The error names the file and
// matches [fs.ErrNotExist] where there is none.
func LoadKeys(path string) ([]*Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokens: reading the key file: %w", err)
	}
	keys, err := ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return keys, nil
}

// LoadOrCreateKeys reads a key file; where there is none it first makes one, of
// mode 0600, with a new key for the algorithm. Of several processes that do so
// at once one makes the file and all of them read it. created tells whether it
// was this one.
func LoadOrCreateKeys(path string, algorithm Algorithm) (keys []*Key, created bool, err error) {
	keys, err = LoadKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, false, err
	}
	key, err := GenerateKey(algorithm)
	if err != nil {
		return nil, false, err
	}
	text, err := key.PrivateJWK()
	if err != nil {
		return nil, false, err
	}
	created, err = createFile(path, append(text, '\n'))
	if err != nil {
		return nil, false, fmt.Errorf("tokens: making the key file: %w", err)
	}
	keys, err = LoadKeys(path)
	return keys, created, err
}

// createFile makes path with the whole content or not at all, and leaves a file
// that is there already as it is.
func createFile(path string, content []byte) (created bool, err error) {
	temporary := path + "." + rand.Text()
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	defer os.Remove(temporary)
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return false, err
	}
	// Unlike a rename, a link never replaces what another process made meanwhile.
	if err = os.Link(temporary, path); errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
