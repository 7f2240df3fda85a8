//go:build interleave

package interleave

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// maxSteps is how many steps of one schedule are taken for a goroutine that never ends.
const maxSteps = 10_000

// Explore runs body, and the goroutines that it starts by x.Go, once for each schedule of these
// with at most so many preemptions: switches away from a goroutine that could have gone
// on. body makes all that the goroutines share anew each time. The test fails with the first
// schedule in which x does, a goroutine panics or doesn't end, or all of them wait.
//
// ZCTAP_PREEMPTIONS=n in the environment explores with n of them, ZCTAP_SCHEDULE the one
// schedule that a failure has printed. Tests that explore do not run beside others.
func Explore(t *testing.T, preemptions int, body func(x *Execution)) {
	t.Helper()
	if s := os.Getenv("ZCTAP_SCHEDULE"); s != "" {
		p, err := parsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(execute(t, p, true, body))
		return
	}
	if s := os.Getenv("ZCTAP_PREEMPTIONS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("ZCTAP_PREEMPTIONS: %v", err)
		}
		preemptions = n
	}
	r := search(t, preemptions, body)
	if r.failed != nil {
		t.Fatalf("schedule %d: %v", r.schedules, r.failed)
	}
	bound := "all there are"
	if r.cut {
		bound = fmt.Sprintf("those with up to %d preemptions", preemptions)
	}
	t.Logf("%d schedules of up to %d steps: %s", r.schedules, r.steps, bound)
}

// A result is what a search has found.
type result struct {
	schedules int  // with the most preemptions that were tried, or until one failed
	steps     int  // the most that one had
	cut       bool // there are schedules with more preemptions
	failed    *outcome
}

// search runs the schedules, those with fewer preemptions first, until one fails.
func search(t testing.TB, preemptions int, body func(x *Execution)) (r result) {
	for most := range preemptions + 1 {
		r = result{}
		for p, more := (&path{preemptions: most}), true; more; more = p.next() {
			out := execute(t, p, false, body)
			r.schedules++
			r.steps = max(r.steps, out.steps)
			r.cut = r.cut || out.cut
			if out.failure != "" {
				r.failed = execute(t, p.again(), true, body)
				if first, _, _ := strings.Cut(out.failure, "\n"); !strings.HasPrefix(r.failed.failure, first) {
					r.failed.failure = fmt.Sprintf("%s\nand another time, by the same schedule: %q", out.failure, r.failed.failure)
				}
				return r
			}
		}
		if !r.cut {
			break
		}
	}
	return r
}

// A path is the choices that make a schedule. Beyond its end the first is chosen.
type path struct {
	preemptions int // that the schedule may have
	choices     []choice
	at          int
}

type choice struct{ picked, of int } // of is 0 if it was parsed

// choose returns one of 0 to n-1. With one there is no choice, which is not kept.
func (p *path) choose(n int) int {
	if n == 1 {
		return 0
	}
	if p.at == len(p.choices) {
		p.choices = append(p.choices, choice{0, n})
	}
	c := &p.choices[p.at]
	if c.of != n && c.of != 0 || c.picked >= n {
		panic(fmt.Sprintf("interleave: choice %d is one of %d, and was of %d: what is tested must do the same each time", p.at, n, c.of))
	}
	p.at++
	return c.picked
}

// next makes p the next path, depth first; false if there is none.
func (p *path) next() bool {
	p.at = 0
	for n := len(p.choices); n > 0; n-- {
		if c := &p.choices[n-1]; c.picked+1 < c.of {
			c.picked++
			p.choices = p.choices[:n]
			return true
		}
	}
	return false
}

// again is p from its beginning.
func (p *path) again() *path { return &path{preemptions: p.preemptions, choices: p.choices} }

// String is what parsePath reads: how many preemptions the schedule may have, and of the choices those
// that are not the first, as POSITION:CHOICE.
func (p *path) String() string {
	s := strconv.Itoa(p.preemptions)
	for i, c := range p.choices {
		if c.picked > 0 {
			s += fmt.Sprintf(" %d:%d", i, c.picked)
		}
	}
	return s
}

func parsePath(s string) (*path, error) {
	bound, rest, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(bound)
	if err != nil {
		return nil, fmt.Errorf("schedule: the number of preemptions: %w", err)
	}
	p := &path{preemptions: n}
	for part := range strings.FieldsSeq(rest) {
		var at, picked int
		if _, err := fmt.Sscanf(part, "%d:%d", &at, &picked); err != nil || at < 0 || at > 2*maxSteps || picked < 0 {
			return nil, fmt.Errorf("schedule: %q is not POSITION:CHOICE", part)
		}
		for len(p.choices) <= at {
			p.choices = append(p.choices, choice{})
		}
		p.choices[at].picked = picked
	}
	return p, nil
}
