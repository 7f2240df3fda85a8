package packet

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformance: docs/tcp-conformance.md has each requirement of RFC 9293, in order, and
// the scripts, tests and files that it names exist.
func TestConformance(t *testing.T) {
	const root = "../.."
	b, err := os.ReadFile(filepath.Join(root, "docs/tcp-conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t, root)
	next := 1
	quoted := regexp.MustCompile("`([^`]+)`")
	script := regexp.MustCompile(`^(tcp|ip|ipv6|icmp|udp)/[a-z0-9/-]+$`)
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| MUST") {
			continue
		}
		if !strings.HasPrefix(line, fmt.Sprintf("| %d |", next)) {
			t.Fatalf("MUST-%d is missing before %q", next, line)
		}
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			name := m[1]
			switch {
			case script.MatchString(name):
				name = filepath.Join("scripts", name+".pkt")
			case strings.HasPrefix(name, "Test"):
				if !tests[name] {
					t.Errorf("MUST-%d: there is no %s", next, name)
				}
				continue
			case strings.HasSuffix(name, ".go") && (strings.Contains(name, "/") || strings.HasSuffix(name, "_linux.go")):
				name = filepath.Join(root, name)
			case strings.HasSuffix(name, ".go"):
				name = filepath.Join(root, "internal/stack/tcp", name)
			default:
				continue
			}
			if _, err := os.Stat(name); err != nil {
				t.Errorf("MUST-%d: %v", next, err)
			}
		}
		next++
	}
	if next != 70 {
		t.Errorf("%d requirements, want 69", next-1)
	}
}

// testNames are the tests of the packages that the list is about.
func testNames(t *testing.T, root string) map[string]bool {
	names := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, dir := range []string{"internal/stack", "internal/stack/*", "internal/wire", "internal/hostnet"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declaration.FindAllStringSubmatch(string(b), -1) {
				names[m[1]] = true
			}
		}
	}
	return names
}
