package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// terminal is a terminal on which a command runs.
type terminal struct {
	keyboard *os.File // and the screen
	screen   *bufio.Reader
	line     *os.File // as the process sees it
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { master.Close() })
	var unlock, number int32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&number))
	line, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { line.Close() })
	return &terminal{master, bufio.NewReader(master), line}
}

func ioctl(t *testing.T, file *os.File, request uintptr, argument unsafe.Pointer) {
	t.Helper()
	_, _, err := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), request, uintptr(argument))
	require.Zero(t, err, err.Error())
}

func (m *terminal) echoes(t *testing.T) bool {
	t.Helper()
	var settings syscall.Termios
	ioctl(t, m.line, syscall.TCGETS, unsafe.Pointer(&settings))
	return settings.Lflag&syscall.ECHO != 0
}

// see reads from the screen until a text is there, and the echo is off.
func (m *terminal) see(t *testing.T, text string) (seen string) {
	t.Helper()
	for !strings.HasSuffix(seen, text) {
		b, err := m.screen.ReadByte()
		require.NoError(t, err, seen)
		seen += string(b)
	}
	for m.echoes(t) { // the prompt comes first
	}
	return seen
}

func (m *terminal) typeIn(t *testing.T, text string) {
	t.Helper()
	_, err := m.keyboard.WriteString(text)
	require.NoError(t, err)
}

// runOn starts a command on the terminal.
func (m *terminal) runOn(t *testing.T, directory string, arguments ...string) *process {
	t.Helper()
	command := command(directory, nil, arguments...)
	command.Stdin, command.Stderr = m.line, m.line
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return launch(t, command)
}

func TestPasswordIsAskedForWithoutEcho(t *testing.T) {
	a := &administered{t: t, directory: t.TempDir(), store: "bolt:test.db"}
	a.server(func(*process) {})
	m := openTerminal(t)
	for _, test := range []struct {
		second string
		status int
	}{{"plum engine garden", 1}, {"plum engine corner", 0}} {
		p := m.runOn(t, a.directory, "accounts", "-store", a.store, "passwd", "root")
		seen := m.see(t, "New password: ")
		m.typeIn(t, "plum engine corner\r")
		seen += m.see(t, "Once more: ")
		m.typeIn(t, test.second+"\r")
		_ = p.command.Wait()
		assert.Equal(t, test.status, p.command.ProcessState.ExitCode())
		assert.NotContains(t, seen, "plum")
		assert.True(t, m.echoes(t))
		if test.status != 0 {
			for !strings.Contains(seen, "nothing was changed") {
				b, err := m.screen.ReadByte()
				require.NoError(t, err)
				seen += string(b)
			}
			assert.Contains(t, seen, "the two passwords differ")
		}
		assert.NotContains(t, seen, "plum")
	}
	a.server(func(p *process) {
		status, _ := p.passwordGrant("root", "plum engine corner")
		assert.Equal(t, 200, status)
	})
}

// TestInterruptAtThePasswordBringsEchoBack: one Ctrl-C ends the command, and the shell after
// it shows what is typed.
func TestInterruptAtThePasswordBringsEchoBack(t *testing.T) {
	a := &administered{t: t, directory: t.TempDir(), store: "bolt:test.db"}
	a.server(func(*process) {})
	m := openTerminal(t)
	p := m.runOn(t, a.directory, "accounts", "-store", a.store, "passwd", "root")
	m.see(t, "New password: ")
	m.typeIn(t, "plum\x03")
	_ = p.command.Wait()
	assert.Equal(t, 1, p.command.ProcessState.ExitCode())
	assert.True(t, m.echoes(t))
	a.server(func(p *process) { p.login() })
}
