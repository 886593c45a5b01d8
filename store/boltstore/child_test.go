package boltstore_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// children are the functions that tests run in a child process. The child is this test
// binary again, and gets the path of a file.
var children = map[string]func(path string) error{}

const childVariable = "OAUTHSV_TEST_BOLT_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := children[name](os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		return
	}
	avoidDisk()
	os.Exit(m.Run())
}

func child(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), program, path)
	command.Env = append(os.Environ(), childVariable+"="+name)
	command.Stderr = os.Stderr
	return command
}

// number returns a number from the environment.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	if os.Getenv(variable) == "" {
		return otherwise
	}
	n, err := strconv.Atoi(os.Getenv(variable))
	require.NoError(t, err)
	return n
}
