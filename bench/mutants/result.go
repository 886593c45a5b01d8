package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// identity tells a fault from every other one of its package, as long as its line stays the same.
func (f fault) identity() string { return fmt.Sprint(f.key(), "\n", f.Occurrence) }

func resultPath(folder, name string) string {
	return filepath.Join(folder, strings.ReplaceAll(name, "/", "_")+".json")
}

// writeResult keeps the faults of a package in a folder, if there is one.
func writeResult(folder, name string, faults []fault) error {
	if folder == "" || len(faults) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(faults, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(resultPath(folder, name), text, 0o644))
}

// readResult returns what writeResult has kept, by identity. It is empty if that is nothing.
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
		known[f.identity()] = f
	}
	return known, nil
}
