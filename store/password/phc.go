package password

import (
	"encoding/base64"
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
	phcPrefix = "$argon2id$v="
	// The bounds of the PHC description of argon2. RFC 9106 allows longer salts and
	// keys, but nobody makes them.
	minSaltBytes, maxSaltBytes = 8, 48
	minKeyBytes, maxKeyBytes   = 16, 64
)

func (p *phc) String() string {
	return fmt.Sprintf("%s%d$m=%d,t=%d,p=%d$%s$%s", phcPrefix, argon2.Version,
		p.memory, p.iterations, p.parallelism, encoding.EncodeToString(p.salt), encoding.EncodeToString(p.key))
}

// parsePHC accepts the form that String writes, and nothing else.
func parsePHC(hash string) (phc, error) {
	rest, found := strings.CutPrefix(hash, phcPrefix+strconv.Itoa(argon2.Version)+"$")
	fields := strings.Split(rest, "$")
	if !found || len(fields) != 3 {
		return phc{}, ErrHash
	}
	costs := strings.Split(fields[0], ",")
	if len(costs) != 3 {
		return phc{}, ErrHash
	}
	memory, err1 := parseCost(costs[0], "m=", 32)
	iterations, err2 := parseCost(costs[1], "t=", 32)
	parallelism, err3 := parseCost(costs[2], "p=", 8)
	salt, err4 := encoding.DecodeString(fields[1])
	key, err5 := encoding.DecodeString(fields[2])
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return phc{}, ErrHash
		}
	}
	parsed := phc{memory: uint32(memory), iterations: uint32(iterations), parallelism: uint8(parallelism), salt: salt, key: key}
	switch {
	case memory < 8*parallelism,
		len(salt) < minSaltBytes, len(salt) > maxSaltBytes,
		len(key) < minKeyBytes, len(key) > maxKeyBytes,
		parsed.String() != hash: // leading zeros, plus signs, line breaks
		return phc{}, ErrHash
	}
	return parsed, nil
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
