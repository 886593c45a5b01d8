package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// fault is a small fault in the code.
type fault struct {
	File string `json:"file"` // from the top of the module
	Line int    `json:"line"`
	Kind string `json:"kind"`
	// Code is the line with the changed operator in « ».
	Code string `json:"code"`
	// Occurrence tells lines of a file apart that are equal. It counts from 1.
	Occurrence int    `json:"occurrence"`
	Status     status `json:"status"`
	// By is the package and the first test that has noticed the fault.
	By string `json:"by,omitempty"`

	number int // what chooses the fault in the rewritten package, from 1
	column int
}

// key is how alive.txt names a fault. It does not depend on the line's number. The second of two
// equal lines has " 2" after the kind.
func (f fault) key() string {
	which := ""
	if f.Occurrence > 1 {
		which = fmt.Sprint(" ", f.Occurrence)
	}
	return f.File + " " + f.Kind + which + "\n" + f.Code
}

// rewriter writes a package anew, so that it has all faults behind switches.
type rewriter struct {
	*source
	types  typeNames
	faults []fault
	text   []byte // of the file in work
}

// rewrite writes the package with its faults into a folder, and returns the faults and the file for
// the flag -overlay of go. Only files that match get faults.
func rewrite(s *source, only *regexp.Regexp, folder string) ([]fault, string, error) {
	r := &rewriter{source: s, types: typeNames{own: s.types}}
	replace := make(map[string]string)
	write := func(name string, text []byte) error {
		replace[filepath.Join(s.folder, name)] = filepath.Join(folder, name)
		return os.WriteFile(filepath.Join(folder, name), text, 0o644)
	}
	for i, file := range s.files {
		name := filepath.Base(s.fset.Position(file.Package).Filename)
		if !only.MatchString(name) {
			continue
		}
		r.text = s.texts[i]
		if err := write(name, r.rewriteFile(file)); err != nil {
			return nil, "", err
		}
	}
	if err := write(switchFile, r.types.switches(s.files[0].Name.Name)); err != nil {
		return nil, "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, "", err
	}
	r.order()
	path := filepath.Join(folder, "overlay.json")
	return r.faults, path, os.WriteFile(path, overlay, 0o644)
}

// order sorts the faults by place, and counts those that look the same.
func (r *rewriter) order() {
	slices.SortStableFunc(r.faults, func(a, b fault) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return (a.Line-b.Line)*1000 + a.column - b.column
	})
	seen := make(map[string]int)
	for i := range r.faults {
		seen[r.faults[i].key()]++
		r.faults[i].Occurrence = seen[r.faults[i].key()]
	}
}

func (r *rewriter) rewriteFile(file *ast.File) []byte {
	var b strings.Builder
	done := 0
	for _, declaration := range file.Decls {
		from, to := r.span(declaration)
		b.Write(r.text[done:from])
		b.WriteString(r.render(declaration))
		done = to
	}
	b.Write(r.text[done:])
	return []byte(b.String())
}

// render returns the text of a node with its faults.
func (r *rewriter) render(node ast.Node) string {
	switch n := node.(type) {
	case *ast.GenDecl:
		if n.Tok != token.VAR {
			return r.plain(n)
		}
	case *ast.IncDecStmt:
		return r.step(n)
	case *ast.UnaryExpr:
		switch {
		case n.Op == token.SUB:
			return r.negative(n)
		case r.info.Types[n].Value != nil:
			return r.plain(n)
		}
	case *ast.BinaryExpr:
		return r.binary(n)
	}
	return r.renderChildren(node)
}

// renderChildren returns the text of a node that gets no fault itself.
func (r *rewriter) renderChildren(node ast.Node) string {
	var b strings.Builder
	done, end := r.span(node)
	ast.Inspect(node, func(child ast.Node) bool {
		if child == node || child == nil {
			return true
		}
		switch c := child.(type) {
		case *ast.CommentGroup:
			return false
		case *ast.GenDecl, *ast.IncDecStmt, *ast.UnaryExpr, *ast.BinaryExpr:
			from, to := r.span(child)
			b.Write(r.text[done:from])
			b.WriteString(r.render(child))
			done = to
			return false
		case ast.Expr:
			return r.info.Types[c].Value == nil // a constant stays as it is
		}
		return true
	})
	b.Write(r.text[done:end])
	return b.String()
}

func (r *rewriter) span(node ast.Node) (from, to int) {
	return r.fset.Position(node.Pos()).Offset, r.fset.Position(node.End()).Offset
}

// plain returns the text of a node as it stands.
func (r *rewriter) plain(node ast.Node) string {
	from, to := r.span(node)
	return string(r.text[from:to])
}

// add notes a fault whose operator is at a position, and returns its number.
func (r *rewriter) add(at token.Pos, operator token.Token, kind string) int {
	place := r.fset.Position(at)
	from := place.Offset - place.Column + 1
	line, _, _ := strings.Cut(string(r.text[from:]), "\n")
	before, after := line[:place.Column-1], line[place.Column-1+len(operator.String()):]
	r.faults = append(r.faults, fault{
		File: path.Join(r.name, filepath.Base(place.Filename)), Line: place.Line, column: place.Column, Kind: kind,
		Code: strings.TrimSpace(before + "«" + operator.String() + "»" + after), number: len(r.faults) + 1,
	})
	return len(r.faults)
}

// choice is the text of an expression that is faulty if the fault is on.
func choice(number int, typeName, faulty, right string) string {
	return fmt.Sprintf("m__(%d, func() %s { return %s }, func() %s { return %s })", number, typeName, faulty, typeName, right)
}
