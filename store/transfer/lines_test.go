package transfer_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/transfer"
)

// secretPart is in every hash and digest of these tests. No reason may repeat it.
const secretPart = "5ec4e7"

// TestBrokenLinesAreRefused checks that each is refused with its number and a reason that
// helps, and that the lines around it are imported.
func TestBrokenLinesAreRefused(t *testing.T) {
	const bcrypt = "$2b$04$2WXTNNi9BUrQQHSCJ6n6V.dOuLz9MKGYFjMqbXlmU.v7G7j" + secretPart
	digest := strings.Repeat(secretPart, 9) + "ab"
	require.Len(t, digest, 56)
	const wrongHash = "password: malformed hash"
	tests := []struct{ line, reason string }{
		{`x` + secretPart, "the line is no JSON object"},
		{`{"name":"a1","email":"a1@example.org","password_hash":"` + bcrypt, "the line is no JSON"},
		{`{"name":"a1","email":"a1@example.org"} {}`, "the line is no JSON"},
		{`["a1","a1@example.org","` + secretPart + `"]`, "the line is no JSON object"},
		{`"` + secretPart + `"`, "the line is no JSON object"},
		{`null`, "the line is no JSON object"},
		{`{"name":"a1","email":"a1@example.org","password_hash":"` + bcrypt + `","password_hash":""}`, "the line holds a member twice"},
		{`{"name":"a1","email":"a1@example.org","x":{"` + secretPart + `":1}}`, "the line holds a member that is not known: see transfer.Record for those that are"},
		{`{"name":"a1","email":"a1@example.org","passwordHash":"` + secretPart + `"}`, "the line holds a member that is not known: see transfer.Record for those that are"},
		{`{"name":1,"email":"a1@example.org"}`, "name has the wrong type or form"},
		{`{"name":"a1","email":"a1@example.org","groups":"` + secretPart + `"}`, "groups has the wrong type or form"},
		{`{"name":"a1","email":"a1@example.org","groups":["a",7]}`, "groups has the wrong type or form"},
		{`{"name":"a1","email":"a1@example.org","disabled":"no"}`, "disabled has the wrong type or form"},
		{`{"name":"a1","email":"a1@example.org","password_hash":["` + secretPart + `"]}`, "password_hash has the wrong type or form"},
		{`{"name":"a1","email":"a1@example.org","created":"yesterday"}`, "created has the wrong type or form"},
		{`{"name":"a1","email":"a1@example.org","created":1234567890}`, "created has the wrong type or form"},
		{`{"name":"a1","email":"a1@example.org","x":"` + strings.Repeat("x", 1<<20) + `"}`, "the line is longer than 1048576 bytes"},
		{"{\"name\":\"a1\xff\",\"email\":\"a1@example.org\"}", "the line is not UTF-8"},
		{`{"name":"a1","email":"a1@example.org","phone":"\ud800"}`, "the line is no JSON"},
		{`{}`, "store: invalid name: must be 1 to 64 letters, digits, \".\", \"_\" or \"-\""},
		{`{"name":"a b","email":"a1@example.org"}`, "store: invalid name: must be 1 to 64 letters, digits, \".\", \"_\" or \"-\""},
		{`{"name":"a1","email":"a1"}`, "store: invalid email: must be one address such as name@example.org, of at most 254 bytes"},
		{`{"name":"a1","email":"a1@example.org","phone":"home"}`, "store: invalid phone: must be made of digits, spaces and the signs + - ( ) . / # * , ; x"},
		{`{"name":"a1","email":"a1@example.org","groups":["a b"]}`, `store: invalid group: must be 1 to 64 ASCII letters, digits, ".", "_", ":" or "-", and not "." or ".."`},
		{`{"name":"a1","email":"a1@example.org","password_hash":"secret ` + secretPart + `"}`, wrongHash},
		{`{"name":"a1","email":"a1@example.org","password_hash":"$1$` + secretPart + `$azfrPr6af3Fc7dLblQXVa0"}`, wrongHash},
		{`{"name":"a1","email":"a1@example.org","password_hash":"` + digest + `"}`, wrongHash},
		{`{"name":"a1","email":"a1@example.org","password_hash":"$2b$15$2WXTNNi9BUrQQHSCJ6n6V.dOuLz9MKGYFjMqbXlmU.v7G7j` + secretPart + `"}`, "password: the hash costs more than the configured maximum"},
		{`{"name":"a1","email":"a1@example.org","password_hash":"` + bcrypt + `","sha224":"` + digest + `"}`, "password_hash and sha224 cannot be combined"},
		{`{"name":"a1","email":"a1@example.org","sha224":"` + digest[1:] + `"}`, "password: malformed hash: a SHA-224 digest has 56 hexadecimal digits"},
		{`{"name":"a1","email":"a1@example.org","sha224":"` + digest[1:] + `g"}`, "password: malformed hash: a SHA-224 digest has 56 hexadecimal digits"},
		{`{"account_id":"00000000000000000000001","name":"a1","email":"a1@example.org"}`, "account_id: store: an account id must be 24 lower-case hexadecimal digits"},
		{`{"account_id":"00000000000000000000000A","name":"a1","email":"a1@example.org"}`, "account_id: store: an account id must be 24 lower-case hexadecimal digits"},
		{`{"account_id":"000000000000000000000000","name":"a1","email":"a1@example.org"}`, "account_id: must not be zero"},
		{`{"account_id":"0000000000000000000000bb","name":"TAKEN","email":"a1@example.org"}`, "store: another account has this name"},
		{`{"name":"a1","email":"Taken@example.org"}`, "store: another account has this email"},
		{`{"name":"a1","email":"a1@example.org","created":"9999-12-31T23:59:59-01:00"}`, "created: must be in the years 1 to 9999, in UTC"},
		{`{"name":"a1","email":"a1@example.org","last_action":"0000-01-01T00:00:00Z"}`, "last_action: must be in the years 1 to 9999, in UTC"},
	}
	accounts := newAccounts(t, memstore.New())
	require.Equal(t, 1, importFrom(t.Context(), t, accounts, strings.NewReader(`{"account_id":"0000000000000000000000aa","name":"taken","email":"taken@example.org"}`)).Imported)
	var text strings.Builder
	good := strings.SplitAfter(lines(len(tests)), "\n")
	for i, test := range tests {
		text.WriteString(test.line + "\n" + good[i])
	}
	result := importFrom(t.Context(), t, accounts, strings.NewReader(text.String()))
	require.NoError(t, result.err)
	assert.Equal(t, transfer.Counts{Imported: len(tests), Refused: len(tests)}, result.Counts)
	for i, test := range tests {
		assert.Equal(t, test.reason, result.refused[2*i+1], "%.100s", test.line)
	}
	for _, reason := range result.refused {
		assert.NotContains(t, reason, secretPart)
	}
	assert.Equal(t, 1+len(tests), strings.Count(export(t, accounts), "\n"), "every account can be shown")
}

// TestLinesFromOtherSystems checks what editors and other systems do to lines.
func TestLinesFromOtherSystems(t *testing.T) {
	const ada, bob = `{"name":"ada","email":"ada@example.org","groups":[]}`, `{"name":"bob","email":"bob@example.org"}`
	for name, test := range map[string]struct {
		text    string
		numbers []int
	}{
		"no newline at the end": {ada + "\n" + bob, []int{1, 2}},
		"CRLF":                  {ada + "\r\n" + bob + "\r\n", []int{1, 2}},
		"empty lines":           {"\n" + ada + "\n\n \t\r\n" + bob + "\n\n", []int{2, 5}},
		"byte order mark":       {"\ufeff" + ada + "\n" + bob, []int{1, 2}},
		"mark of an empty line": {"\ufeff\n" + ada + "\n" + bob, []int{2, 3}},
		"indented":              {"  " + ada + " \n\t" + bob, []int{1, 2}},
		"long":                  {ada + strings.Repeat(" ", 1<<20-len(ada)) + "\n" + bob, []int{1, 2}},
	} {
		var numbers []int
		var names []string
		for record, err := range transfer.ReadLines(strings.NewReader(test.text)) {
			require.NoError(t, err, name)
			numbers, names = append(numbers, record.Number), append(names, record.Name)
		}
		assert.Equal(t, test.numbers, numbers, name)
		assert.Equal(t, []string{"ada", "bob"}, names, name)
	}
	for range transfer.ReadLines(strings.NewReader("")) {
		t.Fatal("there is nothing")
	}
	for record, err := range transfer.ReadLines(strings.NewReader(ada + "\nx\n")) {
		require.NoError(t, err)
		require.Equal(t, 1, record.Number)
		break // the reader must not go on
	}
}
