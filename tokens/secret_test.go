package tokens_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	random "math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// wrapBase64 returns base64 in lines of 64 characters, as in PEM.
func wrapBase64(data []byte) string {
	text := base64.StdEncoding.EncodeToString(data)
	var lines strings.Builder
	for len(text) > 64 {
		lines.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	return lines.String() + text + "\n"
}

func encodeUTF16(text string) string {
	var data []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		data = append(data, byte(unit), byte(unit>>8))
	}
	return string(data)
}

// printable and control are bytes that are all different.
var printable, control = bytesFrom('!', 64), bytesFrom(0x80, 32)

func bytesFrom(first byte, count int) []byte {
	data := make([]byte, count)
	for i := range data {
		data[i] = first + byte(i)
	}
	return data
}

// nestedDER returns SEQUENCEs in each other, and bytes in the last.
func nestedDER(t *testing.T, depth int) string {
	t.Helper()
	der, err := asn1.Marshal(binarySecret[:64])
	require.NoError(t, err)
	der = append(der, append([]byte{4, 64}, printable...)...)
	for range depth {
		der, err = asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: der})
		require.NoError(t, err)
	}
	return string(der)
}

func certificate(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "login.example.org"},
		NotBefore: epoch, NotAfter: epoch.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	return der
}

// TestPublicTextIsNoSecret: if everybody can read a raw secret, everybody can sign
// tokens. So text that people put into key files by mistake is refused. The error says
// what the text is and what to do.
func TestPublicTextIsNoSecret(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(ec)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	require.NoError(t, err)
	publicRSA, err := x509.MarshalPKIXPublicKey(&rs.PublicKey)
	require.NoError(t, err)
	certDER := certificate(t)
	privatePEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	publicPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	certPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER}))
	bag := "Bag Attributes\n    friendlyName: login\n    localKeyID: 01 02 03\nKey Attributes: <No Attributes>\n"
	openssl := "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Serial Number: 1 (0x1)\n        Signature Algorithm: ED25519\n"
	jwks := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	ssh := "AAAAC3NzaC1lZDI1NTE5AAAAIJ8wMh8s4n1nYy2m6kz1pJ3mY0pQF5u0e7J8yGqG5c2B"
	const before = "remove everything before"

	for name, test := range map[string]struct{ data, says string }{
		"openssl x509 -text":             {openssl + certPEM, before},
		"openssl x509 -text -noout":      {openssl, "openssl"},
		"openssl pkey -text -noout":      {"ED25519 Public-Key:\npub:\n    09:ed:d2:7c:8f:0b:8e:ba:3d:32:53:0d:d6:94:a3:\n    fe:e8\n", "openssl"},
		"bag attributes, private key":    {bag + privatePEM, before},
		"bag attributes, certificate":    {bag + certPEM, before},
		"comment, public key":            {"# the key of login.example.org\n" + publicPEM, before},
		"comment, private key":           {"# the key of login.example.org\n" + privatePEM, before},
		"text between two blocks":        {privatePEM + "# the other\n" + publicPEM, "between"},
		"a damaged block before another": {"-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n" + publicPEM, "damaged"},
		"PEM deep in binary data":        {string(bytes.Repeat([]byte{0x80, 0x01, 0xfe}, 30)) + publicPEM, before},
		"PEM without its first line":     {wrapBase64(public) + "-----END PUBLIC KEY-----\n", "PEM"},

		"DER private key":        {string(private), "DER"},
		"DER public key":         {string(public), "DER"},
		"DER RSA public key":     {string(publicRSA), "DER"},
		"DER certificate":        {string(certDER), "DER"},
		"DER and a line break":   {string(public) + "\n", "DER"},
		"DER that ends in one":   {"\x30\x40\x04\x3e" + string(binarySecret[:61]) + "\n", "DER"},
		"DER, CRLF":              {string(public) + "\r\n", "DER"},
		"two DER certificates":   {string(certDER) + string(certDER), "DER"},
		"DER, deep":              {nestedDER(t, 20), "DER"},
		"base64 DER, PEM body":   {wrapBase64(public), "DER"},
		"base64 DER, one line":   {base64.StdEncoding.EncodeToString(publicRSA), "DER"},
		"base64 DER, no padding": {base64.RawStdEncoding.EncodeToString(certDER), "DER"},
		"base64 DER, URL":        {base64.URLEncoding.EncodeToString(private), "DER"},
		"base64 DER, raw URL":    {base64.RawURLEncoding.EncodeToString(public), "DER"},
		"base64 DER, CRLF":       {strings.ReplaceAll(wrapBase64(certDER), "\n", "\r\n"), "DER"},
		"base64 DER after a BOM": {"\xef\xbb\xbf" + wrapBase64(certDER), "DER"},
		"hex DER":                {hex.EncodeToString(public), "DER"},

		"HTML":                 {"\n <!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Not here.</body></html>", "markup"},
		"HTML, other encoding": {"<!DOCTYPE html><html><body>" + strings.Repeat("\xe9\xe8\xfc caf\xe9 ", 10) + "</body></html>", "markup"},
		"XML":                  {`<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>`, "markup"},
		"HTML after a BOM":     {"\xef\xbb\xbf<html><body>" + strings.Repeat("Sign in to go on. ", 5) + "</body></html>", "markup"},

		"a JWK set behind a header":  {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + jwks, "JWK"},
		"a JWK set in other bytes":   {strings.TrimSuffix(jwks, "}") + `,"caf` + "\xe9" + `":1}`, "JSON"},
		"indented JSON, other bytes": {"{" + strings.Repeat("\n        \"~~~\": \"~~~\u00e9\",", 10) + "\xe9}", "JSON"},
		"JSON, a quarter is binary":  {"{" + string(printable[:47]) + string(control[:16]), "JSON"},
		"an SSH key behind a word":   {"no-pty ssh-ed25519 " + ssh + " me@example.org", "SSH"},
		"an SSH key without a word":  {ssh, "SSH"},
		"SSH2, behind a comment":     {"# mine\n---- BEGIN SSH2 PUBLIC KEY ----\n" + ssh + "\n---- END SSH2 PUBLIC KEY ----\n", "SSH"},
		"UTF-16":                     {"\xff\xfe" + encodeUTF16(publicPEM), "UTF-16"},
		"UTF-16 without its BOM":     {encodeUTF16(publicPEM), "alike"},
		"zero bytes":                 {string(make([]byte, 200)), "alike"},
		"one letter":                 {strings.Repeat("a", 64), "alike"},
		"two bytes":                  {strings.Repeat("\xff\x00", 32), "alike"},
		"seven letters":              {strings.Repeat("abcdefg", 10), "alike"},
		"a third is one byte":        {strings.Repeat("~", 32) + string(printable), "alike"},
		"only padding":               {strings.Repeat("=", 64), "alike"},
		"a JWK of zero bytes":        {`{"kty":"oct","k":"` + strings.Repeat("A", 100) + `"}`, "alike"},
		"a JWK of a PEM public key":  {`{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString([]byte(publicPEM)) + `"}`, "PEM"},
		"a JWK of a DER certificate": {`{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(certDER) + `"}`, "DER"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tokens.ParseKeys([]byte(test.data))
			require.ErrorIs(t, err, tokens.ErrKey)
			assert.ErrorContains(t, err, test.says)
			for i := 0; i+12 <= len(test.data); i++ {
				if piece := test.data[i : i+12]; !strings.Contains("-----BEGIN PUBLIC KEY----- -----BEGIN PRIVATE KEY-----", piece) {
					assert.NotContains(t, err.Error(), piece, "an error holds no part of the file")
				}
			}
		})
	}
}

func TestKeysOfAFileNeedDifferentIDs(t *testing.T) {
	one, two := generate(t, tokens.HS512), generate(t, tokens.EdDSA)
	first, err := one.PrivateJWK()
	require.NoError(t, err)
	second, err := two.PrivateJWK()
	require.NoError(t, err)
	text := `{"keys":[` + string(first) + `,` + strings.ReplaceAll(string(second), two.ID(), one.ID()) + `]}`
	_, err = tokens.ParseKeys([]byte(text))
	require.ErrorIs(t, err, tokens.ErrKey)
	assert.ErrorContains(t, err, one.ID())

	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	twice := pkcs8(t, private)
	_, err = tokens.ParseKeys(append(twice, twice...))
	assert.ErrorIs(t, err, tokens.ErrKey, "the id follows from the key")
}

func TestTrueSecretsAreAccepted(t *testing.T) {
	raw := []byte("\xd1\x0b\xa7\x98\x53\xee\x21\x9f\x7c\x04\x6e\xb1\x32\xcd\x88\x1a")
	long := append(bytes.Repeat(raw, 3), "another sixteen!0123456789"...)
	for name, data := range map[string]string{
		"openssl rand -hex 64":           hex.EncodeToString(long[:64]) + "\n",
		"openssl rand -base64 64":        wrapBase64(long[:64]),
		"base64url":                      base64.RawURLEncoding.EncodeToString(long[:64]),
		"base64 that begins with MI":     "MI" + base64.StdEncoding.EncodeToString(long[:64]),
		"base64 that begins like DER":    base64.StdEncoding.EncodeToString(append([]byte{0x30, 0x82, 0x01, 0x22}, long[:64]...)),
		"a sequence of the wrong length": "\x30\x50" + string(long[:64]),
		"a sequence of no elements":      "\x30\x40" + "\xff" + string(long[:63]),
		"binary that begins like JSON":   "{" + string(long[:64]),
		"eight letters":                  strings.Repeat("abcdefgh", 8),
		"just under a third is one byte": strings.Repeat("~", 31) + string(printable),
		"deeper than any key in DER":     nestedDER(t, 40),
		"over a quarter is binary":       "{" + string(printable[:46]) + string(control[:17]),
		"binary that begins like markup": " <" + string(long[:64]),
		"binary that begins with FF FE":  "\xff\xfe" + string(long[:64]),
		"decimal digits":                 "31415926535897932384626433832795028841971693993751058209749445923078164062862089",
		"words":                          "correct horse battery staple, and a good many other words behind them",
	} {
		t.Run(name, func(t *testing.T) {
			key := parseOne(t, []byte(data))
			assert.Equal(t, tokens.HS512, key.Algorithm())
			assert.True(t, key.CanSign())
		})
	}
}

// TestRandomSecretsAreAccepted: the rules against public text never refuse a random
// secret. The seed is fixed, so a failure can be repeated.
func TestRandomSecretsAreAccepted(t *testing.T) {
	source := random.NewChaCha8([32]byte{1})
	numbers := random.New(source)
	for i := range 10_000 {
		data := make([]byte, 64+numbers.IntN(137))
		source.Read(data)
		text := data[:48+numbers.IntN(len(data)-47)] // at least 48 bytes, so base64 of it has at least 64
		forms := map[string][]byte{
			"binary": data, "wrapped base64": []byte(wrapBase64(text)), "base64": []byte(base64.StdEncoding.EncodeToString(text)),
			"base64url": []byte(base64.RawURLEncoding.EncodeToString(text)), "hex": []byte(hex.EncodeToString(text)),
		}
		forms["MI"] = append([]byte("MI"), forms["base64"]...) // the base64 of nearly all DER begins like this
		for name, form := range forms {
			_, err := tokens.ParseKeys(form)
			require.NoError(t, err, "%s, number %d: %x", name, i, form)
		}
	}
}
