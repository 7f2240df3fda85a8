package lint

import (
	"io/fs"
	"os"
	"testing"
)

// TestRepository holds the rules against the repository that this package is
// part of.
func TestRepository(t *testing.T) {
	repo := os.DirFS("../..")
	files, err := load(repo)
	if err != nil {
		t.Fatal(err)
	}
	rules := []struct {
		name  string
		check rule
	}{
		{"layers", checkLayers},
		{"timeless", checkTimeless},
		{"unsafe", checkUnsafe},
		{"assembly", checkAssembly},
		{"points", checkPoints},
		{"length", checkLength},
		{"words", checkWords},
		{"docs", checkDocs},
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, c := range r.check(files) {
				t.Error(c)
			}
		})
	}
	t.Run("dependencies", func(t *testing.T) {
		page, err := fs.ReadFile(repo, "docs/dependencies.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"go.mod", "bench/go.mod"} {
			gomod, err := fs.ReadFile(repo, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range checkDependencies(string(gomod), string(page)) {
				t.Errorf("%s: %s", name, c)
			}
		}
	})
}
