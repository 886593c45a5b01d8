package main

import (
	"os"
	"path/filepath"
	"strings"
)

// former are the faults of a package as an earlier answer has them.
type former struct {
	top, name string
	faults    []fault
}

// readFormer reads the answer of an earlier run. It is nil if there is none.
func readFormer(directory, top, name string) *former {
	if directory == "" {
		return nil
	}
	result, err := readResult(answerPath(directory, name), top, name)
	if err != nil {
		return nil // the package was not part of it
	}
	return &former{top, name, result.faults}
}

// noticed reports whether the earlier run has noticed the fault that is in the work tree now. The
// code must be as it was then. Tests may have been added.
func (f *former) noticed(workTree string) bool {
	if f == nil {
		return false
	}
	files, err := filepath.Glob(filepath.Join(f.top, f.name, "*.go"))
	if err != nil {
		return false
	}
	for _, file := range files {
		before, errBefore := os.ReadFile(file)
		after, errAfter := os.ReadFile(filepath.Join(workTree, f.name, filepath.Base(file)))
		if errBefore != nil || errAfter != nil || string(before) == string(after) {
			continue
		}
		line, column, kind := difference(string(before), string(after))
		for _, known := range f.faults {
			if known.file == f.name+"/"+filepath.Base(file) && known.line == line && known.column == column && known.kind == kind {
				return known.status == "KILLED" || known.status == "TIMED OUT"
			}
		}
	}
	return false
}

var boundaries = map[[2]string]bool{{"<", "<="}: true, {"<=", "<"}: true, {">", ">="}: true, {">=", ">"}: true}

// difference returns where two sources differ, and the kind of the fault: of the two kinds that
// change a comparison, or empty for any other.
func difference(before, after string) (line, column int, kind string) {
	old, new := strings.Split(before, "\n"), strings.Split(after, "\n")
	for i := range min(len(old), len(new)) {
		if old[i] == new[i] {
			continue
		}
		at := 0
		for at < min(len(old[i]), len(new[i])) && old[i][at] == new[i][at] {
			at++
		}
		for at > 0 && strings.IndexByte("<>=!+-*/%", old[i][at-1]) >= 0 {
			at--
		}
		from, to := operatorAt(old[i], at), operatorAt(new[i], at)
		switch {
		case boundaries[[2]string{from, to}]:
			kind = "CONDITIONALS_BOUNDARY"
		case strings.ContainsAny(from, "<>=!") && !strings.ContainsAny(from, "+-*/%"):
			kind = "CONDITIONALS_NEGATION"
		case len(from) == 2 && from[0] == from[1]:
			kind = "INCREMENT_DECREMENT"
		case strings.ContainsAny(from, "+-*/%"):
			kind = "ARITHMETIC_BASE"
		}
		return i + 1, at + 1, kind
	}
	return 0, 0, ""
}
