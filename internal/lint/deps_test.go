package lint

import (
	"fmt"
	"strings"
	"testing"
)

// requirements returns the module paths that a go.mod requires.
func requirements(gomod string) []string {
	var paths []string
	block := false
	for line := range strings.Lines(gomod) {
		line, _, _ = strings.Cut(line, "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case block && fields[0] == ")":
			block = false
		case block:
			paths = append(paths, fields[0])
		case fields[0] == "require" && len(fields) > 1 && fields[1] == "(":
			block = true
		case fields[0] == "require" && len(fields) > 1:
			paths = append(paths, fields[1])
		}
	}
	return paths
}

// checkDependencies complains of modules that a go.mod requires and that the
// page about dependencies does not name.
func checkDependencies(gomod, page string) []string {
	words := make(map[string]bool)
	for _, w := range strings.FieldsFunc(page, func(r rune) bool { return strings.ContainsRune(" \t\r\n`|,;()[]@", r) }) {
		words[w] = true
	}
	var complaints []string
	for _, path := range requirements(gomod) {
		if !words[path] {
			complaints = append(complaints, fmt.Sprintf("go.mod requires %s, which docs/dependencies.md does not list", path))
		}
	}
	return complaints
}

func TestDependencies(t *testing.T) {
	const gomod = `module example.com/m

go 1.26.0

require example.com/single v1.2.3

require (
	example.com/direct v1.0.0
	example.com/indirect v0.0.5 // indirect
)

replace (
	example.com/replaced => ../replaced
)
`
	cases := []struct {
		name, page, want string
	}{
		{
			name: "all listed",
			page: "| `example.com/single` | v1.2.3 |\nexample.com/direct, example.com/indirect@v0.0.5 (both)\n",
		},
		{
			name: "one is only the beginning of another",
			page: "example.com/single example.com/directly example.com/indirect",
			want: "go.mod requires example.com/direct, which docs/dependencies.md does not list",
		},
		{
			name: "none",
			want: "go.mod requires example.com/single, which docs/dependencies.md does not list\n" +
				"go.mod requires example.com/direct, which docs/dependencies.md does not list\n" +
				"go.mod requires example.com/indirect, which docs/dependencies.md does not list",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(checkDependencies(gomod, c.page), "\n"); got != c.want {
				t.Errorf("complaints:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}
