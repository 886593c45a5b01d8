package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fault is one that gremlins has put in.
type fault struct {
	file, kind, status string
	// code is the line with the changed operator in « ».
	code         string
	line, column int
}

// key is how alive.txt names a fault. It does not depend on the line's number.
func (f fault) key() string { return f.file + " " + f.kind + "\n" + f.code }

type result struct {
	name   string
	faults []fault
}

// readResult reads the answer of gremlins about a package.
func readResult(path, top, name string) (*result, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Files []struct {
			Name   string `json:"file_name"`
			Faults []struct {
				Kind   string `json:"type"`
				Status string `json:"status"`
				Line   int    `json:"line"`
				Column int    `json:"column"`
			} `json:"mutations"`
		} `json:"files"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := &result{name: name}
	for _, file := range answer.Files {
		base := filepath.Base(file.Name)
		source, err := os.ReadFile(filepath.Join(top, name, base))
		if err != nil {
			return nil, err
		}
		lines := strings.Split(string(source), "\n")
		for _, f := range file.Faults {
			r.faults = append(r.faults, fault{
				file: name + "/" + base, kind: f.Kind, status: f.Status, line: f.Line, column: f.Column, code: mark(lines[f.Line-1], f.Column-1),
			})
		}
	}
	return r, nil
}

// mark puts « » around the operator that begins at a byte of the line.
func mark(line string, at int) string {
	operator := operatorAt(line, at)
	return strings.TrimSpace(line[:at] + "«" + operator + "»" + line[at+len(operator):])
}

// operatorAt returns the operator that begins at a byte of the line.
func operatorAt(line string, at int) string {
	if at >= len(line) {
		return ""
	}
	if at+1 < len(line) && slices.Contains(longOperators, line[at:at+2]) {
		return line[at : at+2]
	}
	return line[at : at+1]
}

var longOperators = strings.Fields("== != <= >= && || ++ -- += -= *= /= << >>")

func answerPath(directory, name string) string {
	return filepath.Join(directory, strings.ReplaceAll(name, "/", "_")+".json")
}

// report prints the figures of a package, and each fault that lives without a reason. It
// returns how many these are.
func (r *result) report(w io.Writer, reasons map[string]string) (unexplained int) {
	count := make(map[string]int)
	withReason := 0
	var open []fault
	for _, f := range r.faults {
		count[f.status]++
		if f.status != "LIVED" && f.status != "NOT COVERED" {
			continue
		}
		if reasons[f.key()] != "" {
			withReason++
		} else {
			open = append(open, f)
		}
	}
	fmt.Fprintf(w, "%s: %d killed, %d timed out, %d alive, %d not covered (of these %d with a reason), %d do not compile\n",
		r.name, count["KILLED"], count["TIMED OUT"], count["LIVED"], count["NOT COVERED"], withReason, count["NOT VIABLE"])
	for _, f := range open {
		fmt.Fprintf(w, "\n%s:%d %s\n%s %s\n%s\n", f.file, f.line, strings.ToLower(f.status), f.file, f.kind, f.code)
	}
	return len(open)
}

// readReasons reads alive.txt: blocks of a line for the file and the kind of fault, a line for
// the code, and the reason.
func readReasons(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
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
		if len(lines) < 3 {
			return nil, fmt.Errorf("%s: this has no reason:\n%s", path, block)
		}
		reasons[lines[0]+"\n"+lines[1]] = lines[2]
	}
	return reasons, nil
}
