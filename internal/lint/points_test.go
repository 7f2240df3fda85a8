package lint

import (
	"strings"
	"testing"
	"testing/fstest"
)

// checkPoints holds the packages whose interleavings are explored to the rules of
// internal/interleave/atomic: they import sync/atomic, or the compiler would not inline all of its
// methods, but only as "_", as an operation by that name would be no point.
func checkPoints(files []*source) []string {
	const points = module + "/internal/interleave/atomic"
	explored, inlined := make(map[string]bool), make(map[string]bool)
	for _, f := range files {
		if f.isTest() {
			continue
		}
		imports := f.imports()
		explored[f.pkg()] = explored[f.pkg()] || imports["atomic"] == points
		inlined[f.pkg()] = inlined[f.pkg()] || imports["_sync/atomic"] != ""
	}
	var complaints []string
	for _, f := range files {
		if f.file == nil || f.isTest() || !explored[f.pkg()] {
			continue
		}
		for _, spec := range f.file.Imports {
			switch path := strings.Trim(spec.Path.Value, "\"`"); {
			case path == points && !inlined[f.pkg()]:
				complaints = append(complaints, f.at(spec, "package %s does not import sync/atomic: do so as _", f.pkg()))
			case path == "sync/atomic" && (spec.Name == nil || spec.Name.Name != "_"):
				complaints = append(complaints, f.at(spec, "package %s has interleave/atomic: use that", f.pkg()))
			}
		}
	}
	return complaints
}

func TestPoints(t *testing.T) {
	const points = `import "` + module + `/internal/interleave/atomic"` + "\n"
	testRule(t, checkPoints, []example{
		{
			name: "explored",
			files: fstest.MapFS{
				"internal/buf/a.go":      {Data: []byte("package buf\n" + points)},
				"internal/buf/b.go":      {Data: []byte("package buf\nimport _ \"sync/atomic\"\n" + points)},
				"internal/buf/a_test.go": {Data: []byte("package buf\nimport \"sync/atomic\"\n")},
			},
		},
		{
			name:  "not inlined",
			files: repository("internal/buf/a.go", "package buf\n"+points),
			want:  []string{"internal/buf/a.go:2: package internal/buf does not import sync/atomic: do so as _"},
		},
		{
			name: "no point",
			files: fstest.MapFS{
				"internal/buf/a.go": {Data: []byte("package buf\nimport _ \"sync/atomic\"\n" + points)},
				"internal/buf/b.go": {Data: []byte("package buf\nimport \"sync/atomic\"\n")},
			},
			want: []string{"internal/buf/b.go:2: package internal/buf has interleave/atomic: use that"},
		},
		{
			name:  "not explored",
			files: repository("internal/ifq/a.go", "package ifq\nimport \"sync/atomic\"\n"),
		},
	})
}
