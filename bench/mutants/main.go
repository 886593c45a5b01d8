// Command mutants shows which faults the tests do not notice. It puts small faults into the code
// of a package, such as < for <=, and runs the tests with one of them at a time: the tests of the
// package, and if these notice nothing, those of the packages that use it. Run it in the folder
// bench:
//
//	go run ./mutants                      every package
//	go run ./mutants tokens store/mail    these
//
// All faults of a package are compiled in at once. Each stands behind a switch, and an environment
// variable says which one is on. So a fault costs a run of the tests, and no build.
//
// On two busy cores, grant with 228 faults took 2 minutes, tokens with 461 took 9, store with 513
// took 17, and store/mongostore with 212 took 30. What costs most is a fault that lives, since all
// tests run, and one that makes a test hang. If a run with -keep is stopped by Ctrl-C, the same
// command with -again and the same folder goes on.
//
// Each fault that lives is printed, with the block to add to alive.txt if the fault makes no
// difference to a user: replace the line of question marks by the reason. The exit status is 1 if
// there is a fault without a reason, or if the tests notice the fault of a block in alive.txt, or
// its line is gone. A block holds for each line of the file that looks the same.
//
// Not tried are faults in constants (but for a minus sign), in the lengths of arrays, and in
// expressions that call recover. Without a fault all tests must pass, each time: a test that fails
// now and then makes a fault look noticed. The results of -keep say which test noticed which fault.
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
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	workers := flag.Int("workers", 2, "how many faults are tried at a time")
	only := flag.String("only", "", "regular expression of the files to put faults into, such as rotation.go")
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

	problems := 0
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
		err = errors.Join(err, writeResult(*keep, name, faults)) // what was tried before Ctrl-C counts too
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		problems += report(os.Stdout, name, files, faults, explained)
	}
	if problems > 0 {
		return fmt.Errorf("%d faults to look at, or blocks of alive.txt to remove", problems)
	}
	return nil
}
