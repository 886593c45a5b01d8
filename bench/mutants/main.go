// Command mutants shows which faults the tests do not notice. It puts small faults into the
// code of a package, one at a time, and runs the tests that cover it: those of the package,
// and if these notice nothing, those of the packages that use it. It takes some hours for
// all packages. Run it in the folder bench:
//
//	go run ./mutants                   every package
//	go run ./mutants tokens store/mail these
//
// The faults are made by gremlins (https://github.com/go-gremlins/gremlins). A fault that
// makes no difference to a user stands in alive.txt with the reason. Any other one that
// lives is printed, and the exit status is 1.
//
// Set OAUTHSV_TEST_JONGODB as for the tests, or the tests over MongoDB are left out.
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const gremlins = "github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0"

func main() {
	if filepath.Base(os.Args[0]) == "go" { // gremlins has called what it takes for go
		os.Exit(runTests(os.Args[1:]))
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run() error {
	workers := flag.Int("workers", 2, "how many faults are tried at a time")
	only := flag.String("only", "", "regular expression of the files to put faults into, such as rotation.go")
	keep := flag.String("keep", "", "folder for the answers of gremlins, and its log")
	again := flag.String("again", "", "folder of answers that -keep has kept: what was noticed then is not tried again")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = slices.Sorted(maps.Keys(plans))
	}
	for _, name := range packages {
		if _, known := plans[name]; !known {
			return fmt.Errorf("no plan for package %q: add it to plan.go", name)
		}
	}
	explained, err := readReasons("mutants/alive.txt")
	if err != nil {
		return err
	}
	top, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	directory, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	tool, err := install(directory)
	if err != nil {
		return err
	}
	if *keep == "" {
		*keep = directory
	}

	unexplained := 0
	for _, name := range packages {
		answer := answerPath(*keep, name)
		if err := mutate(tool, top, name, *only, *again, *workers, answer); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		result, err := readResult(answer, top, name)
		if err != nil {
			return err
		}
		unexplained += result.report(os.Stdout, explained)
	}
	if unexplained > 0 {
		return fmt.Errorf("%d faults live, or are not covered, and are not in alive.txt", unexplained)
	}
	return nil
}

// tools are the programs that a run needs.
type tools struct {
	gremlins string
	shim     string // the folder of a program go, which is this program
	realGo   string
}

// install builds gremlins, and this program as the go that gremlins calls.
func install(directory string) (tools, error) {
	realGo, err := exec.LookPath("go")
	if err != nil {
		return tools{}, err
	}
	build := exec.Command(realGo, "install", gremlins)
	build.Env = append(os.Environ(), "GOBIN="+directory)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return tools{}, fmt.Errorf("installing gremlins: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return tools{}, err
	}
	shim := filepath.Join(directory, "shim")
	if err := errors.Join(os.Mkdir(shim, 0o755), os.Symlink(self, filepath.Join(shim, "go"))); err != nil {
		return tools{}, err
	}
	return tools{filepath.Join(directory, "gremlins"), shim, realGo}, nil
}

// mutate runs gremlins over one package without those below it.
func mutate(tool tools, top, name, only, again string, workers int, answer string) error {
	arguments := []string{
		"unleash", "./" + name, "--output", answer, "--workers", fmt.Sprint(workers), "--timeout-coefficient", "50",
		"--coverpkg", "./" + name, "--exclude-files", `_(other|windows|darwin)\.go$`, "--exclude-files", "/",
	}
	if only != "" { // gremlins can only leave out
		files, err := filepath.Glob(filepath.Join(top, name, "*.go"))
		if err != nil {
			return err
		}
		arguments = append(arguments, excludeOthers(files, only)...)
	}
	command := exec.Command(tool.gremlins, arguments...)
	command.Dir = top
	command.Env = append(os.Environ(),
		"PATH="+tool.shim+string(os.PathListSeparator)+os.Getenv("PATH"), envGo+"="+tool.realGo, envPackage+"="+name,
		envTop+"="+top, envAgain+"="+again)
	progress, err := os.Create(strings.TrimSuffix(answer, ".json") + ".log")
	if err != nil {
		return err
	}
	defer progress.Close()
	command.Stdout, command.Stderr = progress, os.Stderr
	return command.Run()
}
