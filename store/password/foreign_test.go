package password_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store/password"
)

type knownHash struct{ name, hash string }

// knownHashes are hashes of "correct horse", made by the Python packages bcrypt 3.2.2,
// passlib 1.7.4, Django 3.2.25 and argon2-cffi, and hashlib in the form of Django 4's scrypt.
var knownHashes = []knownHash{
	{"bcrypt 2a", "$2a$04$dIf.ZbFUovdYwX3EZpCuru6sQHOmKjaCOUfo9RbKGhXyAIyylLGyq"},
	{"bcrypt 2b", "$2b$04$2WXTNNi9BUrQQHSCJ6n6V.dOuLz9MKGYFjMqbXlmU.v7G7j8CW0Oy"},
	{"bcrypt 2y", "$2y$04$ZLsXs.z5GYvu5jiEM0E4nOCoWAbksyBcJ2ThL.//meKTVPVzn3iYq"},
	{"passlib pbkdf2 sha1", "$pbkdf2$1000$/39vba1VitEa4zwnJETImQ$VpcC8SfXE03qD6u5B/XD4wsTRs0"},
	{"passlib pbkdf2 sha256", "$pbkdf2-sha256$1000$NUbIGUPoHWPM.T.HcM75nw$HbCWIPRnHzQUJXNncMemmXo2MogmV.OER.SkqJ/j9M8"},
	{"passlib pbkdf2 sha512", "$pbkdf2-sha512$1000$FqK0du5day2F8P5/T4nRGg$caBzhI7hnQ3slZjlfwBFC85PcjmdNa731JJhUoI1OQOlXOYvGTX7B6Pcw4snMA.f6pqJwYH2qEfWWoLW38XDrw"},
	{"passlib scrypt", "$scrypt$ln=4,r=8,p=1$KCWEkJISovQ+Z0yJ8Z7T2g$d5mZenf4Z/MlBO7+IpZ1BcwfR5fuvkiBgq16Pqy1MGE"},
	{"passlib scrypt, two parts", "$scrypt$ln=4,r=4,p=2$eW8tZew95/y/d07p/V+rFQ$iuYV0a7tlA0/CnwmInoT1f3TItS+TwjP7tZH8ubt9Oc"},
	{"Django pbkdf2 sha1", "pbkdf2_sha1$1000$seaSALT12$6EQztTp6bFzr1qcQc7i2VXwee4o="},
	{"Django pbkdf2 sha256", "pbkdf2_sha256$1000$seaSALT12$RSoiE6CpDK0lK7c/STSg7N5AkalpHnLcAr4riZGhGug="},
	{"Django scrypt", "scrypt$16$seaSALT12$8$1$J63GW/i8YmQw30wXk4NOHjhxaRC0wDZq5ZUkxnryYHrlrE6vvl8Ts8sFYt1884OZAsewepvh2vV8w+lC7OGTJQ=="},
	{"wrapped SHA-224", "$argon2id-sha224$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MCyRpM1kngsaS8BfI5LBIvUcuJWk4g29xArlNsna6n8"},
}

const scryptOf64KiB = "scrypt$64$seaSALT12$8$1$RxPkG7a/wYDr8eFvyjdplBHxehJ+SvEzbiZsREQsWWQrXBSKp6tVOOr3Okk+TalADU8Fh+rKeQ1mbyokciDExw=="

// decomposed is "café au lait" with a combining accent.
const decomposed = "cafe\u0301 au lait"

// hashesAsTyped are hashes of decomposed, made without Unicode normalization.
var hashesAsTyped = []knownHash{
	{"bcrypt", "$2b$04$/VLCiOMf8..E/RiOLlMLtOYWLmoEHL1MT3tBfS5Y4FrZGx/RK8Qq2"},
	{"pbkdf2", "$pbkdf2-sha256$1000$bk2p1VrL.X8vRegdQ.h9Dw$Hf82X6/KHAOMhVHeOSkF96DeAWDLbgb6icf4UdlWj80"},
	{"Django pbkdf2", "pbkdf2_sha256$1000$seaSALT12$KTG79enjhWrA90gRC7Mwzo12Qn4yTmv/dJt1i5CIAg4="},
	{"scrypt", "$scrypt$ln=4,r=8,p=1$JKQ0xpjzvneu9R6DEEKIMQ$gbXEP1i7K2xjzaBKgn1N/5yZpHTO74WPJ1fhOpd9ppU"},
	{"wrapped SHA-224", "$argon2id-sha224$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$u6tG/hkieXnQCmbno7/W0zdvK6tH61r3PkYJOwZoiG0"},
}

func TestVerifyKnowsHashesOfOtherSystems(t *testing.T) {
	hasher := newHasher(t, cheap)
	for _, known := range knownHashes {
		for guess, want := range map[string]bool{
			"correct horse": true, "correct horse ": false, "Correct horse": false, "": false,
			"correct horse\x00": false, "correct horse\x00correct horse": false,
		} {
			if guess == "correct horse\x00" && (strings.Contains(known.name, "pbkdf2") || strings.Contains(known.name, "scrypt")) {
				want = true // they build on HMAC, which fills its key up with NUL bytes
			}
			match, outdated, err := hasher.Verify(t.Context(), guess, stored(known.hash))
			require.NoError(t, err, known.name)
			assert.Equal(t, want, match, "%s: %q", known.name, guess)
			assert.Equal(t, want, outdated, "%s: %q", known.name, guess)
		}
	}
}

func TestVerifyTriesPasswordAsTyped(t *testing.T) {
	hasher := newHasher(t, cheap)
	verify := func(hash, guess string) (match, outdated bool) {
		match, outdated, err := hasher.Verify(t.Context(), guess, stored(hash))
		require.NoError(t, err)
		return match, outdated
	}
	for _, known := range hashesAsTyped {
		match, outdated := verify(known.hash, decomposed)
		assert.True(t, match && outdated, known.name)
		match, _ = verify(known.hash, decomposed+"!")
		assert.False(t, match, known.name)
	}
	composed, err := hasher.Hash(t.Context(), decomposed)
	require.NoError(t, err)
	for _, guess := range []string{decomposed, "caf\u00e9 au lait"} {
		match, outdated := verify(composed, guess)
		assert.True(t, match, "%q", guess)
		assert.False(t, outdated, "%q", guess)
	}
}

// TestBcryptSeesTheFirst72Bytes checks hashes of 100 times "x" and a "y".
func TestBcryptSeesTheFirst72Bytes(t *testing.T) {
	hasher := newHasher(t, cheap)
	for _, hash := range []string{
		"$2a$04$TN.q7WElnbFTC5JpbnTZae2sdKWjty6bQ93vscVs4cS1Gq8DvuOhy",
		"$2b$04$Q3T1WF4Pv6h..E/1KWV7JO/ldIFeOeLvicLBgbAb5HnJTyMXcXPGC",
		"$2y$04$2/.oBRaDxtECWBr9UFpS2OZ0cfl4W4KeBGclAp8HPb832WVnJi.NC",
	} {
		for guess, want := range map[string]bool{
			strings.Repeat("x", 71):              false,
			strings.Repeat("x", 72):              true,
			strings.Repeat("x", 72) + "anything": true,
			strings.Repeat("x", 71) + "y":        false,
			strings.Repeat("x", 72) + "\x00":     false,
		} {
			match, _, err := hasher.Verify(t.Context(), guess, stored(hash))
			require.NoError(t, err)
			assert.Equal(t, want, match, "%s: %q", hash, guess)
		}
	}
}

func TestWrapSHA224(t *testing.T) {
	hasher := newHasher(t, cheap)
	const digest = "be678ecb0e1e13fd0c1440995f43225ca83aeb66717e8ea790b867f2" // of "correct horse"
	for _, spelled := range []string{digest, strings.ToUpper(digest)} {
		hash, err := hasher.WrapSHA224(t.Context(), spelled)
		require.NoError(t, err)
		assert.Regexp(t, `^\$argon2id-sha224\$v=19\$m=8,t=1,p=1\$[^$]{22}\$[^$]{43}$`, hash)
		for guess, want := range map[string]bool{"correct horse": true, "battery staple": false, digest: false} {
			match, outdated, err := hasher.Verify(t.Context(), guess, stored(hash))
			require.NoError(t, err)
			assert.Equal(t, want, match, "%q", guess)
			assert.Equal(t, want, outdated, "%q", guess)
		}
	}
	for _, malformed := range []string{"", digest[1:], digest + "00", digest[1:] + "g", digest + "\n", "correct horse"} {
		_, err := hasher.WrapSHA224(t.Context(), malformed)
		assert.ErrorIs(t, err, password.ErrHash, "%q", malformed)
	}
}

func TestVerifyRefusesForeignHash(t *testing.T) {
	hasher := newHasher(t, cheap)
	for _, known := range knownHashes {
		cut := known.hash[:strings.LastIndexByte(known.hash, '$')+1]
		for _, malformed := range []string{known.hash + "$", known.hash + "\n", known.hash + "=", known.hash[:len(known.hash)-1], cut, " " + known.hash} {
			if strings.HasPrefix(malformed, "$2") && malformed == cut {
				continue // that is "$2a$04$", and checked below
			}
			match, _, err := hasher.Verify(t.Context(), "correct horse", stored(malformed))
			assert.ErrorIs(t, err, password.ErrHash, "%q", malformed)
			assert.False(t, match)
		}
	}
	byName := make(map[string]string)
	for _, known := range knownHashes {
		byName[known.name] = known.hash
	}
	for _, test := range []struct{ name, old, new string }{
		{"bcrypt 2a", "$2a", "$2x"},
		{"bcrypt 2a", "$2a", "$2"},
		{"bcrypt 2a", "$2a", "$3a"},
		{"bcrypt 2a", "$04", "$03"},
		{"bcrypt 2a", "$04", "$32"},
		{"bcrypt 2a", "$04", "$+4"},
		{"bcrypt 2a", "$04", "$4$"},
		{"bcrypt 2a", "dIf.", "dIf+"},
		{"passlib pbkdf2 sha1", "1000", "0"},
		{"passlib pbkdf2 sha1", "1000", "01000"},
		{"passlib pbkdf2 sha1", "1000", "+1000"},
		{"passlib pbkdf2 sha1", "1000", "-1000"},
		{"passlib pbkdf2 sha1", "1000", ""},
		{"passlib pbkdf2 sha1", "1000", "4294967296"},
		{"passlib pbkdf2 sha1", "$pbkdf2$", "$pbkdf2-sha256$"}, // a shorter key
		{"passlib pbkdf2 sha256", "M.T.H", "M+T+H"},
		{"passlib pbkdf2 sha256", "NUbIGUPoHWPM.T.HcM75nw", ""},
		{"passlib pbkdf2 sha256", "HcM75nw", "HcM75nx"}, // bits beyond the last byte
		{"passlib pbkdf2 sha256", "HcM75nw", "HcM7\n5nw"},
		{"passlib scrypt", "ln=4", "ln=0"},
		{"passlib scrypt", "ln=4", "N=16"},
		{"passlib scrypt", "ln=4,r=8", "r=8,ln=4"},
		{"passlib scrypt", ",p=1", ""},
		{"passlib scrypt", ",p=1", ",p=0"},
		{"passlib scrypt", "ovQ+Z", "ovQ.Z"},
		{"passlib scrypt", "KCWEkJISovQ+Z0yJ8Z7T2g", ""},
		{"Django pbkdf2 sha256", "seaSALT12", ""},
		{"Django pbkdf2 sha256", "sha256", "sha512"},
		{"Django pbkdf2 sha256", "GhGug=", "GhGug"},
		{"Django scrypt", "$16$", "$15$"},
		{"Django scrypt", "$16$", "$1$"},
		{"Django scrypt", "$16$", "$0$"},
		{"Django scrypt", "$8$1$", "$0$1$"},
		{"Django scrypt", "$8$1$", "$8$0$"},
		{"Django scrypt", "seaSALT12", ""},
		{"wrapped SHA-224", "sha224", "sha256"},
		{"wrapped SHA-224", "v=19", "v=16"},
		{"wrapped SHA-224", "t=2", "t=02"},
	} {
		require.Contains(t, byName[test.name], test.old)
		hash := strings.Replace(byName[test.name], test.old, test.new, 1)
		match, _, err := hasher.Verify(t.Context(), "correct horse", stored(hash))
		assert.ErrorIs(t, err, password.ErrHash, hash)
		assert.False(t, match, hash)
	}
}

func TestVerifyBoundsCostsOfForeignHash(t *testing.T) {
	config := password.Config{Memory: 8, Iterations: 1, MaxMemory: 64, MaxIterations: 2, Budget: 64, MaxBcryptCost: 5, MaxPBKDF2Iterations: 1000}
	hasher := newHasher(t, config)
	for _, test := range []struct {
		known, old, new string
		costly          bool
	}{
		{"bcrypt 2b", "$04", "$05", false},
		{"bcrypt 2b", "$04", "$06", true},
		{"bcrypt 2b", "$04", "$31", true},
		{"passlib pbkdf2 sha1", "1000", "1000", false},
		{"passlib pbkdf2 sha1", "1000", "1001", true},
		{"passlib pbkdf2 sha256", "1000", "1001", true},
		{"passlib pbkdf2 sha512", "1000", "4294967295", true},
		{"Django pbkdf2 sha1", "1000", "1000", false},
		{"Django pbkdf2 sha1", "1000", "1001", true},
		{"Django pbkdf2 sha256", "1000", "1001", true},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=6,r=8,p=1", false},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=7,r=8,p=1", true},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=6,r=9,p=1", true},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=5,r=8,p=2", false},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=5,r=8,p=3", true},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=1,r=1,p=256", false},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=1,r=1,p=257", true},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=64,r=1,p=1", true},
		{"passlib scrypt", "ln=4,r=8,p=1", "ln=31,r=4294967295,p=4294967295", true},
		{"Django scrypt", "$16$", "$64$", false},
		{"Django scrypt", "$16$", "$128$", true},
		{"Django scrypt", "$16$", "$2147483648$", true},
		{"wrapped SHA-224", "m=64,t=2", "m=64,t=2", false},
		{"wrapped SHA-224", "m=64,t=2", "m=65,t=2", true},
		{"wrapped SHA-224", "m=64,t=2", "m=64,t=3", true},
	} {
		for _, known := range knownHashes {
			if known.name != test.known {
				continue
			}
			require.Contains(t, known.hash, test.old)
			hash := strings.Replace(known.hash, test.old, test.new, 1)
			match, _, err := hasher.Verify(t.Context(), "correct horse", stored(hash))
			if test.costly {
				assert.ErrorIs(t, err, password.ErrTooCostly, hash)
			} else {
				assert.NoError(t, err, hash)
			}
			assert.Equal(t, test.old == test.new, match, hash)
		}
	}
}

// allocated returns how much memory, in KiB, one call of Verify takes in all.
func allocated(t *testing.T, hasher *password.Hasher, guess, hash string) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	match, _, _ := hasher.Verify(t.Context(), guess, stored(hash))
	runtime.ReadMemStats(&after)
	require.False(t, match)
	return (after.TotalAlloc - before.TotalAlloc) / 1024
}

// TestOldHashMakesFailedLoginsAlike takes the memory of the hashes for their work: a new hash
// needs 4 MiB here, and the old one 1 MiB.
func TestOldHashMakesFailedLoginsAlike(t *testing.T) {
	const key = "$8$1$J63GW/i8YmQw30wXk4NOHjhxaRC0wDZq5ZUkxnryYHrlrE6vvl8Ts8sFYt1884OZAsewepvh2vV8w+lC7OGTJQ=="
	config := password.Config{Memory: 4096, Iterations: 1}
	ours, err := newHasher(t, config).Hash(t.Context(), "secret")
	require.NoError(t, err)
	hashes := map[string]string{
		"no account": "", "malformed": "$1$", "too costly": "scrypt$16777216$salt" + key,
		"new": ours, "old": "scrypt$1024$salt" + key,
	}
	config.OldHash = "scrypt$1024$other" + key
	withOld := newHasher(t, config)
	config.OldHash = ""
	withoutOld := newHasher(t, config)
	for name, hash := range hashes {
		assert.InDelta(t, 5*1024, allocated(t, withOld, "guess", hash), 512, name)
		if name != "old" {
			assert.InDelta(t, 4*1024, allocated(t, withoutOld, "guess", hash), 512, name)
		}
		// As typed and in NFC: all is done for both.
		want := 10 * 1024
		assert.InDelta(t, want, allocated(t, withOld, decomposed, hash), 1024, "%s, two forms", name)
	}
}
