package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// plan says which tests cover a package.
type plan struct {
	// slow are tests of the package that are left out at first, as a regular expression. If
	// nothing was noticed, all of them run.
	slow string
	// outside are packages whose tests run if those of the package itself have noticed nothing.
	outside []string
	// nested is a module below the package whose tests run in the same way.
	nested string
}

var plans = map[string]plan{
	"tokens":                    {slow: "RandomSecrets|CacheChangesNoResult|NeverWaitsLong|ExposedKeyFile", outside: []string{"middleware", "grant", "."}},
	"store":                     {outside: []string{"store/memstore", "grant", "grant/selfservice", "grant/admin", "middleware", "."}},
	"store/boltstore":           {slow: "NoReadGoesBack|Damage|Kill|Upgrade|FlippedBit|FullDisk|UnderLoad|Format"},
	"store/mail":                {nested: "store/mail/smtptest"},
	"store/memstore":            {outside: []string{"store"}},
	"store/mongostore":          {slow: "TestUnreachable"},
	"store/password":            {slow: "WaitingHonoursContext", outside: []string{"store", "store/transfer"}},
	"store/storetest":           {outside: []string{"store/memstore"}},
	"store/transfer":            {},
	"grant":                     {slow: "Vanishes|BadTokenRequest|SlowBody|RequestAfterABadOne|OverTheBound", outside: []string{"grant/selfservice", "grant/admin", "."}},
	"grant/admin":               {slow: "ClientLeavesBackup"},
	"grant/selfservice":         {},
	"middleware":                {outside: []string{"grant", "grant/admin", "."}},
	"middleware/middlewaretest": {outside: []string{"middleware", "grant"}},
}

const (
	module     = "github.com/oauthsv/oauthsv"
	envGo      = "OAUTHSV_MUTANTS_GO"
	envPackage = "OAUTHSV_MUTANTS_PACKAGE"
	envTop     = "OAUTHSV_MUTANTS_TOP"
	envAgain   = "OAUTHSV_MUTANTS_AGAIN"

	notViable = 2 // the exit status of a fault that does not compile

	// limits bounds the memory of tests: a fault can make a loop that never ends.
	limits = `ulimit -v 12000000; exec "$0" "$@"`
)

// runTests does the work of go for gremlins, which knows only the tests of one package.
func runTests(arguments []string) int {
	name := os.Getenv(envPackage)
	plan := plans[name]
	if arguments[0] != "test" {
		return status(realGo(arguments...).Run())
	}
	if at := slices.Index(arguments, "-coverprofile"); at >= 0 {
		test := append(arguments[:at+2:at+2], "-count=1", "./"+name) // without those below
		command := realGo(append(test, paths(plan.outside)...)...)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if code := status(command.Run()); code != 0 || plan.nested == "" {
			return code
		}
		return status(coverNested(plan.nested, name, arguments[at+1]))
	}
	if readFormer(os.Getenv(envAgain), os.Getenv(envTop), name).noticed(workTree()) {
		return 1
	}
	test := []string{"test", "-vet=off", "-ldflags=-s -w", "-failfast", "-count=1", "-timeout=120s"}
	if plan.slow != "" {
		if code := noticed(append(test, "-skip="+plan.slow, "./"+name)); code != 0 {
			return code
		}
	}
	if code := noticed(append(test, "./"+name)); code != 0 {
		return code
	}
	if plan.nested != "" {
		if code := noticed(slices.Concat([]string{"-C", plan.nested}, test, []string{"."})); code != 0 {
			return code
		}
	}
	if len(plan.outside) == 0 {
		return 0
	}
	return noticed(append(test, paths(plan.outside)...))
}

// coverNested adds what the tests of a nested module cover of the package to the profile.
func coverNested(nested, name, profile string) error {
	more, err := os.CreateTemp("", "cover")
	if err != nil {
		return err
	}
	defer os.Remove(more.Name())
	defer more.Close()
	command := realGo("-C", nested, "test", "-count=1", "-coverpkg="+module+"/"+name, "-coverprofile="+more.Name(), ".")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return err
	}
	covered, err := io.ReadAll(more)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(profile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, lines, _ := bytes.Cut(covered, []byte("\n")) // without the mode
	_, err = file.Write(lines)
	return errors.Join(err, file.Close())
}

// noticed returns 0 if the tests have noticed nothing.
func noticed(test []string) int {
	command := realGo(test...)
	command.Dir = workTree()
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	code := status(command.Run())
	if code != 0 && strings.Contains(output.String(), "[build failed]") {
		return notViable
	}
	return code
}

// workTree is the copy of the module that gremlins has changed: it calls go in the folder of the
// package.
func workTree() string {
	directory, err := os.Getwd()
	if err != nil {
		return ""
	}
	for range strings.Count(os.Getenv(envPackage), "/") + 1 {
		directory = filepath.Dir(directory)
	}
	return directory
}

func realGo(arguments ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", limits, os.Getenv(envGo)}, arguments...)...)
}

func paths(packages []string) (paths []string) {
	for _, name := range packages {
		paths = append(paths, "./"+name)
	}
	return paths
}

func status(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// excludeOthers makes the flags that leave out the files that do not match.
func excludeOthers(files []string, only string) (flags []string) {
	wanted := regexp.MustCompile(only)
	for _, file := range files {
		if name := filepath.Base(file); !wanted.MatchString(name) {
			flags = append(flags, "--exclude-files", "^"+regexp.QuoteMeta(name)+"$")
		}
	}
	return flags
}
