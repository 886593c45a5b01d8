package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

func reasonOf(t testing.TB, policy PasswordPolicy, password, name, emailKey string) PasswordReason {
	t.Helper()
	policy.setDefaults()
	require.Empty(t, policy.problems())
	prepared, err := preparePassword(password)
	require.NoError(t, err)
	err = policy.check(context.Background(), prepared, name, emailKey)
	if err == nil {
		return ""
	}
	var refused *PasswordError
	require.ErrorAs(t, err, &refused)
	return refused.Reason
}

func TestPasswordPolicyRules(t *testing.T) {
	// 14 characters with nothing common in them.
	const fourteen = "Tz9 plum Kv3 o"
	require.Len(t, fourteen, 14)
	atLeast8 := PasswordPolicy{MinLength: 8}
	for _, test := range []struct {
		password string
		policy   PasswordPolicy
		want     PasswordReason
	}{
		{fourteen, PasswordPolicy{}, PasswordTooShort},
		{fourteen + "x", PasswordPolicy{}, ""},
		{fourteen[:7], atLeast8, PasswordTooShort},
		{fourteen[:8], atLeast8, ""},
		{strings.Repeat("ö", 7), atLeast8, PasswordTooShort}, // characters, not bytes
		{"Übergrö\u00dfe", atLeast8, ""},
		{"U\u0308bergr\u00f6", atLeast8, PasswordTooShort}, // 7 of them after NFC
		{strings.Repeat(fourteen, 18) + "1234", PasswordPolicy{}, ""},
		{strings.Repeat(fourteen, 18) + "12345", PasswordPolicy{}, PasswordTooLong},
		{strings.Repeat("\U0001f600\U0001f9ea\U0001f338\U0001f680\U0001f4a7", 51) + "x", PasswordPolicy{}, ""}, // 1,021 bytes
		{fourteen, PasswordPolicy{MinLength: 256}, PasswordTooShort},
		{strings.Repeat(fourteen, 18) + "1234", PasswordPolicy{MinLength: 256}, ""},

		// As a whole, and in lower case.
		{"baseball", atLeast8, PasswordCommon},
		{"BaseBall", atLeast8, PasswordCommon},
		{"passwordstandard", PasswordPolicy{}, PasswordCommon},
		{"my baseball is at home", PasswordPolicy{}, ""},
		{"baseball9", atLeast8, ""},
		{"baseballstarwars", PasswordPolicy{}, ""}, // two of them
		// Repetitions.
		{"baseballBASEBALL", PasswordPolicy{}, PasswordCommon},
		{"baseballbaseballbase", PasswordPolicy{}, PasswordCommon},
		{"baseballbaseball!", PasswordPolicy{}, ""},
		{"aaaaaaaaaaaaaaa", PasswordPolicy{}, PasswordCommon},
		{"!@#$%^&*()_+!@#", PasswordPolicy{}, PasswordCommon},
		{"x9x9x9x9x9x9x9x9", PasswordPolicy{}, PasswordCommon},
		{"k?7wk?7wk?7wk?7", PasswordPolicy{}, PasswordCommon},
		{"k?7wpk?7wpk?7wp", PasswordPolicy{}, ""}, // a unit of 5
		{"日本日本日本日本", atLeast8, PasswordCommon},
		// Rows.
		{"123456789012345", PasswordPolicy{}, PasswordCommon},
		{"543210987654321", PasswordPolicy{}, PasswordCommon},
		{"12345678987654321", PasswordPolicy{}, PasswordCommon},
		{"abcdefghijklmno", PasswordPolicy{}, PasswordCommon},
		{"xyzabcdefghijkl", PasswordPolicy{}, PasswordCommon}, // in a circle
		{"qwertyuqwertyuq", PasswordPolicy{}, PasswordCommon}, // a row, and its repetition is cut off
		{"QWERTYuiopasdfg", PasswordPolicy{}, PasswordCommon},
		{"qwertzuiopasdfg", PasswordPolicy{}, PasswordCommon},
		{"azertyuiopqsdfg", PasswordPolicy{}, PasswordCommon},
		{"йцукенгшщзхъфыва", PasswordPolicy{}, PasswordCommon},
		{"абвгдежзийклмно", PasswordPolicy{}, PasswordCommon},
		{"1qaz2wsx3edc4rfv", PasswordPolicy{}, PasswordCommon},
		{"zaq1xsw2cde3vfr4", PasswordPolicy{}, PasswordCommon},
		{"1q2w3e4r5t6y7u8i", PasswordPolicy{}, PasswordCommon},
		{"aaaabbbbccccdddd", PasswordPolicy{}, PasswordCommon},
		{"qwerty1234asdfgh", PasswordPolicy{}, PasswordCommon},
		{"qwe1234asdfghjkl", PasswordPolicy{}, ""}, // a row of 3 is none
		{"123456789012345x", PasswordPolicy{}, ""},
	} {
		assert.Equal(t, test.want, reasonOf(t, test.policy, test.password, "ada", "ada@example.org"), "%q", test.password)
	}
}

func TestPasswordPolicyRefusesThePersonal(t *testing.T) {
	const name, email = "ada.lovelace", "countess+x@analytical.example"
	for password, want := range map[string]PasswordReason{
		email:                           PasswordPersonal,
		"Ada.Lovelace7890":              PasswordPersonal,
		"Ada.Lovelace7x!q9Kb":           PasswordPersonal, // 7 others
		"Ada.Lovelace7x!q9Kbz":          "",               // 8
		"7x!Ada.Lovelaceq9Kb":           PasswordPersonal,
		"7x!Ada.Lovelaceq9Kbz":          "",
		"ada.lovelaceCOUNTESS+x":        PasswordPersonal,
		"x!q9countess+xZ7":              PasswordPersonal,
		"COUNTESS+x@analytical.EXAMPLE": PasswordPersonal,
		"countess+x@other.example.org":  "",
		"Lovelace built no engine":      "",
	} {
		assert.Equal(t, want, reasonOf(t, PasswordPolicy{}, password, name, email), "%q", password)
	}
	atLeast8 := PasswordPolicy{MinLength: 8}
	for _, test := range []struct {
		password, name, email string
		want                  PasswordReason
	}{
		{"x7kQ2pal", "al", "a@b.example", ""}, // too short to mean the name
		{"x7kQ2ada", "ada", "", PasswordPersonal},
		{"x7kQ2ada", "", "ada@example.org", PasswordPersonal},
		{"x7kQ2ada", "", "", ""},
		{"E\u0301toile7!", "\u00e9toile", "", PasswordPersonal},
		{"\u00c9toile7!", "\u00e9toile", "", PasswordPersonal},
		{"ada.lovelace.ada.k7#", "ada", "ada.lovelace@example.org", PasswordPersonal}, // the longer first
		{"ada.lovelace.ada.k7#", "ada.lovelace", "ada@example.org", PasswordPersonal},
	} {
		assert.Equal(t, test.want, reasonOf(t, atLeast8, test.password, test.name, test.email), "%q", test.password)
	}
}

func TestPasswordErrorSpeaksToUserAndProgram(t *testing.T) {
	var policy PasswordPolicy
	policy.setDefaults()
	for _, password := range []string{"Zq7short", strings.Repeat("Zq7long", 40), "BaseballBaseball", "ada.lovelace.ada"} {
		err := policy.check(t.Context(), password, "ada.lovelace", "ada@example.org")
		require.ErrorIs(t, err, ErrInvalid, password)
		var invalid *InvalidError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, "password", invalid.Field)
		assert.Contains(t, invalid.Reason, "must")
		assert.NotContains(t, strings.ToLower(err.Error()), strings.ToLower(password))
		assert.Equal(t, invalid.Error(), err.Error())
	}
}

func TestPasswordPolicyAsksRefuseLast(t *testing.T) {
	stolen := errors.New("must not be in the list of stolen passwords")
	down := fmt.Errorf("the list is away: %w", ErrUnavailable)
	var asked []string
	var answer error
	policy := PasswordPolicy{Refuse: func(_ context.Context, password string) error {
		asked = append(asked, password)
		return answer
	}}
	policy.setDefaults()
	check := func(password string) error {
		prepared, err := preparePassword(password)
		require.NoError(t, err)
		return policy.check(t.Context(), prepared, "ada", "ada@example.org")
	}

	require.ErrorIs(t, check("short"), ErrInvalid)
	require.ErrorIs(t, check("baseballbaseball"), ErrInvalid)
	assert.Empty(t, asked, "the other rules refused")
	require.NoError(t, check("Cafe\u0301 at the corner"))
	assert.Equal(t, []string{"Caf\u00e9 at the corner"}, asked, "in NFC, in its own case")

	answer = stolen
	err := check("Cafe\u0301 at the corner")
	var refused *PasswordError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, PasswordRefused, refused.Reason)
	assert.Equal(t, stolen.Error(), refused.Text)
	assert.ErrorIs(t, err, stolen)
	assert.ErrorIs(t, err, ErrInvalid)

	answer = down
	assert.Equal(t, down, check("Caf\u00e9 at the corner"))
	for _, answer = range []error{context.Canceled, fmt.Errorf("asking the list: %w", context.DeadlineExceeded)} {
		err := check("Caf\u00e9 at the corner")
		assert.ErrorIs(t, err, ErrUnavailable)
		assert.ErrorIs(t, err, answer)
		assert.NotErrorIs(t, err, ErrInvalid)
	}
}

// TestCommonPasswordsAreUsable checks the form of the list, on which the look-up rests.
func TestCommonPasswordsAreUsable(t *testing.T) {
	assert.Less(t, len(commonPasswordsFile), 40_000)
	assert.Greater(t, len(commonPasswords()), 3_000)
	last := ""
	for line := range strings.Lines(commonPasswordsFile) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			require.Empty(t, last, "comments come first")
			continue
		}
		require.GreaterOrEqual(t, len(line), 8, line)
		require.Equal(t, foldCase(line), line)
		require.Less(t, last, line, "sorted, and none twice")
		last = line
		require.Equal(t, PasswordCommon, reasonOf(t, PasswordPolicy{MinLength: 8}, strings.ToUpper(line), "", ""), line)
	}
}

// swapCase swaps the case of ASCII letters.
func swapCase(text string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r ^ 0x20
		}
		return r
	}, text)
}

func FuzzPolicy(f *testing.F) {
	f.Add("BaseballBaseball", "ada", "ada@example.org")
	f.Add("qwertyuiop12345", "", "")
	f.Add("Ada.Lovelace7x!q", "ada.lovelace", "")
	f.Add("U\u0308bergro\u0308\u00dfen sind gut", "\u00fcber", "\u00fcber@example.org")
	policy := PasswordPolicy{MinLength: 8}
	f.Fuzz(func(t *testing.T, password, name, emailKey string) {
		prepared, err := preparePassword(password)
		if err != nil {
			return
		}
		reason := reasonOf(t, policy, prepared, name, emailKey)
		require.NotEqual(t, PasswordRefused, reason)
		require.Equal(t, isCommon(foldCase(prepared)), isCommon(foldCase(swapCase(prepared))))
		if decomposed := norm.NFD.String(prepared); len(decomposed) <= maxPasswordBytes {
			require.Equal(t, reason, reasonOf(t, policy, decomposed, name, emailKey))
		}
		if err := policy.check(t.Context(), prepared, name, emailKey); err != nil {
			var refused *PasswordError
			require.ErrorAs(t, err, &refused)
			require.True(t, strings.HasPrefix(refused.Text, "must "), refused.Text)
		}
	})
}
