package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// report prints the figures of a package, each fault that lives without a reason, and each reason
// that is none any more. It returns how many of these there are.
func report(w io.Writer, name string, files *regexp.Regexp, faults []fault, reasons map[string]string) (problems int) {
	living := make(map[string]bool) // by key
	explained := 0
	var open []fault
	for _, f := range faults {
		living[f.key()] = !f.Status.noticed()
		switch {
		case f.Status.noticed():
		case reasons[f.key()] != "":
			explained++
		default:
			open = append(open, f)
		}
	}
	fmt.Fprintf(w, "%s: %s (of these %d with a reason)\n", name, figures(faults), explained)
	for _, f := range open {
		fmt.Fprintf(w, "\n%s:%d %s\n%s\n???\n", f.File, f.Line, f.Status, f.key())
	}
	stale := 0
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		file, _, _ := strings.Cut(key, " ")
		if path.Dir(file) != name || !files.MatchString(path.Base(file)) {
			continue
		}
		lives, exists := living[key]
		switch {
		case !exists:
			fmt.Fprintf(w, "\nalive.txt is stale, there is no such fault:\n%s\n", key)
			stale++
		case !lives:
			fmt.Fprintf(w, "\nalive.txt is stale, the tests notice this fault:\n%s\n", key)
			stale++
		}
	}
	if len(open)+stale > 0 {
		fmt.Fprintln(w)
	}
	return len(open) + stale
}

func figures(faults []fault) string {
	count := make(map[status]int)
	for _, f := range faults {
		count[f.Status]++
	}
	return fmt.Sprintf("%d killed, %d timed out, %d alive, %d not covered", count[killed], count[timedOut], count[alive], count[uncalled])
}

// readReasons reads alive.txt: blocks of a line for the file and the kind of fault, a line for
// the code, and the reason. The files are below top.
func readReasons(top, path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("run it in the folder bench: %w", err)
	}
	if err != nil {
		return nil, err
	}
	reasons := make(map[string]string)
	for block := range strings.SplitSeq(string(text), "\n\n") {
		block = strings.TrimSpace(block)
		if block == "" || strings.HasPrefix(block, "#") {
			continue
		}
		lines := strings.SplitN(block, "\n", 3)
		if len(lines) < 3 || strings.Trim(lines[2], "? \n") == "" {
			return nil, fmt.Errorf("%s: this has no reason:\n%s", path, block)
		}
		file, _, _ := strings.Cut(lines[0], " ")
		if _, err := os.Stat(filepath.Join(top, file)); err != nil {
			return nil, fmt.Errorf("%s: a block is of no file: %w", path, err)
		}
		key := lines[0] + "\n" + lines[1]
		if reasons[key] != "" {
			return nil, fmt.Errorf("%s: there are two blocks for the same fault:\n%s", path, key)
		}
		reasons[key] = lines[2]
	}
	return reasons, nil
}
