package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"
)

// The kinds of faults have the names that gremlins gives them
// (https://github.com/go-gremlins/gremlins).
const (
	boundary   = "CONDITIONALS_BOUNDARY"
	negation   = "CONDITIONALS_NEGATION"
	arithmetic = "ARITHMETIC_BASE"
	increment  = "INCREMENT_DECREMENT"
	negative   = "INVERT_NEGATIVES"
)

type change struct {
	kind string
	to   token.Token
}

// changes are what is put for the operator between two operands.
var changes = map[token.Token][]change{
	token.LSS: {{boundary, token.LEQ}, {negation, token.GEQ}},
	token.LEQ: {{boundary, token.LSS}, {negation, token.GTR}},
	token.GTR: {{boundary, token.GEQ}, {negation, token.LEQ}},
	token.GEQ: {{boundary, token.GTR}, {negation, token.LSS}},
	token.EQL: {{negation, token.NEQ}},
	token.NEQ: {{negation, token.EQL}},
	token.ADD: {{arithmetic, token.SUB}},
	token.SUB: {{arithmetic, token.ADD}},
	token.MUL: {{arithmetic, token.QUO}},
	token.QUO: {{arithmetic, token.MUL}},
	token.REM: {{arithmetic, token.MUL}},
}

// binary returns the text of x + y or x < y. Constants, and what Go allows no other operator for,
// stay as they are.
func (r *rewriter) binary(e *ast.BinaryExpr) string {
	if r.info.Types[e].Value != nil {
		return r.plain(e)
	}
	text := r.render(e.X) + " " + e.Op.String() + " " + r.render(e.Y)
	if callsRecover(e) {
		return text
	}
	name, ok := r.types.of(r.info.Types[e].Type)
	if !ok {
		return text
	}
	for _, c := range changes[e.Op] {
		if c.kind == arithmetic && !isNumber(r.info.Types[e].Type) || c.to == token.QUO && isZero(r.info.Types[e.Y].Value) {
			continue
		}
		number := r.add(e.OpPos, e.Op, c.kind)
		text = choice(number, name, r.plain(e.X)+" "+c.to.String()+" "+r.plain(e.Y), text)
	}
	return text
}

// negative returns the text of -x. It can be a constant, such as -1.
func (r *rewriter) negative(e *ast.UnaryExpr) string {
	known := r.info.Types[e]
	text := "-(" + r.plain(e.X) + ")"
	if known.Value == nil {
		text = "-(" + r.render(e.X) + ")"
	} else if !isSafeWithoutMinus(known) {
		return r.plain(e)
	}
	name, ok := r.types.of(known.Type)
	if !ok || callsRecover(e) {
		return text
	}
	return choice(r.add(e.OpPos, e.Op, negative), name, "+("+r.plain(e.X)+")", text)
}

// step returns the text of x++ or x--.
func (r *rewriter) step(s *ast.IncDecStmt) string {
	other := token.INC
	if s.Tok == token.INC {
		other = token.DEC
	}
	right := r.render(s.X) + s.Tok.String()
	number := r.add(s.TokPos, s.Tok, increment)
	return fmt.Sprintf("m__do(%d, func() { %s }, func() { %s })", number, r.plain(s.X)+other.String(), right)
}

// callsRecover reports whether an expression calls recover, which would do nothing behind a switch.
func callsRecover(e ast.Expr) (found bool) {
	ast.Inspect(e, func(node ast.Node) bool {
		name, ok := node.(*ast.Ident)
		found = found || ok && name.Name == "recover"
		return true
	})
	return found
}

func isNumber(t types.Type) bool {
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsNumeric != 0
}

func isZero(v constant.Value) bool { return v != nil && constant.Sign(v) == 0 }

// isSafeWithoutMinus reports whether a negative constant of a type has a positive one: the least
// number of a type has none.
func isSafeWithoutMinus(c types.TypeAndValue) bool {
	if c.Value.Kind() != constant.Int || !isNumber(c.Type) {
		return true
	}
	return constant.BitLen(c.Value) < 8*int(types.SizesFor("gc", "amd64").Sizeof(c.Type))
}

// typeNames gives the types of expressions names that stand for the same everywhere in the package,
// whatever a file imports and a function declares.
type typeNames struct {
	own     *types.Package
	imports []string // the path of m__p0 is the first
	aliases []string // what m__t0 stands for is the first
}

// of returns the name of a type. It has none if it is another package's own.
func (n *typeNames) of(t types.Type) (name string, ok bool) {
	switch t := types.Unalias(t).(type) {
	case *types.Basic:
		name = t.Name()
		if t.Info()&types.IsUntyped != 0 {
			name = types.Default(t).(*types.Basic).Name()
		}
		return n.alias(name), true
	case *types.TypeParam:
		return t.Obj().Name(), true
	case *types.Named:
		switch object := t.Obj(); {
		case t.TypeArgs().Len() > 0:
			return "", false
		case object.Pkg() == n.own && object.Parent() != n.own.Scope():
			return object.Name(), true // declared in a function
		case object.Pkg() == n.own:
			return n.alias(object.Name()), true
		case !object.Exported() || strings.Contains("/"+object.Pkg().Path()+"/", "/internal/"):
			return "", false
		default:
			return n.alias(numbered("m__p", &n.imports, object.Pkg().Path()) + "." + object.Name()), true
		}
	}
	return "", false
}

func (n *typeNames) alias(of string) string { return numbered("m__t", &n.aliases, of) }
