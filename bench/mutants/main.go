// Command mutants shows which faults the tests do not notice. It puts small faults into the code
// of a package, such as < for <=, and runs the tests with one of them at a time: the tests of the
// package, and if these notice nothing, those of other packages that plan.go names. Run it in the
// folder bench:
//
//	go run ./mutants                      every package of plan.go
//	go run ./mutants tokens store/mail    these
//
// All faults of a package are compiled in at once. Each stands behind a switch, and an environment
// variable says which one is on. So a fault costs a run of the tests, and no build.
//
// On two busy cores, grant with 228 faults took 2 minutes, tokens with 461 took 9, store with 513
// took 17, and store/mongostore with 212 took 30. What costs most is a fault that lives, since all
// tests run, and one that makes a test hang. If a run with -keep FOLDER is stopped by Ctrl-C, add
// -again FOLDER to the same command to go on. What was killed is not tried again then, even if tests
// have changed since.
//
// Each fault that lives is printed, with the block to add to alive.txt if the fault makes no
// difference to a user: replace the line of question marks by the reason. The exit status is 1 if a
// fault that lives has no reason. It is 1 as well if a block of alive.txt has no use any more: the
// tests notice its fault, or its line is gone.
//
// The faults are these: a comparison with its bound on the other side (< and <=, > and >=), or
// turned round (== and !=, < and >=); another operator for + - * / and %; ++ for --; a minus left
// out. Faults in && || ! += and the like, in constants, and in expressions that call recover are not
// tried, nor is a missing statement.
//
// Without a fault all tests must pass every time. A test that fails now and then makes a fault look
// noticed. The results of -keep say which test noticed which fault.
//
// Set OAUTHSV_TEST_JONGODB as for the tests, or the tests over MongoDB are left out. It needs a
// Unix with sh.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	workers := flag.Int("workers", 2, "how many faults are tried at a time")
	only := flag.String("only", "", "regular expression of the names of files to put faults into, without their folders, such as rotation.go")
	keep := flag.String("keep", "", "folder for the results, as JSON")
	again := flag.String("again", "", "folder that -keep has filled: what was killed then is not tried again")
	flag.Parse()
	files, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if *workers < 1 {
		return errors.New("-workers must be at least 1")
	}
	everyPackage := slices.Sorted(maps.Keys(plans))
	packages := flag.Args()
	if len(packages) == 0 {
		packages = everyPackage
	}
	for i, name := range packages {
		packages[i] = path.Clean(name)
		if _, known := plans[packages[i]]; !known {
			return fmt.Errorf("there is no package %q: the packages are %s; flags stand before them", name, strings.Join(everyPackage, " "))
		}
	}
	top, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	explained, err := readReasons(top, "mutants/alive.txt")
	if err != nil {
		return err
	}
	if err := checkFolders(*keep, *again); err != nil {
		return err
	}
	if os.Getenv("OAUTHSV_TEST_JONGODB") == "" {
		fmt.Fprintln(os.Stderr, "OAUTHSV_TEST_JONGODB is not set: no test over MongoDB runs")
	}

	problems, tried := 0, 0
	for _, name := range packages {
		known, err := readResult(*again, name)
		if err != nil {
			return err
		}
		t := trial{
			top: top, name: name, plan: plans[name], files: files, workers: *workers,
			patience: 30 * time.Second, progress: os.Stderr, known: known,
		}
		faults, err := t.run(ctx)
		all := err == nil && *only == ""
		err = errors.Join(err, writeResult(*keep, name, faults, all)) // what was tried before Ctrl-C counts too
		if err != nil && len(faults) > 0 {
			return fmt.Errorf("%s: %w (until then %s)", name, err, figures(faults))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tried += len(faults)
		problems += report(os.Stdout, name, files, faults, explained)
	}
	if tried == 0 {
		return errors.New("-only matches the name of no file that can have a fault")
	}
	if problems > 0 {
		return fmt.Errorf("%d faults to look at, or blocks of alive.txt to remove", problems)
	}
	return nil
}
