package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"math"
	"math/bits"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// storedHash is a parsed hash of any kind.
type storedHash interface {
	needs() uint32 // memory, in KiB
	isTooCostly(*Config) bool
	matches(password string) bool
}

// scheme is a kind of hash, known by how its text begins.
type scheme struct {
	prefix string
	parse  func(text, prefix string) (storedHash, error)
}

var schemes = []scheme{
	{phcPrefix, func(text, prefix string) (storedHash, error) { return parsePHC(text, prefix) }},
	{wrappedPrefix, func(text, prefix string) (storedHash, error) {
		inner, err := parsePHC(text, prefix)
		return wrappedSHA224{inner}, err
	}},
	{"$2", parseBcrypt},
	{"$pbkdf2$", pbkdf2Parser(sha1.New, ab64)},
	{"$pbkdf2-sha256$", pbkdf2Parser(sha256.New, ab64)},
	{"$pbkdf2-sha512$", pbkdf2Parser(sha512.New, ab64)},
	{"pbkdf2_sha1$", pbkdf2Parser(sha1.New, nil)},
	{"pbkdf2_sha256$", pbkdf2Parser(sha256.New, nil)},
	{"$scrypt$", parsePasslibScrypt},
	{"scrypt$", parseDjangoScrypt},
}

// parse parses a stored hash and refuses one that costs too much. Its result is nil if
// there is an error, and for an empty text.
func (c *Config) parse(text string) (storedHash, error) {
	if text == "" {
		return nil, nil
	}
	for _, scheme := range schemes {
		if !strings.HasPrefix(text, scheme.prefix) {
			continue
		}
		switch hash, err := scheme.parse(text, scheme.prefix); {
		case err != nil:
			return nil, ErrHash
		case hash.isTooCostly(c):
			return nil, ErrTooCostly
		default:
			return hash, nil
		}
	}
	return nil, ErrHash
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// ab64 is passlib's base64, with "." for "+" and without padding.
var ab64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding).Strict()

var padded = base64.StdEncoding.Strict()

// decode decodes what the encoding writes, and nothing else: line breaks are refused.
func decode(encoding *base64.Encoding, text string) ([]byte, error) {
	decoded, err := encoding.DecodeString(text)
	if err != nil || encoding.EncodeToString(decoded) != text {
		return nil, ErrHash
	}
	return decoded, nil
}

// parseNumber parses a positive decimal number of 32 bits without leading zeros.
func parseNumber(digits string) (uint64, error) {
	if strings.HasPrefix(digits, "0") || strings.HasPrefix(digits, "+") {
		return 0, ErrHash
	}
	return parseCost(digits, "", 32)
}

type bcryptHash struct {
	text string
	cost int
}

const maxBcryptBytes = 72 // of a password; bcrypt ignores the rest

// parseBcrypt accepts $2a$, $2b$ and $2y$. They differ in bugs that are mended in all of
// them by now. $2x$ marks a bug of old hashes that is not built here.
func parseBcrypt(text, prefix string) (storedHash, error) {
	rest := text[len(prefix):]
	if len(text) != 60 || !strings.ContainsRune("aby", rune(rest[0])) || rest[1] != '$' || rest[4] != '$' {
		return nil, ErrHash
	}
	for i, char := range []byte(rest) {
		isDigit := '0' <= char && char <= '9'
		isText := isDigit || 'a' <= char && char <= 'z' || 'A' <= char && char <= 'Z' || char == '.' || char == '/'
		if (i == 2 || i == 3) && !isDigit || i > 4 && !isText {
			return nil, ErrHash
		}
	}
	cost, err := bcrypt.Cost([]byte(text))
	return &bcryptHash{text, cost}, err
}

func (b *bcryptHash) needs() uint32              { return 0 }
func (b *bcryptHash) isTooCostly(c *Config) bool { return b.cost > c.MaxBcryptCost }

func (b *bcryptHash) matches(password string) bool {
	cut := password[:min(len(password), maxBcryptBytes)]
	err := bcrypt.CompareHashAndPassword([]byte(b.text), []byte(cut))
	// To bcrypt, a NUL ends the password, and it begins again: "a" is like "a\x00a".
	return err == nil && !strings.Contains(password, "\x00")
}

type pbkdf2Hash struct {
	hash       func() hash.Hash
	iterations uint64
	salt, key  []byte
}

// pbkdf2Parser returns a parser of PREFIX iterations $ salt $ key. Without an encoding it
// is Django's form: the salt is text, and the key is in padded base64.
func pbkdf2Parser(hash func() hash.Hash, encoding *base64.Encoding) func(text, prefix string) (storedHash, error) {
	return func(text, prefix string) (storedHash, error) {
		fields := strings.Split(text[len(prefix):], "$")
		if len(fields) != 3 {
			return nil, ErrHash
		}
		iterations, err1 := parseNumber(fields[0])
		salt, err2 := []byte(fields[1]), error(nil)
		keyEncoding := padded
		if encoding != nil {
			keyEncoding = encoding
			salt, err2 = decode(encoding, fields[1])
		}
		key, err3 := decode(keyEncoding, fields[2])
		if err1 != nil || err2 != nil || err3 != nil || len(salt) == 0 || len(key) != hash().Size() {
			return nil, ErrHash
		}
		return &pbkdf2Hash{hash, iterations, salt, key}, nil
	}
}

func (p *pbkdf2Hash) needs() uint32              { return 0 }
func (p *pbkdf2Hash) isTooCostly(c *Config) bool { return p.iterations > uint64(c.MaxPBKDF2Iterations) }

func (p *pbkdf2Hash) matches(password string) bool {
	key, err := pbkdf2.Key(p.hash, password, p.salt, int(p.iterations), len(p.key))
	return err == nil && equal(key, p.key)
}

type scryptHash struct {
	logN, r, p uint64
	salt, key  []byte
}

// parsePasslibScrypt parses $scrypt$ln=16,r=8,p=1$salt$key.
func parsePasslibScrypt(text, prefix string) (storedHash, error) {
	fields := strings.Split(text[len(prefix):], "$")
	if len(fields) != 3 {
		return nil, ErrHash
	}
	costs := strings.Split(fields[0], ",")
	if len(costs) != 3 {
		return nil, ErrHash
	}
	var numbers [3]uint64
	for i, name := range []string{"ln=", "r=", "p="} {
		digits, found := strings.CutPrefix(costs[i], name)
		number, err := parseNumber(digits)
		if !found || err != nil {
			return nil, ErrHash
		}
		numbers[i] = number
	}
	salt, err := decode(encoding, fields[1])
	if err != nil {
		return nil, err
	}
	return newScrypt(numbers[0], numbers[1], numbers[2], salt, encoding, fields[2])
}

// parseDjangoScrypt parses scrypt$16384$salt$8$1$key.
func parseDjangoScrypt(text, prefix string) (storedHash, error) {
	fields := strings.Split(text[len(prefix):], "$")
	if len(fields) != 5 {
		return nil, ErrHash
	}
	n, err1 := parseNumber(fields[0])
	r, err2 := parseNumber(fields[2])
	p, err3 := parseNumber(fields[3])
	if err1 != nil || err2 != nil || err3 != nil || n < 2 || n&(n-1) != 0 {
		return nil, ErrHash
	}
	return newScrypt(uint64(bits.TrailingZeros64(n)), r, p, []byte(fields[1]), padded, fields[4])
}

func newScrypt(logN, r, p uint64, salt []byte, encoding *base64.Encoding, key string) (storedHash, error) {
	decoded, err := decode(encoding, key)
	if err != nil || len(salt) == 0 || len(decoded) < minKeyBytes || len(decoded) > maxKeyBytes {
		return nil, ErrHash
	}
	return &scryptHash{logN, r, p, salt, decoded}, nil
}

// isTooCostly bounds the memory of all p parts, N*r*p*128 bytes. They run one after the
// other, so that it bounds the time as well.
func (s *scryptHash) isTooCostly(c *Config) bool {
	limit := uint64(c.MaxMemory) * 1024 / 128
	return s.logN > 31 || s.r<<s.logN > limit || s.p > limit/(s.r<<s.logN)
}

// needs is that of one part, and of what all parts begin and end with.
func (s *scryptHash) needs() uint32 { return uint32(min((s.r<<s.logN+s.r*s.p)/8, math.MaxUint32)) }

func (s *scryptHash) matches(password string) bool {
	key, err := scrypt.Key([]byte(password), s.salt, 1<<s.logN, int(s.r), int(s.p), len(s.key))
	return err == nil && equal(key, s.key)
}
