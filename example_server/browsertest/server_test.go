package browsertest

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const rootPassword = "correct horse battery staple"

var binary, profile string

func TestMain(m *testing.M) {
	directory, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		panic(err)
	}
	binary, profile = filepath.Join(directory, "example_server"), filepath.Join(directory, "profile")
	build := exec.Command("go", "build", "-o", binary, "./example_server")
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		panic(string(output))
	}
	code := m.Run()
	closeBrowser()
	os.RemoveAll(directory)
	os.Exit(code)
}

// server is a running example server.
type server struct {
	url     string
	stderr  *lockedBuffer
	process *os.Process
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// start runs the example server. The reuse interval is 0 unless the arguments say otherwise,
// so that no test waits for its end.
func start(t *testing.T, arguments ...string) *server {
	t.Helper()
	command := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-store", "memory:", "-reuse-interval", "0"}, arguments...)...)
	command.Dir = t.TempDir()
	command.Env = []string{"OAUTHSV_ROOT_PASSWORD=" + rootPassword}
	s := &server{stderr: new(lockedBuffer)}
	command.Stderr = s.stderr
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, s.stderr)
	s.url, s.process = strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), command.Process
	return s
}

var codeInMail = regexp.MustCompile(`\\n([A-Z0-9]+(?:-[A-Z0-9]+)+)\\n`)

// code waits for the code of a mail to an address, in a server with -mail-to-log. It is the
// last one there.
func (s *server) code(t *testing.T, address string) (code string) {
	t.Helper()
	require.Eventually(t, func() bool {
		code = ""
		for line := range strings.Lines(s.stderr.String()) {
			if found := codeInMail.FindStringSubmatch(line); found != nil && strings.Contains(line, "to="+address) {
				code = found[1]
			}
		}
		return code != ""
	}, patience, 10*time.Millisecond, s.stderr)
	return code
}
