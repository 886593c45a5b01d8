package password

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// phc holds the parts of a hash in PHC form.
type phc struct {
	memory, iterations uint32
	parallelism        uint8
	salt, key          []byte
}

var encoding = base64.RawStdEncoding.Strict()

const (
	phcPrefix     = "$argon2id$v="
	wrappedPrefix = "$argon2id-sha224$v="
	// The bounds of the PHC description of argon2. RFC 9106 allows longer salts and
	// keys, but nobody makes them.
	minSaltBytes, maxSaltBytes = 8, 48
	minKeyBytes, maxKeyBytes   = 16, 64
)

func (p *phc) String() string { return p.text(phcPrefix) }

func (p *phc) text(prefix string) string {
	return fmt.Sprintf("%s%d$m=%d,t=%d,p=%d$%s$%s", prefix, argon2.Version,
		p.memory, p.iterations, p.parallelism, encoding.EncodeToString(p.salt), encoding.EncodeToString(p.key))
}

// parsePHC accepts the form that text writes, and nothing else.
func parsePHC(hash, prefix string) (*phc, error) {
	rest, found := strings.CutPrefix(hash, prefix+strconv.Itoa(argon2.Version)+"$")
	fields := strings.Split(rest, "$")
	if !found || len(fields) != 3 {
		return nil, ErrHash
	}
	costs := strings.Split(fields[0], ",")
	if len(costs) != 3 {
		return nil, ErrHash
	}
	memory, err1 := parseCost(costs[0], "m=", 32)
	iterations, err2 := parseCost(costs[1], "t=", 32)
	parallelism, err3 := parseCost(costs[2], "p=", 8)
	salt, err4 := encoding.DecodeString(fields[1])
	key, err5 := encoding.DecodeString(fields[2])
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return nil, ErrHash
		}
	}
	parsed := &phc{memory: uint32(memory), iterations: uint32(iterations), parallelism: uint8(parallelism), salt: salt, key: key}
	switch {
	case memory < 8*parallelism,
		len(salt) < minSaltBytes, len(salt) > maxSaltBytes,
		len(key) < minKeyBytes, len(key) > maxKeyBytes,
		parsed.text(prefix) != hash: // leading zeros, plus signs, line breaks
		return nil, ErrHash
	}
	return parsed, nil
}

func (p *phc) derive(password string) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.iterations, p.memory, p.parallelism, uint32(len(p.key)))
}

func (p *phc) needs() uint32 { return p.memory }

func (p *phc) matches(password string) bool { return equal(p.derive(password), p.key) }

func (p *phc) isTooCostly(c *Config) bool {
	return p.memory > c.MaxMemory || p.iterations > c.MaxIterations || p.parallelism > c.MaxParallelism
}

// wrappedSHA224 is argon2id over the SHA-224 digest of a password, in lower-case
// hexadecimal digits.
type wrappedSHA224 struct{ *phc }

func (w wrappedSHA224) String() string { return w.text(wrappedPrefix) }

func (w wrappedSHA224) matches(password string) bool {
	digest := sha256.Sum224([]byte(password))
	return w.phc.matches(hex.EncodeToString(digest[:]))
}

func parseCost(field, name string, bits int) (uint64, error) {
	digits, found := strings.CutPrefix(field, name)
	if !found {
		return 0, ErrHash
	}
	cost, err := strconv.ParseUint(digits, 10, bits)
	if err != nil || cost == 0 {
		return 0, ErrHash
	}
	return cost, nil
}
