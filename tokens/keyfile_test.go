package tokens_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

func pemText(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key any) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemText(t, "PRIVATE KEY", der, err)
}

func parseOne(t *testing.T, data []byte) *tokens.Key {
	t.Helper()
	keys, err := tokens.ParseKeys(data)
	require.NoError(t, err)
	require.Len(t, keys, 1)
	return keys[0]
}

func TestParseKeysAccepts(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(ec)
	ecText := pemText(t, "EC PRIVATE KEY", sec1, err)
	public, err := x509.MarshalPKIXPublicKey(ed.Public())
	publicText := pemText(t, "PUBLIC KEY", public, err)

	for name, test := range map[string]struct {
		data      []byte
		algorithm tokens.Algorithm
		signs     bool
	}{
		"raw text":           {secret, tokens.HS512, true},
		"raw binary":         {binarySecret, tokens.HS512, true},
		"Ed25519 PKCS #8":    {pkcs8(t, ed), tokens.EdDSA, true},
		"EC PKCS #8":         {pkcs8(t, ec), tokens.ES256, true},
		"EC SEC 1":           {ecText, tokens.ES256, true},
		"EC with parameters": {append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), ecText...), tokens.ES256, true},
		"RSA PKCS #8":        {pkcs8(t, rs), tokens.RS256, true},
		"RSA PKCS #1":        {pemText(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs), nil), tokens.RS256, true},
		"public":             {publicText, tokens.EdDSA, false},
		"after a BOM":        {append([]byte("\xef\xbb\xbf\n"), pkcs8(t, ed)...), tokens.EdDSA, true},
	} {
		t.Run(name, func(t *testing.T) {
			key := parseOne(t, test.data)
			assert.Equal(t, test.algorithm, key.Algorithm())
			assert.Equal(t, test.signs, key.CanSign())
			assert.NotEmpty(t, key.ID())
		})
	}
	assert.Equal(t, parseOne(t, pkcs8(t, ec)).ID(), parseOne(t, ecText).ID(), "the id follows from the key alone")
	assert.Equal(t, parseOne(t, pkcs8(t, ed)).ID(), parseOne(t, publicText).ID())
}

func TestRawSecretNewline(t *testing.T) {
	text := string(secret)
	id := parseOne(t, []byte(text)).ID()
	assert.Equal(t, id, parseOne(t, []byte(text+"\n")).ID())
	assert.Equal(t, id, parseOne(t, []byte(text+"\r\n")).ID())
	assert.NotEqual(t, id, parseOne(t, []byte(text+"\n\n")).ID(), "only one newline is dropped")
	_, err := tokens.ParseKeys([]byte(text[:63] + "\n"))
	assert.ErrorIs(t, err, tokens.ErrKey, "the newline is not part of the length")
	binary := append(slices.Clone(binarySecret[:63]), '\n')
	parseOne(t, binary)
}

func TestJWKRoundTrip(t *testing.T) {
	everyAlgorithm(t, func(t *testing.T, key *tokens.Key) {
		text, err := key.PrivateJWK()
		require.NoError(t, err)
		again := parseOne(t, text)
		assert.Equal(t, key.ID(), again.ID())
		k := newKit(t, key)
		token, err := k.issuer.SignAccess(claims)
		require.NoError(t, err)
		refresh, err := k.issuer.SignRefresh(claims)
		require.NoError(t, err)
		other := newKit(t, again)
		assert.NoError(t, other.verify(token))
		_, err = other.issuer.VerifyRefresh(refresh)
		assert.NoError(t, err)

		for _, shown := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s", key, key, key, key)} {
			assert.Contains(t, shown, key.ID())
			assert.Less(t, len(shown), 400)
		}
	})
}

func TestJWKSet(t *testing.T) {
	var set []string
	for _, algorithm := range []tokens.Algorithm{tokens.HS512, tokens.EdDSA} {
		key, err := tokens.GenerateKey(algorithm)
		require.NoError(t, err)
		text, err := key.PrivateJWK()
		require.NoError(t, err)
		set = append(set, string(text))
	}
	keys, err := tokens.ParseKeys([]byte(`{"keys":[` + strings.Join(set, ",") + `]}`))
	require.NoError(t, err)
	require.Len(t, keys, 2)
	ring, err := tokens.NewKeyring(keys...)
	require.NoError(t, err)
	assert.Equal(t, keys[0], ring.Active())
	_, err = tokens.ParseKeys([]byte(`{"keys":[` + set[0] + `,{"kty":"oct","k":"c2hvcnQ"},` + set[1] + `]}`))
	assert.ErrorContains(t, err, "key 2 of 3")
}

func TestParseKeysRefuses(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	whole := pkcs8(t, ed)
	long := "AAAAAAAAsecretsecretsecret" + strings.Repeat("Ab0Cd1Ef2Gh3Ij4Kl5", 5)
	for name, data := range map[string]string{
		"nothing":             "",
		"white space":         " \n",
		"short secret":        "seven77",
		"cut PEM":             string(whole[:len(whole)/2]),
		"PEM and rubbish":     string(whole) + "rubbish",
		"PEM begin only":      "-----BEGIN PRIVATE KEY-----" + long,
		"damaged PEM":         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(long)})),
		"certificate":         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(long)})),
		"encrypted PKCS #8":   string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte(long)})),
		"encrypted PKCS #1":   "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"OpenSSH private":     string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte(long)})),
		"only parameters":     "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
		"OpenSSH public":      "ssh-ed25519 " + long,
		"ECDSA OpenSSH":       "ecdsa-sha2-nistp256 " + long,
		"PuTTY":               "PuTTY-User-Key-File-3: ssh-ed25519\n" + long,
		"UTF-16":              "\xff\xfe" + encodeUTF16("{"+long),
		"P-384":               string(pkcs8(t, p384)),
		"JSON, not a key":     `{"hello":"` + long + `"}`,
		"JSON array":          `["` + long + `"]`,
		"cut JSON":            `{"kty":"oct","k":"` + long,
		"JSON and rubbish":    `{"kty":"oct","k":"` + long + `"} x`,
		"empty set":           `{"keys":[]}`,
		"member twice":        `{"kty":"oct","k":"` + long + `","k":"` + long + `"}`,
		"short oct":           `{"kty":"oct","k":"AAAA"}`,
		"unknown kty":         `{"kty":"XYZ"}`,
		"alg does not fit":    `{"kty":"oct","alg":"RS256","k":"` + long + `"}`,
		"alg not supported":   `{"kty":"oct","alg":"HS256","k":"` + long + `"}`,
		"use enc":             `{"kty":"oct","use":"enc","k":"` + long + `"}`,
		"key_ops":             `{"kty":"oct","key_ops":["encrypt"],"k":"` + long + `"}`,
		"other Ed25519 half":  `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`,
		"EC not on the curve": `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`,
		"X25519":              `{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tokens.ParseKeys([]byte(data))
			require.ErrorIs(t, err, tokens.ErrKey)
			assert.NotContains(t, err.Error(), "AAAAAAAA", "an error holds no part of a key")
		})
	}
	t.Run("RSA 1024", func(t *testing.T) {
		t.Setenv("GODEBUG", "rsa1024min=0")
		key, err := rsa.GenerateKey(rand.Reader, 1024)
		require.NoError(t, err)
		_, err = tokens.ParseKeys(pkcs8(t, key))
		require.ErrorIs(t, err, tokens.ErrKey)
		assert.ErrorContains(t, err, "1024 bits")
	})
}

func TestOpenKeyringAtOnce(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "test.key")
	_, err := tokens.LoadKeys(path)
	require.ErrorIs(t, err, os.ErrNotExist)

	ids := make([]string, 8)
	made := make([]bool, len(ids))
	var openers sync.WaitGroup
	for i := range ids {
		openers.Go(func() {
			ring, err := tokens.OpenKeyring(tokens.KeyFile{Path: path, Algorithm: tokens.EdDSA, Logger: slog.New(slog.DiscardHandler)})
			if assert.NoError(t, err) {
				ids[i], made[i] = ring.Active().ID(), ring.Created()
				assert.Equal(t, tokens.EdDSA, ring.Active().Algorithm())
			}
		})
	}
	openers.Wait()
	count := 0
	for i := range ids {
		assert.Equal(t, ids[0], ids[i], "all read the same file")
		if made[i] {
			count++
		}
	}
	assert.Equal(t, 1, count)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file remains")

	require.NoError(t, os.WriteFile(path, []byte(`{"keys":[]}`), 0o600))
	_, err = tokens.OpenKeyring(tokens.KeyFile{Path: path})
	require.ErrorIs(t, err, tokens.ErrKey)
	assert.ErrorContains(t, err, path)
}

// TestLoadKeysIsBounded: a wrong path, such as that of a device or of a backup, does not
// fill the memory.
func TestLoadKeysIsBounded(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "test.key")
	text := bytes.Repeat(secret, 1<<20/len(secret)+1)
	require.NoError(t, os.WriteFile(path, text[:1<<20], 0o600))
	_, err := tokens.LoadKeys(path)
	require.NoError(t, err, "1 MiB is allowed")
	require.NoError(t, os.WriteFile(path, text[:1<<20+1], 0o600))
	refused := map[string]string{path: "longer than 1048576 bytes", directory: "is a directory"}
	if _, err := os.Stat("/dev/zero"); err == nil {
		refused["/dev/zero"] = "longer than 1048576 bytes"
	}
	for path, why := range refused {
		_, err := tokens.LoadKeys(path)
		require.ErrorIs(t, err, tokens.ErrKey, path)
		assert.ErrorContains(t, err, "key file "+path+":")
		assert.ErrorContains(t, err, why)
	}
}

// TestKeyFileErrorsNameTheFile: an operator knows the path of the key file, and no name
// of a temporary file.
func TestKeyFileErrorsNameTheFile(t *testing.T) {
	directory := t.TempDir()
	t.Chdir(directory)
	path := filepath.Join(directory, "no", "test.key")
	for name, action := range map[string]func(tokens.KeyFile) error{
		"open":     func(f tokens.KeyFile) error { _, err := tokens.OpenKeyring(f); return err },
		"verify":   func(f tokens.KeyFile) error { f.VerifyOnly = true; _, err := tokens.OpenKeyring(f); return err },
		"add":      func(f tokens.KeyFile) error { _, err := f.Add(tokens.EdDSA); return err },
		"activate": func(f tokens.KeyFile) error { return f.Activate("x", time.Hour) },
		"retire":   func(f tokens.KeyFile) error { return f.Retire("x", time.Hour) },
		"remove":   func(f tokens.KeyFile) error { return f.Remove("x") },
	} {
		t.Run(name, func(t *testing.T) {
			assert.EqualError(t, action(tokens.KeyFile{}), "tokens: key file: Path is required")
			err := action(tokens.KeyFile{Path: path})
			require.ErrorIs(t, err, os.ErrNotExist)
			assert.ErrorContains(t, err, path)
			assert.NotContains(t, err.Error(), path+".")
		})
	}
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add(secret)
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := tokens.ParseKeys(data)
		if err != nil {
			require.ErrorIs(t, err, tokens.ErrKey)
			require.Empty(t, keys)
			return
		}
		require.NotEmpty(t, keys)
		start := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n\f\v")
		if keys[0].Algorithm() != tokens.HS512 || bytes.HasPrefix(start, []byte("{")) {
			return
		}
		// The data itself was accepted as a secret.
		require.NotContains(t, string(data), "-----BEGIN")
		var value struct{ Number asn1.RawValue }
		rest, err := asn1.Unmarshal(data, &value)
		require.False(t, err == nil && len(rest) == 0 && len(data) == len(value.Number.FullBytes)+2 &&
			value.Number.Tag != 0 && !value.Number.IsCompound, "DER of one element")
		require.False(t, utf8.Valid(data) && bytes.HasPrefix(start, []byte("<html>")), "markup")
		for _, b := range data {
			require.Less(t, 3*bytes.Count(data, []byte{b}), len(data), "nearly all bytes are alike")
		}
	})
}

// TestRefusalSaysWhatToDo where the format alone would not.
func TestRefusalSaysWhatToDo(t *testing.T) {
	for _, encrypted := range []string{
		string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})),
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
	} {
		_, err := tokens.ParseKeys([]byte(encrypted))
		assert.ErrorContains(t, err, "decrypt it first with: openssl pkey")
	}
}

// TestHalvesOfAKeyBelongTogether: else it would publish a key that verifies none of its tokens.
func TestHalvesOfAKeyBelongTogether(t *testing.T) {
	member := func(text []byte, name string) string {
		_, rest, found := strings.Cut(string(text), `"`+name+`":"`)
		require.True(t, found)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	for algorithm, half := range map[tokens.Algorithm]string{tokens.EdDSA: "x", tokens.ES256: "d", tokens.RS256: "n"} {
		one, err := generate(t, algorithm).PrivateJWK()
		require.NoError(t, err)
		other, err := generate(t, algorithm).PrivateJWK()
		require.NoError(t, err)
		_, err = tokens.ParseKeys([]byte(strings.Replace(string(one), member(one, half), member(other, half), 1)))
		assert.ErrorIs(t, err, tokens.ErrKey, algorithm)
	}
}
