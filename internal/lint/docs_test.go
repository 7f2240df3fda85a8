package lint

import (
	"go/ast"
	"testing"
)

// checkDocs complains of what a user of the root package can name and no
// comment explains: types, functions, methods, constants and variables. Fields
// may be told by the comment of their struct.
func checkDocs(files []*source) []string {
	var complaints []string
	for _, f := range files {
		if f.file == nil || f.isTest() || f.pkg() != "." {
			continue
		}
		for _, decl := range f.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if isAPI(d) && d.Doc == nil {
					complaints = append(complaints, f.at(d, "%s has no doc comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					complaints = append(complaints, f.undocumented(d, spec)...)
				}
			}
		}
	}
	return complaints
}

// isAPI reports whether a function, or a method and its type, are exported.
func isAPI(d *ast.FuncDecl) bool {
	if !d.Name.IsExported() {
		return false
	}
	if d.Recv == nil {
		return true
	}
	recv := d.Recv.List[0].Type
	for {
		switch t := recv.(type) {
		case *ast.StarExpr:
			recv = t.X
		case *ast.IndexExpr: // of a generic type
			recv = t.X
		case *ast.IndexListExpr:
			recv = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return true
		}
	}
}

// undocumented complains of one line of a declaration of constants, variables
// or types. A comment above the declaration, above the line or at its end will
// do; but in a group each type has its own.
func (f *source) undocumented(d *ast.GenDecl, spec ast.Spec) []string {
	var (
		names []*ast.Ident
		told  bool
	)
	switch s := spec.(type) {
	case *ast.ValueSpec:
		names = s.Names
		told = d.Doc != nil || s.Doc != nil || s.Comment != nil
	case *ast.TypeSpec:
		names = []*ast.Ident{s.Name}
		told = s.Doc != nil || d.Doc != nil && !d.Lparen.IsValid()
	}
	var complaints []string
	for _, name := range names {
		if name.IsExported() && !told {
			complaints = append(complaints, f.at(name, "%s has no doc comment", name.Name))
		}
	}
	return complaints
}

func TestDocs(t *testing.T) {
	const bare = `package zctap

func Open() {}
func open() {}

type Queue struct {
	Field, other int
	embedded
}
type queue struct{ Field int }

func (q *Queue) Close() {}
func (q *Queue) close() {}
func (q *queue) Close() {}

type List[E any] []E

func (l List[E]) Len() int { return 0 }

type Engine interface {
	Poll()
}

const A, b = 1, 2

var (
	V int
	w int
)

type (
	First  int
	second int
)
`
	const full = `package zctap

// Open opens.
func Open() {}

// A Queue queues.
type Queue struct {
	Field int
}

// Close closes.
func (q *Queue) Close() {}

// The errors.
var (
	ErrOne error
	ErrTwo error
)

const (
	A = 1 // the first
	// B is the second.
	B = 2
)
`
	testRule(t, checkDocs, []example{
		{
			name:  "bare",
			files: repository("zctap.go", bare),
			want: []string{
				"zctap.go:3: Open has no doc comment",
				"zctap.go:6: Queue has no doc comment",
				"zctap.go:12: Close has no doc comment",
				"zctap.go:16: List has no doc comment",
				"zctap.go:18: Len has no doc comment",
				"zctap.go:20: Engine has no doc comment",
				"zctap.go:24: A has no doc comment",
				"zctap.go:27: V has no doc comment",
				"zctap.go:32: First has no doc comment",
			},
		},
		{name: "full", files: repository("zctap.go", full)},
		{name: "tests", files: repository("zctap_test.go", bare)},
		{name: "below the root", files: repository("internal/buf/buf.go", bare)},
	})
}
