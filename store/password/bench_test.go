package password_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store/password"
)

// BenchmarkFailedLogin compares the time of failed logins by the kind of the stored hash,
// without and with an OldHash that is one of them.
func BenchmarkFailedLogin(b *testing.B) {
	const scryptKey = "$J63GW/i8YmQw30wXk4NOHjhxaRC0wDZq5ZUkxnryYHrlrE6vvl8Ts8sFYt1884OZAsewepvh2vV8w+lC7OGTJQ=="
	plain := newHasher(b, password.Config{})
	ours, err := plain.Hash(b.Context(), "secret")
	require.NoError(b, err)
	wrapped, err := plain.WrapSHA224(b.Context(), "be678ecb0e1e13fd0c1440995f43225ca83aeb66717e8ea790b867f2")
	require.NoError(b, err)
	const bcrypt10 = "$2a$10$dIf.ZbFUovdYwX3EZpCuru6sQHOmKjaCOUfo9RbKGhXyAIyylLGyq"
	const bcrypt12 = "$2a$12$dIf.ZbFUovdYwX3EZpCuru6sQHOmKjaCOUfo9RbKGhXyAIyylLGyq"
	for _, test := range []struct{ name, hash, oldHash string }{
		{"no account", "", ""},
		{"argon2id", ours, ""},
		{"wrapped SHA-224", wrapped, ""},
		{"bcrypt 4", "$2a$04$dIf.ZbFUovdYwX3EZpCuru6sQHOmKjaCOUfo9RbKGhXyAIyylLGyq", ""},
		{"bcrypt 10", bcrypt10, ""},
		{"bcrypt 12", bcrypt12, ""},
		{"pbkdf2-sha256 29000", "$pbkdf2-sha256$29000$NUbIGUPoHWPM.T.HcM75nw$HbCWIPRnHzQUJXNncMemmXo2MogmV.OER.SkqJ/j9M8", ""},
		{"pbkdf2-sha256 600000", "pbkdf2_sha256$600000$seaSALT12$RSoiE6CpDK0lK7c/STSg7N5AkalpHnLcAr4riZGhGug=", ""},
		{"pbkdf2-sha256 5000000", "pbkdf2_sha256$5000000$seaSALT12$RSoiE6CpDK0lK7c/STSg7N5AkalpHnLcAr4riZGhGug=", ""},
		{"scrypt 16 MiB", "scrypt$16384$seaSALT12$8$1" + scryptKey, ""},
		{"scrypt 64 MiB", "scrypt$65536$seaSALT12$8$1" + scryptKey, ""},
		{"no account, old bcrypt 12", "", bcrypt12},
		{"argon2id, old bcrypt 12", ours, bcrypt12},
		{"bcrypt 12, old bcrypt 12", bcrypt12, bcrypt12},
	} {
		b.Run(test.name, func(b *testing.B) {
			hasher := newHasher(b, password.Config{OldHash: test.oldHash})
			_, err := hasher.Hash(b.Context(), "secret") // it knows its time then
			require.NoError(b, err)
			for b.Loop() {
				_, _, err := hasher.Verify(b.Context(), "guess", stored(test.hash))
				require.NoError(b, err)
			}
		})
	}
}
