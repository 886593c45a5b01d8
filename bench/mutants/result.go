package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func resultPath(folder, name string) string {
	return filepath.Join(folder, strings.ReplaceAll(name, "/", "_")+".json")
}

// writeResult keeps the faults of a package in a folder, if there is one. If they are not all, those
// that the folder has already stay there.
func writeResult(folder, name string, faults []fault, all bool) error {
	if folder == "" || len(faults) == 0 {
		return nil
	}
	if !all {
		before, err := readResult(folder, name)
		if err != nil {
			return err
		}
		for _, f := range faults {
			delete(before, f.key())
		}
		faults = slices.AppendSeq(slices.Clone(faults), maps.Values(before))
		slices.SortFunc(faults, func(a, b fault) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.key(), b.key()))
		})
	}
	text, err := json.MarshalIndent(faults, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(resultPath(folder, name), text, 0o644)
}

// readResult returns what writeResult has kept, by key. It is empty if that is nothing.
func readResult(folder, name string) (map[string]fault, error) {
	if folder == "" {
		return nil, nil
	}
	text, err := os.ReadFile(resultPath(folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the package was not part of that run
	}
	if err != nil {
		return nil, err
	}
	var faults []fault
	if err := json.Unmarshal(text, &faults); err != nil {
		return nil, fmt.Errorf("%s: %w", resultPath(folder, name), err)
	}
	known := make(map[string]fault, len(faults))
	for _, f := range faults {
		known[f.key()] = f
	}
	return known, nil
}

// checkFolders finds before the work, and not after it, that a folder for results cannot be used.
func checkFolders(keep, again string) error {
	if again != "" {
		if info, err := os.Stat(again); err != nil {
			return fmt.Errorf("-again: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("-again: %s is no folder", again)
		}
	}
	if keep == "" {
		return nil
	}
	if err := os.MkdirAll(keep, 0o755); err != nil {
		return fmt.Errorf("-keep: %w", err)
	}
	probe, err := os.CreateTemp(keep, "probe")
	if err != nil {
		return fmt.Errorf("-keep: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
