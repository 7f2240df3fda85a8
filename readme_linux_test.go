package zctap_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The README's program is the tested example: each of its lines is there, in order.
func TestREADME(t *testing.T) {
	text := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// What it listens at differs.
		return regexp.MustCompile(`"[^"]*:\d+"`).ReplaceAllString(string(b), `ADDRESS`)
	}
	_, program, ok := strings.Cut(text("README.md"), "```go\n")
	program, _, closed := strings.Cut(program, "```\n")
	_, example, found := strings.Cut(text("example_linux_test.go"), "func Example() {\n")
	example, _, ended := strings.Cut(example, "\n}\n")
	if !ok || !closed || !found || !ended {
		t.Fatal("no program in README.md, or no Example")
	}
	lines := 0
	for line := range strings.Lines(program) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		lines++
		if _, example, found = strings.Cut(example, line); !found {
			t.Fatalf("README.md has %q, where the Example has not", line)
		}
	}
	if lines < 10 {
		t.Errorf("the README's program has %d lines", lines)
	}
}
