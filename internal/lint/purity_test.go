package lint

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// timeless are the packages that are told what time it is: no clock, sleep or
// goroutine of their own (rule 3 of the design).
var timeless = []string{"internal/wire", "internal/buf", "internal/stack/..."}

// clocks are the functions that read a clock or wait for one, by import path.
var clocks = map[string][]string{
	"time": {
		"Now", "Since", "Until", "Sleep", "After", "AfterFunc",
		"Tick", "NewTicker", "NewTimer",
	},
	module + "/internal/mono": {"Now"},
}

// checkTimeless complains of clocks and goroutines in the packages that have
// none, their tests aside. A function that is passed on counts as used.
func checkTimeless(files []*source) []string {
	var complaints []string
	for _, f := range files {
		if f.file == nil || f.isTest() || !matchesAny(timeless, f.pkg()) {
			continue
		}
		imports := f.imports()
		for _, path := range slices.Sorted(maps.Keys(clocks)) {
			if _, ok := imports["."+path]; ok {
				complaints = append(complaints, f.at(f.file, "import of %s by dot in %s", path, f.pkg()))
			}
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				complaints = append(complaints, f.at(n, "goroutine in %s", f.pkg()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && slices.Contains(clocks[imports[x.Name]], n.Sel.Name) {
					complaints = append(complaints, f.at(n, "%s.%s in %s: have the time passed in", x.Name, n.Sel.Name, f.pkg()))
				}
			}
			return true
		})
	}
	return complaints
}

func TestTimeless(t *testing.T) {
	source := strings.Join([]string{
		"package p",
		"import (",
		"	clock \"time\"",
		"	\"" + module + "/internal/mono\"",
		")",
		"type now func() clock.Time",
		"const wait = 3 * clock.Second",
		"var f now = clock.Now",
		"func g(at mono.Time) {",
		"	clock.Sleep(wait)",
		"	if mono.Now() > at { return }",
		"	go func() { <-clock.After(wait) }()",
		"}",
	}, "\n")
	testRule(t, checkTimeless, []example{
		{
			name:  "timeless",
			files: repository("internal/stack/tcp/a.go", source),
			want: []string{
				"internal/stack/tcp/a.go:8: clock.Now in internal/stack/tcp: have the time passed in",
				"internal/stack/tcp/a.go:10: clock.Sleep in internal/stack/tcp: have the time passed in",
				"internal/stack/tcp/a.go:11: mono.Now in internal/stack/tcp: have the time passed in",
				"internal/stack/tcp/a.go:12: goroutine in internal/stack/tcp",
				"internal/stack/tcp/a.go:12: clock.After in internal/stack/tcp: have the time passed in",
			},
		},
		{name: "its tests", files: repository("internal/stack/tcp/a_test.go", source)},
		{name: "elsewhere", files: repository("internal/engine/a.go", source)},
		{
			name:  "dot",
			files: repository("internal/buf/a.go", "package buf\nimport . \"time\"\nvar t = Now()"),
			want:  []string{"internal/buf/a.go:1: import of time by dot in internal/buf"},
		},
		{
			name:  "a Now that is no clock",
			files: repository("internal/wire/a.go", "package wire\nfunc f(x struct{ Now int }) int { return x.Now }"),
		},
	})
}
