package lint

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// A layer says what the packages that match pattern may import of this module.
// A pattern is a path below the module's, "." for the root package, and with
// "/..." at its end also everything below.
type layer struct {
	pattern string
	imports []string
}

// layers is the house seen from the side: dependencies point down the list
// only. A package counts by the first pattern that matches it, and one that
// none matches may not exist: enter a new package here, and think.
var layers = []layer{
	{"cmd/zctap/...", []string{".", "cmd/zctap/...", "internal/...", "lab/..."}},
	{"lab/vfiouser", nil},
	{"lab/vfiouser/vfiousertest", []string{"lab/vfiouser"}},
	{"lab/gvnic", []string{"lab/vfiouser", "internal/wire", "internal/driver/...", "internal/buf"}},
	{"lab/internal/...", nil},
	{"lab/scenario", []string{"lab/..."}},
	{"lab", []string{"lab/vfiouser", "lab/gvnic", "lab/internal/...", "internal/pattern", "internal/testenv"}},
	{"test/packet", []string{".", "internal/..."}},
	{"test/sim", []string{"internal/..."}},
	{"test/exchanges", []string{"internal/wire"}},
	{"bench/...", []string{"test/sim", "internal/..."}}, // a module of its own
	{"internal/enginetest", []string{".", "internal/buf", "internal/pattern"}},
	{".", []string{
		"internal/engine/...", "internal/ifq", "internal/sockq", "internal/park",
		"internal/buf", "internal/driver/...", "internal/mono", "internal/netns", "internal/nic",
		"internal/steer", "internal/hostnet",
	}},

	{"internal/engine/kernel", []string{
		"internal/engine", "internal/ifq", "internal/sockq", "internal/park",
		"internal/buf", "internal/ksock", "internal/uring", "internal/nic", "internal/mono",
	}},
	{"internal/engine/user", []string{
		"internal/engine", "internal/ifq", "internal/sockq", "internal/park",
		"internal/buf", "internal/stack/...", "internal/driver/...", "internal/wire", "internal/mono",
	}},
	{"internal/engine", []string{"internal/sockq", "internal/park", "internal/buf", "internal/ifq", "internal/mono"}},

	{"internal/ifq", []string{"internal/buf"}},
	{"internal/stack", []string{
		"internal/stack/ip", "internal/stack/tcp", "internal/stack/udp", "internal/buf",
		"internal/wire", "internal/driver", "internal/sockq", "internal/park", "internal/mono", "internal/prefetch",
	}},
	{"internal/stack/tcp", []string{
		"internal/stack/ip", "internal/buf", "internal/wire", "internal/sockq", "internal/park", "internal/mono",
		"internal/reuse", "internal/prefetch",
	}},
	{"internal/stack/udp", []string{
		"internal/stack/ip", "internal/buf", "internal/wire", "internal/sockq", "internal/park", "internal/mono",
	}},
	{"internal/stack/ip", []string{"internal/wire", "internal/buf", "internal/driver", "internal/mono"}},
	{"internal/sockq", []string{"internal/park", "internal/buf", "internal/reuse", "internal/prefetch", "internal/owned", "internal/interleave/..."}},

	{"internal/driver/xdp/endtoend", []string{"internal/..."}}, // tests: the driver under its engine
	{"internal/driver/xdp", []string{
		"internal/driver", "internal/buf", "internal/wire", "internal/mono",
		"internal/shring", "internal/netns", "internal/steer", "internal/hostnet", "internal/nic",
	}},
	{"internal/driver", []string{"internal/buf", "internal/wire", "internal/mono"}},
	{"internal/driver/...", []string{
		"internal/driver", "internal/buf", "internal/wire", "internal/mono",
		"internal/shring", "internal/netns", "internal/uring",
	}},

	{"internal/buf", []string{"internal/owned", "internal/interleave/..."}},
	{"internal/owned", []string{"internal/interleave/..."}},
	{"internal/interleave/...", []string{"internal/interleave/...", "internal/owned"}}, // the latter: tests
	{"internal/prefetch", nil},
	{"internal/buf/buftest", []string{"internal/buf"}},
	{"internal/uring", []string{"internal/shring"}},
	{"internal/uring/uringtest", []string{"internal/uring", "internal/shring"}},
	{"internal/ksock", nil},
	{"internal/nic", nil},
	{"internal/steer", []string{"internal/wire"}},
	{"internal/hostnet", nil},
	{"internal/wire", nil},
	{"internal/shring", []string{"internal/interleave/..."}},
	{"internal/park", []string{"internal/interleave/..."}},
	{"internal/mono", nil},
	{"internal/reuse", nil},
	{"internal/pattern", nil},

	{"internal/netns", nil},
	{"internal/testenv", nil},
	{"internal/lint", nil},
}

// testSupport may be imported by the tests of any package.
var testSupport = []string{
	"internal/testenv", "internal/netns", "internal/enginetest", "internal/pattern", "internal/buf/buftest",
	"internal/driver", "internal/driver/mem", "internal/driver/impair", // a wire: what it is, good and bad
	"test/exchanges",                                        // recorded packets
	"internal/uring/uringtest", "lab/vfiouser/vfiousertest", // a kernel, and a guest's driver
}

// matches reports whether a package's path below the module's is one of a
// pattern's.
func matches(pattern, pkg string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return pkg == base || below && strings.HasPrefix(pkg, base+"/")
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// checkLayers complains of imports that go against the layers.
func checkLayers(files []*source) []string {
	var complaints []string
	unknown := make(map[string]bool)
	for _, f := range files {
		if f.file == nil || unknown[f.pkg()] {
			continue
		}
		i := slices.IndexFunc(layers, func(l layer) bool { return matches(l.pattern, f.pkg()) })
		if i < 0 {
			unknown[f.pkg()] = true
			complaints = append(complaints, f.at(f.file, "package %s is in no layer: see internal/lint", f.pkg()))
			continue
		}
		for _, spec := range f.file.Imports {
			pkg, ours := packageOf(strings.Trim(spec.Path.Value, "\"`"))
			switch {
			case !ours, pkg == f.pkg():
			case matchesAny(layers[i].imports, pkg):
			case f.isTest() && matchesAny(testSupport, pkg):
			default:
				complaints = append(complaints, f.at(spec, "package %s may not import %s", f.pkg(), pkg))
			}
		}
	}
	return complaints
}

// packageOf returns the part of an import path below that of this module, and
// whether it is of this module at all.
func packageOf(importPath string) (pkg string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func TestLayers(t *testing.T) {
	importing := func(pkgs ...string) string {
		text := "package p\n"
		for _, p := range pkgs {
			text += "import \"" + strings.TrimSuffix(module+"/"+p, "/.") + "\"\n"
		}
		return text
	}
	testRule(t, checkLayers, []example{
		{
			name:  "downwards",
			files: repository("internal/stack/a.go", importing("internal/stack/ip", "internal/wire", "internal/driver")),
		},
		{
			name:  "upwards",
			files: repository("internal/wire/a.go", "package wire\nimport \"fmt\"\n"+importing("internal/buf")[len("package p\n"):]),
			want:  []string{"internal/wire/a.go:3: package internal/wire may not import internal/buf"},
		},
		{
			name:  "the contract, not what fulfills it",
			files: repository("internal/stack/a.go", importing("internal/driver/tun", "internal/driver")),
			want:  []string{"internal/stack/a.go:2: package internal/stack may not import internal/driver/tun"},
		},
		{
			name:  "sideways",
			files: repository("internal/engine/user/a.go", importing("internal/engine/kernel")),
			want:  []string{"internal/engine/user/a.go:2: package internal/engine/user may not import internal/engine/kernel"},
		},
		{
			name:  "the root package from below",
			files: repository("internal/engine/a.go", importing(".")),
			want:  []string{"internal/engine/a.go:2: package internal/engine may not import ."},
		},
		{
			name:  "the command",
			files: repository("cmd/zctap/internal/cli/a.go", importing(".", "internal/netns", "internal/uring", "cmd/zctap/internal/table")),
		},
		{
			name:  "the library from the command only",
			files: repository("a.go", importing("cmd/zctap/internal/cli")),
			want:  []string{"a.go:2: package . may not import cmd/zctap/internal/cli"},
		},
		{
			name:  "test support in tests",
			files: repository("internal/wire/a_test.go", importing("internal/wire", "internal/testenv", "internal/netns", "internal/enginetest")),
		},
		{
			name:  "test support elsewhere",
			files: repository("internal/uring/a.go", importing("internal/testenv")),
			want:  []string{"internal/uring/a.go:2: package internal/uring may not import internal/testenv"},
		},
		{
			name:  "layers bind tests, too",
			files: repository("internal/wire/a_test.go", importing("internal/buf")),
			want:  []string{"internal/wire/a_test.go:2: package internal/wire may not import internal/buf"},
		},
		{
			name: "unknown package",
			files: fstest.MapFS{
				"internal/wired/a.go": {Data: []byte("package wired")},
				"internal/wired/b.go": {Data: []byte("package wired")},
			},
			want: []string{"internal/wired/a.go:1: package internal/wired is in no layer: see internal/lint"},
		},
	})
}
