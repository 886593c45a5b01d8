package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tiny makes a module of the package in testdata/tiny. At the end no temporary file may be left.
func tiny(t *testing.T) trial {
	top := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(top, "tiny"), os.DirFS("testdata/tiny")))
	require.NoError(t, os.WriteFile(filepath.Join(top, "go.mod"), []byte("module example.com\n\ngo 1.26.0\n"), 0o600))
	t.Setenv("TMPDIR", t.TempDir())
	t.Cleanup(func() {
		left, err := os.ReadDir(os.TempDir())
		assert.NoError(t, err)
		assert.Empty(t, left)
	})
	return trial{
		top: top, name: "tiny", plan: plan{slow: "Slow", outside: []string{"tiny/outside"}},
		files: regexp.MustCompile(""), workers: 2, patience: 2 * time.Second, progress: io.Discard,
	}
}

func TestEachFaultIsTried(t *testing.T) {
	trial := tiny(t)
	faults, err := trial.run(t.Context())
	require.NoError(t, err)
	seen := make(map[string]string)
	for _, f := range faults {
		seen[f.Kind+" "+f.Code] = strings.TrimSpace(string(f.Status) + " " + f.By)
	}
	assert.Equal(t, map[string]string{
		"INVERT_NEGATIVES var start = «-»amount(most)":                           "killed tiny TestCall",
		"ARITHMETIC_BASE return each «*» clock.Duration(times)":                  "killed tiny TestPause",
		"CONDITIONALS_BOUNDARY case n «<» 0:":                                    "killed tiny TestClass",
		"CONDITIONALS_NEGATION case n «<» 0:":                                    "killed tiny TestClass",
		"CONDITIONALS_NEGATION case n «==» 0:":                                   "killed tiny TestClass",
		"CONDITIONALS_NEGATION for i := uint(0); i «!=» n; i++ {":                "killed tiny TestSum",
		"INCREMENT_DECREMENT for i := uint(0); i != n; i«++» {":                  "timed out tiny",
		"ARITHMETIC_BASE sum = sum «+» 1<<n>>n":                                  "killed tiny TestSum",
		"CONDITIONALS_BOUNDARY if a «<» b {":                                     "alive",
		"CONDITIONALS_NEGATION if a «<» b {":                                     "killed tiny TestSlowLeast",
		"INCREMENT_DECREMENT c.calls[name]«++»":                                  "killed tiny TestCall",
		"ARITHMETIC_BASE return c.calls[name] «+» start":                         "killed tiny TestCall",
		"CONDITIONALS_NEGATION if caught := recover(); caught «!=» nil {":        "not covered",
		"INVERT_NEGATIVES func Outside(text string) int { return «-»len(text) }": "killed tiny/outside TestOutside",
	}, seen)

	var output strings.Builder
	problems := report(&output, "tiny", trial.files, faults, map[string]string{
		"tiny/tiny.go CONDITIONALS_BOUNDARY\nif a «<» b {":   "Equal values are the same.",
		"tiny/tiny.go CONDITIONALS_BOUNDARY\ncase n «<» 0:":  "It is noticed now.",
		"tiny/gone.go CONDITIONALS_BOUNDARY\ncase n «<» 0:":  "The file is gone.",
		"other/tiny.go CONDITIONALS_BOUNDARY\ncase n «<» 0:": "This package does not run.",
	})
	assert.Equal(t, 3, problems)
	assert.Equal(t, `tiny: 11 killed, 1 timed out, 1 alive, 1 not covered (of these 1 with a reason)

tiny/tiny.go:54 not covered
tiny/tiny.go CONDITIONALS_NEGATION
if caught := recover(); caught «!=» nil {
???

alive.txt is stale, there is no such fault:
tiny/gone.go CONDITIONALS_BOUNDARY
case n «<» 0:

alive.txt is stale, the tests notice this fault:
tiny/tiny.go CONDITIONALS_BOUNDARY
case n «<» 0:

`, output.String())

	folder := t.TempDir()
	require.NoError(t, writeResult(folder, "tiny", faults[:5], true))
	require.NoError(t, writeResult(folder, "tiny", faults[3:], false)) // such as those of some files
	trial.known, err = readResult(folder, "tiny")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(trial.top, "tiny/tiny_test.go"), []byte("package tiny\n"), 0o600))
	again, err := trial.run(t.Context())
	require.NoError(t, err)
	for i, f := range again {
		assert.Equal(t, faults[i].Status.noticed(), f.Status.noticed(), f.key())
	}
}

func TestTestsMustPassWithoutFault(t *testing.T) {
	trial := tiny(t)
	path := filepath.Join(trial.top, "tiny/tiny_test.go")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), "Sum(4) != 4", "Sum(4) == 4", 1)), 0o600))
	_, err = trial.run(t.Context())
	assert.ErrorContains(t, err, "without a fault, the tests of tiny must pass, but TestSum fails")
}

// TestTestsThatAreKilledNoticeNothing: what ends them from outside says nothing about a fault.
func TestTestsThatAreKilledNoticeNothing(t *testing.T) {
	trial := tiny(t)
	require.NoError(t, os.WriteFile(filepath.Join(trial.top, "tiny/outside/killed_test.go"), []byte(`package outside

import (
	"os"
	"syscall"
	"testing"
)

func TestKilled(*testing.T) {
	if os.Getenv("MUTANTS_FAULT") != "" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}
`), 0o600))
	_, err := trial.run(t.Context())
	assert.ErrorContains(t, err, "the tests of tiny/outside were killed from outside")
}

func TestReasonsAreChecked(t *testing.T) {
	top := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(top, "a.go"), nil, 0o600))
	path := filepath.Join(top, "alive.txt")
	_, err := readReasons(top, path)
	assert.ErrorContains(t, err, "run it in the folder bench")
	const block = "a.go CONDITIONALS_BOUNDARY\nif a «<» b {\n"
	for text, problem := range map[string]string{
		"# A comment.\n\n" + block + "A reason\nof two lines.\n":                        "",
		block + "One.\n\na.go CONDITIONALS_BOUNDARY 2\nif a «<» b {\nThe other line.\n": "",
		block:           "this has no reason",
		block + "???\n": "this has no reason",
		block + "One.\n\n" + block + "Another.\n":      "two blocks",
		strings.Replace(block, "a", "b", 1) + "One.\n": "no such file",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		reasons, err := readReasons(top, path)
		if problem == "" {
			assert.NoError(t, err)
			assert.NotEmpty(t, reasons)
		} else {
			assert.ErrorContains(t, err, problem, text)
		}
	}
}

func TestFoldersAreChecked(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.NoError(t, checkFolders("", ""))
	assert.NoError(t, checkFolders(filepath.Join(folder, "new"), folder))
	assert.ErrorContains(t, checkFolders(filepath.Join(file, "new"), ""), "-keep")
	assert.ErrorContains(t, checkFolders("", filepath.Join(folder, "none")), "-again")
	assert.ErrorContains(t, checkFolders("", file), "no folder")
}

func TestInterruptedTrialEnds(t *testing.T) {
	trial := tiny(t)
	trial.patience = time.Hour // for the fault that never ends
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	faults, err := trial.run(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	for _, f := range faults {
		assert.NotEmpty(t, f.Status)
	}
}
