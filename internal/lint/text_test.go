package lint

import (
	"fmt"
	"strings"
	"testing"
)

// checkUnsafe complains of unsafe outside the files that say so in their name.
func checkUnsafe(files []*source) []string {
	var complaints []string
	for _, f := range files {
		if strings.HasSuffix(f.path, "_unsafe.go") || strings.HasSuffix(f.path, "_unsafe_test.go") {
			continue
		}
		if f.file == nil {
			continue
		}
		for _, spec := range f.file.Imports {
			if spec.Path.Value == `"unsafe"` {
				complaints = append(complaints, f.at(spec, "unsafe belongs in a file named *_unsafe.go"))
			}
		}
	}
	return complaints
}

func TestUnsafe(t *testing.T) {
	const text = "package p\nimport _ \"unsafe\""
	testRule(t, checkUnsafe, []example{
		{name: "in its place", files: repository("a/ring_unsafe.go", text)},
		{name: "in its place in tests", files: repository("a/ring_unsafe_test.go", text)},
		{
			name:  "out of place",
			files: repository("a/ring.go", text),
			want:  []string{"a/ring.go:2: unsafe belongs in a file named *_unsafe.go"},
		},
		{
			name:  "out of place in tests",
			files: repository("a/ring_test.go", text),
			want:  []string{"a/ring_test.go:2: unsafe belongs in a file named *_unsafe.go"},
		},
		{name: "other imports", files: repository("a/ring.go", "package p\nimport \"fmt\"")},
	})
}

// maxLines is the length from which a file is taken to be about two subjects.
const maxLines = 500

// checkLength complains of files of code that are too long, tests aside.
func checkLength(files []*source) []string {
	var complaints []string
	for _, f := range files {
		if strings.HasSuffix(f.path, ".md") || f.isTest() {
			continue
		}
		if n := strings.Count(f.text, "\n"); n > maxLines {
			complaints = append(complaints, fmt.Sprintf("%s: %d lines, %d at most: one subject a file", f.path, n, maxLines))
		}
	}
	return complaints
}

func TestLength(t *testing.T) {
	lines := func(n int) string { return "package p" + strings.Repeat("\n", n) }
	testRule(t, checkLength, []example{
		{name: "at the limit", files: repository("a.go", lines(maxLines))},
		{
			name:  "past the limit",
			files: repository("a.go", lines(maxLines+1)),
			want:  []string{"a.go: 501 lines, 500 at most: one subject a file"},
		},
		{name: "tests", files: repository("a_test.go", lines(maxLines+1))},
		{
			name:  "assembly",
			files: repository("a_amd64.s", lines(maxLines+1)),
			want:  []string{"a_amd64.s: 501 lines, 500 at most: one subject a file"},
		},
		{name: "text", files: repository("a.md", lines(maxLines+1))},
	})
}

// openWords mark what somebody left for later. Put together here, so that this
// file does not hold them itself.
var openWords = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}

// checkWords complains of words that stand for unfinished work, in all files: what is missing belongs in an issue, what is decided in an ADR.
func checkWords(files []*source) []string {
	var complaints []string
	for _, f := range files {
		for i, line := range strings.Split(f.text, "\n") {
			for _, word := range openWords {
				if strings.Contains(line, word) {
					complaints = append(complaints, fmt.Sprintf("%s:%d: %s", f.path, i+1, word))
				}
			}
		}
	}
	return complaints
}

func TestWords(t *testing.T) {
	for _, word := range openWords {
		testRule(t, checkWords, []example{
			{
				name:  "Go",
				files: repository("a.go", "package p\n\n// "+word+": later\n"),
				want:  []string{"a.go:3: " + word},
			},
			{
				name:  "Markdown",
				files: repository("docs/a.md", "# A\n"+word),
				want:  []string{"docs/a.md:2: " + word},
			},
			{name: "lower case", files: repository("a.md", strings.ToLower(word))},
		})
	}
}
