//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/zctap/zctap/internal/netns"
)

// An entrant is a receiver that takes part in each round.
type entrant struct {
	receive func(context.Context, *hosts) (*report, error)
	offload *bool  // the sender's TSO is set to this before; nil: left as it is
	frames  string // what the stream comes in, if offload says it
}

// A benchResult is what bench prints: each run, and what they come to.
type benchResult struct {
	Rounds      int           `json:"rounds"`
	Bytes       int64         `json:"bytes_per_run"`
	Touch       string        `json:"touch"` // what each receiver did with the payload: "none", or "crc32c"
	Summary     []*spread     `json:"summary"`
	Comparisons []*comparison `json:"comparisons"`
	// The first comparison's ratios.
	ThroughputRatio float64   `json:"throughput_ratio"`
	UserToTotalCPU  float64   `json:"user_cpu_to_total_cpu_ratio"`
	CPURatio        float64   `json:"cpu_ratio"`
	Runs            []*report `json:"runs"`

	entrants []*entrant
}

// A spread is one receiver's runs.
type spread struct {
	Receiver string `json:"receiver"`
	Engine   string `json:"engine,omitempty"`
	Wire     string `json:"wire"`
	Frames   string `json:"frames,omitempty"`
	// Each is minimum, median and maximum.
	GBPerSecond [3]float64 `json:"gb_per_second"`
	UserPerGB   [3]float64 `json:"cpu_user_seconds_per_gb"`
	SystemPerGB [3]float64 `json:"cpu_system_seconds_per_gb"`
	SenderPerGB [3]float64 `json:"sender_cpu_seconds_per_gb"`
	ZeroCopy    float64    `json:"zero_copy_share"`
}

func (s *spread) name() string {
	n := s.Receiver + " over " + s.Wire
	if s.Frames != "" {
		n += ", " + s.Frames
	}
	return n
}

// A comparison is of one receiver to another: medians of the rounds' own ratios, so
// that what disturbed a whole round does not count.
type comparison struct {
	Of         string  `json:"of"`
	To         string  `json:"to"`
	Throughput float64 `json:"throughput_ratio"`
	// CPU seconds for each byte of the receiving process, and of it together with
	// the sending one: part of the kernel's work for one runs in the other's calls.
	CPU           float64 `json:"cpu_ratio"`
	CPUWithSender float64 `json:"cpu_with_sender_ratio"`
	// The first one's user CPU to the other's user and system CPU.
	UserToTotal float64 `json:"user_cpu_to_total_cpu_ratio"`

	of, to int
}

// add has e take part, and returns its number.
func (b *benchResult) add(e *entrant) int {
	b.entrants = append(b.entrants, e)
	return len(b.entrants) - 1
}

// compare has two entrants compared.
func (b *benchResult) compare(of, to int) {
	b.Comparisons = append(b.Comparisons, &comparison{of: of, to: to})
}

// run runs all rounds: each entrant once in each, in turn.
func (b *benchResult) run(ctx context.Context, h *hosts) error {
	for range b.Rounds {
		for _, e := range b.entrants {
			if e.offload != nil {
				if err := h.sender.SetOffload(vethName, netns.TSO, *e.offload); err != nil {
					return err
				}
			}
			r, err := e.receive(ctx, h)
			if err == nil {
				err = r.check(b.Bytes, false)
			}
			if err == nil && len(b.Runs) > 0 {
				err = r.sameCRC(b.Runs[0])
			}
			if err != nil {
				return err
			}
			b.Runs = append(b.Runs, r)
		}
	}
	return nil
}

// of is f of each of an entrant's runs.
func (b *benchResult) of(entrant int, f func(*report) float64) (v []float64) {
	for i := entrant; i < len(b.Runs); i += len(b.entrants) {
		v = append(v, f(b.Runs[i]))
	}
	return v
}

// ratio is the median ratio of f of one entrant to g of another.
func (b *benchResult) ratio(c *comparison, f, g func(*report) float64) float64 {
	x, y := b.of(c.of, f), b.of(c.to, g)
	for i := range x {
		x[i] /= y[i]
	}
	return minMedMax(x)[1]
}

func (b *benchResult) summarize() {
	user := func(r *report) float64 { return r.perGB(r.UserSeconds) }
	sender := func(r *report) float64 { return r.perGB(r.SenderSeconds) }
	speed := func(r *report) float64 { return r.GBPerSecond }
	cpu := func(r *report) float64 { return r.perGB(r.CPUSeconds) }
	both := func(r *report) float64 { return cpu(r) + sender(r) }
	for i, e := range b.entrants {
		first := b.Runs[i]
		b.Summary = append(b.Summary, &spread{
			Receiver: first.Receiver, Engine: first.Engine, Wire: first.Wire, Frames: e.frames,
			GBPerSecond: minMedMax(b.of(i, speed)),
			UserPerGB:   minMedMax(b.of(i, user)),
			SystemPerGB: minMedMax(b.of(i, func(r *report) float64 { return r.perGB(r.SystemSeconds) })),
			SenderPerGB: minMedMax(b.of(i, sender)),
			ZeroCopy:    minMedMax(b.of(i, func(r *report) float64 { return float64(r.ZeroCopyBytes) / float64(r.Bytes) }))[1],
		})
	}
	for _, c := range b.Comparisons {
		c.Of, c.To = b.Summary[c.of].name(), b.Summary[c.to].name()
		c.Throughput, c.CPU = b.ratio(c, speed, speed), b.ratio(c, cpu, cpu)
		c.CPUWithSender, c.UserToTotal = b.ratio(c, both, both), b.ratio(c, user, cpu)
	}
	first := b.Comparisons[0]
	b.ThroughputRatio, b.CPURatio, b.UserToTotalCPU = first.Throughput, first.CPU, first.UserToTotal
}

// minMedMax sorts v, which is not empty.
func minMedMax(v []float64) [3]float64 {
	slices.Sort(v)
	med := v[len(v)/2]
	if len(v)%2 == 0 {
		med = (v[len(v)/2-1] + med) / 2
	}
	return [3]float64{v[0], med, v[len(v)-1]}
}

func (b *benchResult) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "rounds in turn: %d, of %s\tGB/s\tuser s/GB\tsystem s/GB\tsender s/GB\tzero-copy\t\n", b.Rounds, humanBytes(b.Bytes))
	cell := func(v [3]float64) string { return fmt.Sprintf("%.3f (%.3f to %.3f)", v[1], v[0], v[2]) }
	for _, s := range b.Summary {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.2f %%\t\n", s.name(),
			cell(s.GBPerSecond), cell(s.UserPerGB), cell(s.SystemPerGB), cell(s.SenderPerGB), s.ZeroCopy*100)
	}
	fmt.Fprintf(t, "\nmedians of the rounds' ratios\tthroughput\tCPU\tCPU with sender's\tuser to total CPU\t\n")
	for _, c := range b.Comparisons {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.3f\t\n", c.Of, c.Throughput, c.CPU, c.CPUWithSender, c.UserToTotal)
		fmt.Fprintf(t, "to %s\t\t\t\t\t\n", c.To)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	touched := "No receiver looked at the payload."
	if b.Touch != untouched {
		touched = "Each receiver read all of the payload: took its CRC-32C."
	}
	_, err := fmt.Fprint(w, "\n", touched, `
CPU is that of the receiving process in user and in kernel mode, the sender's that of its process. On one
machine a system call of either side also runs part of the kernel's work for the other; what the kernel does
in threads of its own (ksoftirqd) is in neither.
`)
	return err
}
