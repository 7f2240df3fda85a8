//go:build linux

package scenario

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

// These tests count instructions, of the receiver's process, user and kernel: time
// in an emulated machine says nothing, but there are machines of which it is known
// how many instructions they have executed. They report medians; what they insist
// on is so generous that only a blunder fails. docs/performance/zcrx.md has the numbers.

// costRounds is how often each receiver runs.
func costRounds() int {
	if long {
		return 11
	}
	return 3
}

// TestLabZCRXInstructions compares engine zcrx with a program in C over liburing
// that does the same, without a device, by RecvZC and with a handler on the engine's
// thread: all receive what the kernel copies, and look at none of it. There are no pages of
// 2 MiB: Go's heap begins somewhere else in each process, and so a stream that needs a
// few pages more, for a thread, may have one of those zeroed, which is 0.1 of what C takes for
// the difference of two streams.
func TestLabZCRXInstructions(t *testing.T) {
	inTurn(t, 48)
	const few, many = 8 << 20, 24 << 20
	r := newEngineRig(t, gvnic.Config{})
	r.machine.Devices, r.machine.Modules, r.job.Interfaces = nil, nil, nil
	r.machine.Deterministic = true
	r.machine.Cmdline = append(r.machine.Cmdline, "transparent_hugepage=never")
	r.addBare()
	r.start()

	nextPort := 9000
	cost := func(receive func(port, bytes int) []string) float64 {
		return r.marginal(few, many, func(bytes int) []lab.Step {
			nextPort++
			return []lab.Step{
				{Name: "receiver", Background: true, Args: receive(nextPort, bytes)},
				{Name: "sender", Args: []string{"bare", "send", "127.0.0.1", fmt.Sprint(nextPort), fmt.Sprint(bytes)}},
			}
		})
	}
	recv := func(flags ...string) func(port, bytes int) []string {
		return func(port, _ int) []string {
			return append([]string{"zctap", "recv", "--nodev", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--json"}, flags...)
		}
	}
	var c, ours, ratios, handled, handledRatios []float64
	for range costRounds() {
		c = append(c, cost(func(port, bytes int) []string {
			return []string{"bare", "recv", "nodev", "0", fmt.Sprint(port), fmt.Sprint(bytes), "8192"}
		}))
		ours = append(ours, cost(recv()))
		ratios = append(ratios, ours[len(ours)-1]/c[len(c)-1])
		handled = append(handled, cost(recv("--handler")))
		handledRatios = append(handledRatios, handled[len(handled)-1]/c[len(c)-1])
	}
	t.Logf("thousands of instructions for a MB, of %d rounds: C %s, zctap %s, ratio %s; with a handler %s, ratio %s", len(c),
		spread(c), spread(ours), spread(ratios), spread(handled), spread(handledRatios))
	if m := median(ratios); m < 0.5 || m > 2.5 {
		t.Errorf("zctap takes %.2f times the instructions of the program in C", m)
	}
	if m := median(handledRatios); m < 0.5 || m > 2.5 {
		t.Errorf("with a handler zctap takes %.2f times the instructions of the program in C", m)
	}
}

// addBare has the guest get the program in C that looks at nothing of what it
// receives.
func (r *engineRig) addBare() {
	r.Helper()
	bare := filepath.Join(r.TempDir(), "bare")
	if err := lab.CompileC(r.Context(), bare, "-O2", "-Wall", "-Wextra", "-Werror", "-DBARE", "testdata/zcrx.c"); err != nil {
		r.Fatal(err)
	}
	r.machine.Files = append(r.machine.Files, lab.File{Path: "/usr/local/bin/bare", Source: bare, Program: true})
}

// marginal is the thousands of instructions that the receiver takes for 10^6 bytes,
// by the difference of two streams' lengths: what it costs to begin and to end one is left
// out. It is what each receiver says that it took from when it had the connection to the
// stream's end: before, no two processes take the same, as their memory is of other pieces.
func (r *engineRig) marginal(few, many int, steps func(bytes int) []lab.Step) float64 {
	r.Helper()
	var spent [2]float64
	for i, bytes := range []int{few, many} {
		var took struct {
			Seconds float64 `json:"cpu_seconds"`
		}
		out := r.do(steps(bytes)...).Step("receiver").Stdout
		if err := json.Unmarshal(out, &took); err != nil || took.Seconds <= 0 {
			r.Fatalf("the receiver's report: %v\n%s", err, out)
		}
		spent[i] = took.Seconds * 1e9 // an instruction takes a nanosecond
	}
	return (spent[1] - spent[0]) / float64(many-few) * 1000
}

// TestLabZCRXCost compares engine zcrx on the NIC with net.Conn.Read, in turn on one
// machine, and then reports what the program in C takes there. How many
// instructions they take depends on when packets come.
func TestLabZCRXCost(t *testing.T) {
	inTurn(t, 46)
	r := newEngineRig(t, gvnic.Config{})
	r.machine.Deterministic = true // CPU time is instructions then
	r.addBare()
	r.start()
	size, timeout := "16MB", jobTimeout
	if long {
		size, timeout = "24MB", 4*jobTimeout
	}
	res := r.doing(lab.Job{Timeout: timeout, Steps: []lab.Step{{Args: []string{
		"zctap", "bench", "tcp", "--engine", "zcrx", "--interface", "eth0", "--queue", fmt.Sprint(queue), "--sender", senderNetns,
		"--rounds", fmt.Sprint(costRounds()), "--size", size, "--json",
	}}}})
	var got struct {
		CPURatio float64 `json:"cpu_ratio"` // median of the rounds' own
		Runs     []struct {
			Receiver      string  `json:"receiver"`
			Bytes         float64 `json:"bytes"`
			ZeroCopyBytes float64 `json:"zero_copy_bytes"`
			CPUSeconds    float64 `json:"cpu_seconds"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(res.Steps[0].Stdout, &got); err != nil {
		t.Fatal(err)
	}
	costs := make(map[string][]float64)
	for _, run := range got.Runs {
		// A second for 10^9 bytes is a million instructions for 10^6 bytes.
		costs[run.Receiver] = append(costs[run.Receiver], run.CPUSeconds/run.Bytes*1e12)
		if zeroCopy := run.ZeroCopyBytes / run.Bytes; run.Receiver == "zctap" && zeroCopy < 0.99 {
			t.Errorf("%.0f %% of a stream came without a copy", 100*zeroCopy)
		}
	}
	ours, theirs := costs["zctap"], costs["net.Conn"]
	if len(ours) != costRounds() || len(theirs) != costRounds() {
		t.Fatalf("%d and %d runs in %d rounds", len(ours), len(theirs), costRounds())
	}
	t.Logf("thousands of instructions for a MB, of %d rounds: zctap %s, net.Conn.Read %s, ratio %.2f", len(ours), spread(ours), spread(theirs), got.CPURatio)
	if got.CPURatio <= 0 || got.CPURatio > 0.8 {
		t.Errorf("zero-copy takes %.2f times the instructions of copies", got.CPURatio)
	}

	r.do(script(prepare...)) // what zctap prepared, it has undone
	var c []float64
	for range costRounds() {
		c = append(c, r.marginal(8<<20, 24<<20, func(bytes int) []lab.Step {
			steps := transfer{bytes: bytes, pages: 8192}.steps()
			for i := range steps {
				steps[i].Args[0] = "bare"
			}
			return steps
		}))
	}
	t.Logf("thousands of instructions for a MB: C %s", spread(c))
	if m := median(c); m > median(theirs) {
		t.Errorf("zero-copy in C takes %.4g thousand instructions for a MB, copies %.4g", m, median(theirs))
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// spread words the median of some values, and the least and the most.
func spread(v []float64) string {
	return fmt.Sprintf("%.4g (%.4g to %.4g)", median(v), slices.Min(v), slices.Max(v))
}
