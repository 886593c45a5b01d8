package bench

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/store/transfer"
)

// importCount is how many accounts TestImport imports: OAUTHSV_BENCH_IMPORT, else few
// enough for a quick run. With many, it is good to have
//
//	OAUTHSV_BENCH_IMPORT=100000 go test -run '^TestImport$' -v -timeout 2h
func importCount() int {
	if n, err := strconv.Atoi(os.Getenv("OAUTHSV_BENCH_IMPORT")); err == nil && n > 0 {
		return n
	}
	return 1000
}

// otherHashes are hashes of "correct horse" from other systems.
var otherHashes = []string{
	"$2b$12$2WXTNNi9BUrQQHSCJ6n6V.dOuLz9MKGYFjMqbXlmU.v7G7j8CW0Oy",
	"$pbkdf2-sha256$29000$NUbIGUPoHWPM.T.HcM75nw$HbCWIPRnHzQUJXNncMemmXo2MogmV.OER.SkqJ/j9M8",
	"pbkdf2_sha256$600000$seaSALT12$RSoiE6CpDK0lK7c/STSg7N5AkalpHnLcAr4riZGhGug=",
	"$scrypt$ln=4,r=8,p=1$KCWEkJISovQ+Z0yJ8Z7T2g$d5mZenf4Z/MlBO7+IpZ1BcwfR5fuvkiBgq16Pqy1MGE",
	"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2E$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
}

// writeImport writes the accounts as JSON lines. One in 20 has a bare SHA-224 digest, and
// after each 1,000 there is a line that is cut off.
func writeImport(to io.Writer, count int) (broken int) {
	out := bufio.NewWriter(to)
	defer out.Flush()
	for i := range count {
		secret := fmt.Sprintf(`"password_hash":"%s"`, otherHashes[i%len(otherHashes)])
		if i%20 == 0 {
			secret = fmt.Sprintf(`"sha224":"%x"`, sha256.Sum224([]byte(strconv.Itoa(i))))
		}
		line := fmt.Sprintf(`{"account_id":"%024x","name":"account%d","email":"account%d@example.org","phone":"+49 30 %d",%s,"groups":["editors","readers"],"created":"2020-01-02T03:04:05.678Z"}`,
			i+1, i, i, i, secret)
		fmt.Fprintln(out, line)
		if i%1000 == 999 {
			broken++
			fmt.Fprintln(out, line[:len(line)/2])
		}
	}
	return broken
}

// TestImport is the time and the memory of an import into a file, and of a second run, which
// finds every account there.
func TestImport(t *testing.T) {
	count := importCount()
	path := filepath.Join(t.TempDir(), "accounts.jsonl")
	file, err := os.Create(path)
	require.NoError(t, err)
	broken := writeImport(file, count)
	require.NoError(t, file.Close())

	backend, err := boltstore.Open(filepath.Join(t.TempDir(), "import.db"), boltstore.Config{})
	require.NoError(t, err)
	defer backend.Close()
	config := password.Config{} // what a server has
	if count <= 1000 {
		config = password.Config{Memory: 8, Iterations: 1}
	}
	hasher, err := password.New(config)
	require.NoError(t, err)
	accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: hasher})
	require.NoError(t, err)
	for _, want := range []transfer.Counts{{Imported: count, Refused: broken}, {Present: count, Refused: broken}} {
		file, err := os.Open(path)
		require.NoError(t, err)
		defer file.Close()
		began := time.Now()
		counts, err := transfer.Import(t.Context(), transfer.Config{Accounts: accounts, Hasher: hasher}, transfer.ReadLines(file))
		require.NoError(t, err)
		assert.Equal(t, want, counts)
		t.Logf("%+v in %v, %s", counts, time.Since(began).Round(time.Millisecond), peak())
	}
}

// peak returns the most memory that this process has had, where the system tells.
func peak() string {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "VmHWM unknown"
}
