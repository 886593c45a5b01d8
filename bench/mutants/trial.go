package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// status is what became of a fault.
type status string

const (
	killed   status = "killed"
	timedOut status = "timed out" // the tests did not come to an end, which is noticed too
	alive    status = "alive"
	uncalled status = "not covered" // alive, and no test executes it
)

func (s status) noticed() bool { return s == killed || s == timedOut }

// trial tries the faults of one package.
type trial struct {
	top, name string
	plan      plan
	files     *regexp.Regexp // to put faults into
	workers   int
	// patience is how long tests may run in addition to five times what they take without a fault.
	patience time.Duration
	progress io.Writer
	// known has what an earlier run says of faults, by key.
	known map[string]fault
}

// run tries each fault. If ctx ends, it returns an error and those that it has tried.
func (t trial) run(ctx context.Context) ([]fault, error) {
	folder, err := temporaryFolder("")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	original, err := load(ctx, folder, t.top, t.name)
	if err != nil {
		return nil, err
	}
	faults, overlay, err := rewrite(original, t.files, folder)
	if err != nil || len(faults) == 0 {
		return nil, err
	}
	stages, err := t.build(ctx, overlay, folder)
	if err != nil {
		return nil, err
	}
	var took time.Duration
	for i := range stages {
		if err := stages[i].baseline(ctx, filepath.Join(folder, "reached")); err != nil {
			return nil, err
		}
		took += stages[i].took
	}
	fmt.Fprintf(t.progress, "%s: %d faults, without one the tests take %v\n", t.name, len(faults), took.Round(time.Second))
	if err := t.tryAll(ctx, stages, faults); err != nil {
		tried := make([]fault, 0, len(faults))
		for _, f := range faults {
			if f.Status != "" {
				tried = append(tried, f)
			}
		}
		return tried, err
	}
	return faults, nil
}

// tryAll sets the status of each fault. If ctx ends, or if tests cannot run, some have none.
func (t trial) tryAll(ctx context.Context, stages []stage, faults []fault) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan *fault)
	var workers sync.WaitGroup
	for range t.workers {
		workers.Go(func() {
			for f := range next {
				var err error
				if f.Status, f.By, err = try(ctx, stages, f.number, t.patience); err != nil {
					stop(err)
				}
			}
		})
	}
	for i := range faults {
		if i > 0 && i%50 == 0 {
			fmt.Fprintf(t.progress, "%s: %d of %d faults begun\n", t.name, i, len(faults))
		}
		f := &faults[i]
		if before := t.known[f.key()]; before.Status.noticed() {
			f.Status, f.By = before.Status, before.By
			continue
		}
		next <- f
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

// try runs the tests with one fault, stage by stage, until one notices it. The status is empty if
// ctx ends, or if the tests cannot run.
func try(ctx context.Context, stages []stage, number int, patience time.Duration) (status, string, error) {
	result := uncalled
	for _, s := range stages {
		if !s.reached[number] {
			continue
		}
		result = alive
		outcome := s.run(ctx, 5*s.took+patience, envFault+"="+strconv.Itoa(number))
		switch {
		case ctx.Err() != nil:
			return "", "", nil
		case outcome.mistake != nil:
			return "", "", outcome.mistake
		case outcome.timedOut:
			return timedOut, s.name, nil
		case outcome.failed != "":
			return killed, s.name + " " + outcome.failed, nil
		}
	}
	return result, "", nil
}

// baseline runs the tests without a fault. They must pass. It notes how long they take and which
// faults' code they execute.
func (s *stage) baseline(ctx context.Context, file string) error {
	begin := time.Now()
	outcome := s.run(ctx, 20*time.Minute, envReached+"="+file)
	s.took = time.Since(begin)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case outcome.mistake != nil:
		return outcome.mistake
	case outcome.timedOut:
		return fmt.Errorf("without a fault, the tests of %s take longer than 20 minutes", s.name)
	case outcome.failed != "":
		return fmt.Errorf("without a fault, the tests of %s must pass, but %s fails:\n%s", s.name, outcome.failed, outcome.output)
	}
	s.reached = make(map[int]bool)
	reached, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer reached.Close()
	for lines := bufio.NewScanner(reached); lines.Scan(); {
		if number, err := strconv.Atoi(lines.Text()); err == nil {
			s.reached[number] = true
		}
	}
	return os.Remove(file)
}
