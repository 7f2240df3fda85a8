package zctap_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/steer"
)

// counterNames are the names in the source by which something is counted.
func counterNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for v := range steer.Verdicts {
		names["steering-"+steer.Verdict(v).String()] = true
	}
	// Others are written where they are counted, or in tables.
	calls := regexp.MustCompile(`\.(?:Drop|Event)\((?:fmt\.Sprintf\()?"([a-z0-9%-]+)",`)
	tables := map[string]*regexp.Regexp{
		"internal/engine/user/tcpstats.go": regexp.MustCompile(`\{"([a-z-]+)", [sd]\.`),
		"internal/stack/cause.go":          regexp.MustCompile(`:\s+"([a-z-]+)",`),
		"internal/stack/ip/reassembly.go":  regexp.MustCompile(`"(fragment[a-z-]*)"`),
		"internal/wire/cause.go":           regexp.MustCompile(`:\s+"([a-z-]+)",`),
		"stats_xdp_linux.go":               regexp.MustCompile(`hostnet\.\w+:\s+"([a-z-]+)",`),
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if strings.Contains(path, "/") && !strings.HasPrefix(path, "internal/engine") && !strings.HasPrefix(path, "internal/stack") && tables[path] == nil {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range calls.FindAllSubmatch(text, -1) {
			names[strings.ReplaceAll(string(m[1]), "%d", "N")] = true
		}
		if table := tables[path]; table != nil {
			found := table.FindAllSubmatch(text, -1)
			if len(found) < 5 {
				t.Errorf("%s: %d names: where has the table gone?", path, len(found))
			}
			for _, m := range found {
				names[string(m[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, outcome := range []string{"ok", "need-more", "fragment"} {
		delete(names, outcome) // of parsers: nothing is dropped for these
	}
	return names
}

// TestCountersAreDocumented: docs/counters.md tells of each name in Stats, and of no other.
func TestCountersAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/counters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, ok := strings.Cut(string(text), "\n## Drops\n")
	if !ok {
		t.Fatal("docs/counters.md has no list of drops")
	}
	documented := map[string]bool{}
	name := regexp.MustCompile("`([a-zN0-9-]+)`")
	for line := range strings.Lines(tables) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
				documented[m[1]] = true
			}
		}
	}
	names := counterNames(t)
	if len(names) < 100 {
		t.Errorf("only %d names in the source", len(names))
	}
	for n := range names {
		if !documented[n] {
			t.Errorf("docs/counters.md does not tell of %s", n)
		}
	}
	for n := range documented {
		if !names[n] {
			t.Errorf("docs/counters.md tells of %s, which is counted nowhere", n)
		}
	}
}
