package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// limits bounds the memory of tests: a fault can make a loop that never ends. It does not bound
// the address space, of which boltstore takes more than there is memory.
const limits = `ulimit -d 6000000; exec "$0" "$@"`

// stage is tests that run in one go: a test binary, and which of its tests.
type stage struct {
	name, folder, binary string
	selection            []string
	temporary            string // the folder for temporary files

	took    time.Duration
	reached map[int]bool // the faults whose code the tests execute
}

// build makes the test binaries of the rewritten package and of those outside, in the order in
// which they run.
func (t trial) build(ctx context.Context, overlay, folder string) ([]stage, error) {
	var stages []stage
	for i, name := range append([]string{t.name}, t.plan.outside...) {
		s := stage{
			name: name, folder: filepath.Join(t.top, name), temporary: folder,
			binary: filepath.Join(folder, fmt.Sprintf("%d.test", i)),
		}
		build := goCommand(ctx, s.temporary, s.folder, "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay="+overlay, "-o", s.binary)
		if output, err := build.CombinedOutput(); err != nil {
			return nil, s.explain(ctx, output, err)
		}
		if _, err := os.Stat(s.binary); err != nil {
			continue // it has no tests
		}
		if i > 0 || t.plan.slow == "" {
			stages = append(stages, s)
			continue
		}
		slow := s
		s.selection, slow.selection = []string{"-test.skip=" + t.plan.slow}, []string{"-test.run=" + t.plan.slow}
		stages = append(stages, s, slow)
	}
	return stages, nil
}

// explain says whose mistake it is that a test binary does not build.
func (s *stage) explain(ctx context.Context, output []byte, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	build := goCommand(ctx, s.temporary, s.folder, "test", "-c", "-vet=off", "-o", os.DevNull)
	if other, withoutFaults := build.CombinedOutput(); withoutFaults != nil {
		return fmt.Errorf("the tests in %s do not compile: %w\n%s", s.folder, withoutFaults, other)
	}
	return fmt.Errorf("a mistake of this tool: what it makes of the package does not compile in %s: %w\n%s", s.folder, err, output)
}

// outcome is what a run of tests says.
type outcome struct {
	// mistake is why the tests did not run, or did not end by themselves. It says nothing about
	// them.
	mistake  error
	failed   string // the first test that failed, or how the process ended; empty if all passed
	timedOut bool
	output   string // the end of it
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// run runs the tests of a stage with one more environment variable. What they leave is removed,
// processes and files.
func (s *stage) run(ctx context.Context, limit time.Duration, variable string) outcome {
	temporary, err := temporaryFolder(s.temporary)
	if err != nil {
		return outcome{mistake: err}
	}
	defer os.RemoveAll(temporary)
	ctx, cancel := context.WithTimeout(ctx, limit+15*time.Second)
	defer cancel()
	test := exec.CommandContext(ctx, "sh", "-c", limits, s.binary, "-test.paniconexit0", "-test.failfast", "-test.timeout="+limit.String())
	test.Args = append(test.Args, s.selection...)
	test.Dir = s.folder
	test.Env = append(os.Environ(), variable, "TMPDIR="+temporary)
	test.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killAll := func() error { return syscall.Kill(-test.Process.Pid, syscall.SIGKILL) }
	test.Cancel = killAll
	test.WaitDelay = 10 * time.Second
	var output tail
	test.Stdout, test.Stderr = &output, &output
	if err = test.Start(); err != nil {
		return outcome{mistake: err}
	}
	err = test.Wait()
	_ = killAll()
	o := outcome{output: string(output.text), timedOut: ctx.Err() != nil}
	if err == nil {
		return o
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && !o.timedOut {
		o.mistake = fmt.Errorf("the tests of %s were killed from outside, perhaps for want of memory", s.name)
	}
	o.failed = err.Error()
	if name := failedTest.FindStringSubmatch(o.output); name != nil {
		o.failed = name[1]
	}
	o.timedOut = o.timedOut || strings.Contains(o.output, "panic: test timed out after")
	return o
}

// temporaryFolder makes a folder that others may pass through, as /tmp is: a test can run its
// program as another user.
func temporaryFolder(parent string) (string, error) {
	folder, err := os.MkdirTemp(parent, "mutants")
	if err != nil {
		return "", err
	}
	return folder, os.Chmod(folder, 0o755)
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 64 << 10
	t.text = append(t.text, p...)
	if more := len(t.text) - most; more > most {
		t.text = append(t.text[:0], t.text[more:]...)
	}
	return len(p), nil
}
