package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// source is a package as it stands on disk, parsed and typed.
type source struct {
	name   string // the folder, from the top of the module
	folder string
	fset   *token.FileSet
	files  []*ast.File
	texts  [][]byte // of the files
	info   *types.Info
	types  *types.Package
}

// load reads a package without its tests. What it imports is known from the compiler's export files.
func load(ctx context.Context, temporary, top, name string) (*source, error) {
	list := goCommand(ctx, temporary, top, "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,DepOnly", "./"+name)
	var complaints bytes.Buffer
	list.Stderr = &complaints
	output, err := list.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, complaints.Bytes())
	}
	s := &source{name: name, fset: token.NewFileSet(), info: &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}}
	exports := make(map[string]string)
	path := ""
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var listed struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
			DepOnly                 bool
		}
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[listed.ImportPath] = listed.Export
		if listed.DepOnly {
			continue
		}
		path, s.folder = listed.ImportPath, listed.Dir
		for _, file := range listed.GoFiles {
			if err := s.parse(file); err != nil {
				return nil, err
			}
		}
	}
	config := types.Config{Importer: importer.ForCompiler(s.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	s.types, err = config.Check(path, s.fset, s.files, s.info)
	return s, err
}

func (s *source) parse(file string) error {
	path := filepath.Join(s.folder, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(s.fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	s.files, s.texts = append(s.files, parsed), append(s.texts, text)
	return err
}

// goCommand is the command go in the folder of a package. If ctx ends, it is interrupted with the
// compilers that it has started. It leaves files in the temporary folder then.
func goCommand(ctx context.Context, temporary, folder string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GOTMPDIR="+temporary)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGINT) }
	command.WaitDelay = 10 * time.Second
	return command
}
