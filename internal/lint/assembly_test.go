package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// assembly are the files written in assembly. No compiler, race detector or bounds
// check looks at what they do, so there is one for what Go can't say, or says much
// too slowly (ADR 12 to 14): enter a new one here, and think.
var assembly = []string{
	"internal/prefetch/lines_amd64.s",
	"internal/prefetch/lines_arm64.s",
	"internal/wire/continue_amd64.s",
	"internal/wire/sum_amd64.s",
	"lab/tsc_amd64.s", // reads a register
}

var (
	// textLine matches the head of a function that can't call, and so needs no room on a
	// stack that nothing in it could make larger.
	textLine = regexp.MustCompile(`^TEXT ·\w+\(SB\), NOSPLIT, \$0-\d+$`)
	// wideRegister matches the registers whose upper halves VZEROUPPER clears.
	wideRegister = regexp.MustCompile(`\b[YZ]\d+\b`)
)

// checkAssembly complains of assembly in other places, of functions that have a frame,
// and of those that return with the upper halves of vector registers in use, which makes
// the code after them slow. It reads a function from top to bottom, and does not follow
// its jumps. That arguments are where Go puts them is for go vet.
func checkAssembly(files []*source) []string {
	var complaints []string
	for _, f := range files {
		if !strings.HasSuffix(f.path, ".s") {
			continue
		}
		if !slices.Contains(assembly, f.path) {
			complaints = append(complaints, fmt.Sprintf("%s: assembly is not expected here: see internal/lint", f.path))
		}
		wide := false
		for i, line := range strings.Split(f.text, "\n") {
			line, _, _ = strings.Cut(line, "//")
			line = strings.TrimRight(line, " \t")
			instruction, _, _ := strings.Cut(strings.TrimLeft(line, " \t"), " ")
			complain := func(what string) {
				complaints = append(complaints, fmt.Sprintf("%s:%d: %s", f.path, i+1, what))
			}
			switch {
			case instruction == "TEXT":
				wide = false
				if !textLine.MatchString(line) {
					complain("a function is NOSPLIT and has a frame of $0")
				}
			case instruction == "VZEROUPPER":
				wide = false
			case instruction == "RET" && wide:
				complain("RET without VZEROUPPER")
			case wideRegister.MatchString(line):
				wide = true
			}
		}
	}
	return complaints
}

func TestAssembly(t *testing.T) {
	const place = "internal/wire/sum_amd64.s"
	lines := func(l ...string) string { return strings.Join(l, "\n") }
	testRule(t, checkAssembly, []example{
		{
			name: "as it should be",
			files: fstest.MapFS{
				place: {Data: []byte(lines(
					"TEXT ·f(SB), NOSPLIT, $0-32", "	VPXOR Y0, Y0, Y0", "	VZEROUPPER // Y0", "	RET",
					"TEXT ·g(SB), NOSPLIT, $0-8 // Y1", "	VPXOR X0, X0, X0", "	RET",
				))},
				"lab/tsc_amd64.s": {Data: []byte("TEXT ·rdtsc(SB), NOSPLIT, $0-8\n	RDTSC\n	RET\n")},
			},
		},
		{
			name:  "out of place",
			files: repository("internal/wire/copy_amd64.s", "TEXT ·f(SB), NOSPLIT, $0-0\n	RET\n"),
			want:  []string{"internal/wire/copy_amd64.s: assembly is not expected here: see internal/lint"},
		},
		{
			name: "frames",
			files: repository(place, lines(
				"TEXT ·f(SB), $0-32", "	RET", "TEXT ·g(SB), NOSPLIT, $16-32", "	RET",
			)),
			want: []string{
				place + ":1: a function is NOSPLIT and has a frame of $0",
				place + ":3: a function is NOSPLIT and has a frame of $0",
			},
		},
		{
			name: "upper halves",
			files: repository(place, lines(
				"TEXT ·f(SB), NOSPLIT, $0-32", "	VPXOR Y0, Y0, Y0", "	RET",
				"TEXT ·g(SB), NOSPLIT, $0-32", "	VZEROUPPER", "	VPXOR Z1, Z1, Z1", "	RET // VZEROUPPER",
			)),
			want: []string{place + ":3: RET without VZEROUPPER", place + ":7: RET without VZEROUPPER"},
		},
		{name: "not assembly", files: repository("docs/a.md", "	RET Y0\nRET")},
	})
}
