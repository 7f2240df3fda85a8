package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// runBench compares receivers. Nothing is verified and views are counted, not
// read: what is measured is receiving.
func runBench(ctx context.Context, env *environ, args []string) error {
	fs := newFlags("bench")
	rounds := fs.Int("rounds", 5, "`NUMBER` of rounds; each receiver runs once in each, in turn")
	size := byteSize(2 << 30)
	fs.Var(&size, "size", "`BYTES` of one transfer")
	engine := choice{zctap.Auto, []string{zctap.Auto, zctap.ZCRX, zctap.User, zctap.Copy}}
	fs.Var(&engine, "engine", "`ENGINE` to compare with net.Conn.Read: user (over TUN, the default), copy (over veth) or zcrx (over --interface)")
	wire := choice{"tun", []string{"tun", "veth"}}
	fs.Var(&wire, "wire", "`WIRE` of engine user: tun, or veth (by AF_XDP)")
	tso := fs.Bool("sender-tso", true, "let the sender's interface cut up segments (off gives every receiver frames of MTU size)")
	var nic nicFlags
	nic.add(fs)
	sender := fs.String("sender", "", "network namespace `NAME` to start the sender for --interface in")
	bufferSize := bufferSizeFlag(fs)
	asJSON := fs.Bool("json", false, "print the result as JSON")
	operands, err := parseFlags(env, fs, args, "WHAT (tcp)")
	if err != nil {
		return err
	}
	if operands[0] != "tcp" {
		return usagef("no benchmark %q; there is tcp", operands[0])
	}
	if *rounds < 1 || *rounds > 100 {
		return usagef("--rounds is 1 to 100")
	}
	if err := nic.check(engine.value); err != nil {
		return err
	}
	if engine.value == zctap.ZCRX && !nic.wanted() {
		return usagef("engine zcrx needs an --interface and a --sender, or --nodev")
	}
	if nic.iface != "" && *sender == "" {
		return usagef("--interface needs a --sender: nobody starts one by hand for each round")
	}
	h, err := benchHosts(&nic, *sender)
	if err != nil {
		return fmt.Errorf("the benchmark needs network namespaces (root, or unshare --user --map-root-user --net): %w", err)
	}
	defer h.close()
	if !*tso {
		if h.sender == nil {
			return usagef("--sender-tso=false needs a --sender")
		}
		if err := h.sender.SetOffload(vethName, netns.TSO, false); err != nil {
			return err
		}
	}
	t := &transfer{env: env, size: int64(size), bufferSize: bufferSize}
	receive := t.overTUN
	switch {
	case nic.wanted():
		receive = func(ctx context.Context, h *hosts) (*report, error) { return t.byInterface(ctx, h, &nic, engine.value) }
	case wire.value == "veth":
		receive = t.overVeth
	case engine.value == zctap.Copy:
		receive = t.byCopy
	}
	res := &benchResult{Rounds: *rounds, Bytes: t.size}
	for range *rounds {
		for _, f := range []func(context.Context, *hosts) (*report, error){receive, t.byNetConn} {
			r, err := f(ctx, h)
			if err == nil {
				err = r.check(t.size, false)
			}
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if err != nil {
				return err
			}
			res.Runs = append(res.Runs, r)
		}
	}
	res.summarize()
	if *asJSON {
		return writeJSON(env.stdout, res)
	}
	return res.print(env)
}

// benchHosts are where the stream comes from.
func benchHosts(f *nicFlags, sender string) (*hosts, error) {
	if !f.wanted() {
		return newHosts()
	}
	return f.hosts(sender)
}

// A benchResult is what bench prints: each run, and what they come to.
type benchResult struct {
	Rounds  int       `json:"rounds"`
	Bytes   int64     `json:"bytes_per_run"`
	Summary []*spread `json:"summary"`
	// Ratios of zctap to net.Conn: medians of the rounds' own ratios, so that
	// what disturbed a whole round does not count.
	ThroughputRatio float64   `json:"throughput_ratio"`
	UserToTotalCPU  float64   `json:"user_cpu_to_total_cpu_ratio"` // zctap's user CPU to net.Conn's user and system CPU
	CPURatio        float64   `json:"cpu_ratio"`
	Runs            []*report `json:"runs"`
}

// A spread is one receiver's runs.
type spread struct {
	Receiver string `json:"receiver"`
	Engine   string `json:"engine,omitempty"`
	Wire     string `json:"wire"`
	// Each is minimum, median and maximum.
	GBPerSecond [3]float64 `json:"gb_per_second"`
	UserPerGB   [3]float64 `json:"cpu_user_seconds_per_gb"`
	SystemPerGB [3]float64 `json:"cpu_system_seconds_per_gb"`
	ZeroCopy    float64    `json:"zero_copy_share"`
}

func (b *benchResult) summarize() {
	of := func(start int, f func(*report) float64) (v []float64) {
		for i := start; i < len(b.Runs); i += 2 {
			v = append(v, f(b.Runs[i]))
		}
		return v
	}
	for start := range 2 {
		first := b.Runs[start]
		b.Summary = append(b.Summary, &spread{
			Receiver: first.Receiver, Engine: first.Engine, Wire: first.Wire,
			GBPerSecond: minMedMax(of(start, func(r *report) float64 { return r.GBPerSecond })),
			UserPerGB:   minMedMax(of(start, func(r *report) float64 { return r.perGB(r.UserSeconds) })),
			SystemPerGB: minMedMax(of(start, func(r *report) float64 { return r.perGB(r.SystemSeconds) })),
			ZeroCopy:    minMedMax(of(start, func(r *report) float64 { return float64(r.ZeroCopyBytes) / float64(r.Bytes) }))[1],
		})
	}
	ratio := func(a, b2 func(*report) float64) float64 {
		x, y := of(0, a), of(1, b2)
		for i := range x {
			x[i] /= y[i]
		}
		return minMedMax(x)[1]
	}
	speed := func(r *report) float64 { return r.GBPerSecond }
	cpu := func(r *report) float64 { return r.perGB(r.CPUSeconds) }
	b.ThroughputRatio = ratio(speed, speed)
	b.CPURatio = ratio(cpu, cpu)
	b.UserToTotalCPU = ratio(func(r *report) float64 { return r.perGB(r.UserSeconds) }, cpu)
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

func (b *benchResult) print(env *environ) error {
	t := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%d rounds of %s, in turn\tGB/s\tuser s/GB\tsystem s/GB\tzero-copy\t\n", b.Rounds, humanBytes(b.Bytes))
	cell := func(v [3]float64) string { return fmt.Sprintf("%.3f (%.3f to %.3f)", v[1], v[0], v[2]) }
	for _, s := range b.Summary {
		fmt.Fprintf(t, "%s over %s\t%s\t%s\t%s\t%.2f %%\t\n", s.Receiver, s.Wire,
			cell(s.GBPerSecond), cell(s.UserPerGB), cell(s.SystemPerGB), s.ZeroCopy*100)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.stdout, "\nMedians of the rounds' ratios, zctap to net.Conn: throughput %.2f, CPU per GB %.2f,\nzctap's user CPU to net.Conn's total CPU %.3f.\n",
		b.ThroughputRatio, b.CPURatio, b.UserToTotalCPU)
	return err
}
