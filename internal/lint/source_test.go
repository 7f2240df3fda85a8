package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

// module is the path of this module.
const module = "github.com/zctap/zctap"

// A source is one file of the repository.
type source struct {
	path string // from the repository's root, with slashes
	text string
	fset *token.FileSet
	file *ast.File // nil if it is not a Go file
}

// A rule returns what is wrong with the files, one complaint a line.
type rule func(files []*source) []string

// load reads the Go, assembly and Markdown files of a repository, and parses the
// first, but for those in folders that the go command ignores too.
func load(repo fs.FS) ([]*source, error) {
	var files []*source
	err := fs.WalkDir(repo, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if base != "." && (base[0] == '.' || base[0] == '_' || base == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		ext := path.Ext(base)
		if ext != ".go" && ext != ".s" && ext != ".md" {
			return nil
		}
		text, err := fs.ReadFile(repo, name)
		if err != nil {
			return err
		}
		s := &source{path: name, text: string(text)}
		if ext == ".go" {
			s.fset = token.NewFileSet()
			s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
		}
		files = append(files, s)
		return nil
	})
	return files, err
}

// pkg returns the folder of the file: for a Go file the path of its package
// below that of the module, "." for the root.
func (s *source) pkg() string { return path.Dir(s.path) }

// isTest reports whether the file is part of a package's tests only.
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// imports returns the import paths of the file by the name that each has in
// it; that of an import without one of its own is taken from the path.
func (s *source) imports() map[string]string {
	names := make(map[string]string)
	if s.file == nil {
		return names
	}
	for _, spec := range s.file.Imports {
		p := strings.Trim(spec.Path.Value, "\"`")
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
			if name == "_" || name == "." {
				name += p // these do not name it
			}
		}
		names[name] = p
	}
	return names
}

// at words a complaint about a place in the file.
func (s *source) at(node ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.fset.Position(node.Pos()).Line, fmt.Sprintf(format, args...))
}

// An example is a small repository and what a rule must say of it.
type example struct {
	name  string
	files fstest.MapFS
	want  []string
}

// repository makes a repository of one file.
func repository(path, text string) fstest.MapFS {
	return fstest.MapFS{path: {Data: []byte(text)}}
}

// testRule holds a rule against its examples: it must have every complaint
// that is wanted, and no other.
func testRule(t *testing.T, r rule, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			files, err := load(e.files)
			if err != nil {
				t.Fatal(err)
			}
			got := r(files)
			if strings.Join(got, "\n") != strings.Join(e.want, "\n") {
				t.Errorf("complaints:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(e.want, "\n"))
			}
		})
	}
}

func TestLoad(t *testing.T) {
	files, err := load(fstest.MapFS{
		"a.go":                 {Data: []byte("package a")},
		"b/b.md":               {Data: []byte("# b")},
		"b/b.txt":              {Data: []byte("b")},
		"b/b_amd64.s":          {Data: []byte("RET")},
		"b/testdata/c.go":      {Data: []byte("no Go")},
		".git/d.go":            {Data: []byte("no Go")},
		"b/_generated/e.go":    {Data: []byte("no Go")},
		"internal/f/f.go":      {Data: []byte("package f")},
		"internal/f/f_test.go": {Data: []byte("package f")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.path)
	}
	if got, want := strings.Join(paths, " "), "a.go b/b.md b/b_amd64.s internal/f/f.go internal/f/f_test.go"; got != want {
		t.Errorf("loaded %s, want %s", got, want)
	}
	if _, err := load(repository("bad.go", "no Go")); err == nil {
		t.Error("a file that does not parse was accepted")
	}
}
