//go:build linux

package scenario

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
	"github.com/zctap/zctap/lab/vfiouser"
)

func TestMain(m *testing.M) {
	lab.Main()
	openLine()
	testenv.Main(m)
}

const (
	receiverAddr = "10.77.0.1"
	senderAddr   = "10.77.0.2"
	senderNetns  = "peer"
	port         = 9999
	queue        = 1 // for zero-copy receive
	framesFile   = "/out/frames"

	jobTimeout = 5 * time.Minute // only a failure takes so long
)

// A rig is a machine with two NICs joined by a wire: eth0, and eth1 in the
// namespace senderNetns.
type rig struct {
	*testing.T
	*box
}

// A box is what a test and its subtests share.
type box struct {
	nic, peer *gvnic.Device
	gate      gate // between the two
	machine   lab.Machine
	job       lab.Job // sets up the network
	vm        *lab.VM // after boot
	mayDie    bool    // the test kills it
}

// sub is the rig for a subtest on the same machine.
func (r *rig) sub(t *testing.T) *rig { return &rig{t, r.box} }

func newRig(t *testing.T, c gvnic.Config) *rig {
	t.Helper()
	testenv.NeedVM(t)
	lab.Need(t)
	r := &rig{t, &box{}}
	r.nic = r.device(c, 0)
	r.peer = r.device(gvnic.Config{MTU: c.MTU}, 1)
	r.gate.join(r.nic, r.peer)
	r.machine = lab.Machine{
		Devices: []vfiouser.Device{r.nic, r.peer},
		Modules: []string{"gve"},
		Tools:   []string{"busybox", "ethtool", "ip"},
		Files:   []lab.File{{Path: "/usr/local/bin/zcrx", Source: receiver(t), Program: true}},
	}
	if testing.Verbose() {
		r.machine.Console = &logWriter{t}
	}
	r.job.Interfaces = []lab.Interface{
		{MAC: mac(r.nic), Name: "eth0", Addresses: prefixes(receiverAddr + "/24"), MTU: c.MTU},
		{MAC: mac(r.peer), Name: "eth1", Addresses: prefixes(senderAddr + "/24"), MTU: c.MTU, Netns: senderNetns},
	}
	return r
}

func (r *rig) device(c gvnic.Config, index int) *gvnic.Device {
	r.Helper()
	c.Index = index
	d, err := gvnic.New(c)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := d.Close(); err != nil {
			r.Error(err)
		}
	})
	return d
}

func mac(d *gvnic.Device) string {
	m := d.MAC()
	return net.HardwareAddr(m[:]).String()
}

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// A logWriter writes to the test's log.
type logWriter struct{ t *testing.T }

func (w *logWriter) Write(p []byte) (int, error) {
	w.t.Logf("guest: %s", strings.TrimRight(string(p), "\r\n"))
	return len(p), nil
}

// receiver compiles the receiver in C.
func receiver(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "zcrx")
	if err := lab.CompileC(t.Context(), out, "-Wall", "-Wextra", "-Werror", "testdata/zcrx.c"); err != nil {
		t.Fatal(err)
	}
	return out
}

// script is a step that runs shell commands; the first that fails ends it.
func script(lines ...string) lab.Step {
	return lab.Step{Name: "script", Args: []string{"/bin/sh", "-ec", strings.Join(lines, "\n")}}
}

// A steering is how flows get to the queue for zero-copy receive.
const steer = "ethtool -N eth0 flow-type tcp4 dst-port 9999 action 1"

// prepare is what has to be set before the queue can be registered.
var prepare = []string{
	"ethtool -G eth0 tcp-data-split on",
	"ethtool -K eth0 ntuple on",
	"ethtool -X eth0 equal 1",
	steer,
}

// A transfer is a stream to receive in the guest.
type transfer struct {
	iface string // empty: eth0
	bytes int
	pages int // of the area
}

// steps are the receiver, in the background, and the sender.
func (x transfer) steps() []lab.Step {
	iface, q, to, netns := "eth0", queue, receiverAddr, senderNetns
	if x.iface == "nodev" {
		iface, q, to, netns = "nodev", 0, "127.0.0.1", ""
	}
	return []lab.Step{
		{
			Name: "receiver", Background: true,
			Args: []string{"zcrx", "recv", iface, fmt.Sprint(q), fmt.Sprint(port), fmt.Sprint(x.bytes), fmt.Sprint(x.pages), framesFile},
		},
		{Name: "sender", Netns: netns, Args: []string{"zcrx", "send", to, fmt.Sprint(port), fmt.Sprint(x.bytes)}},
	}
}

// A received is what the receiver in C reports.
type received struct {
	Bytes       int    `json:"bytes"`
	Mismatches  int    `json:"mismatches"`
	Completions int    `json:"completions"`
	CopyCount   uint64 `json:"copy_count"`
	CopiedBytes uint64 `json:"copied_bytes"`
	AllocFail   int    `json:"alloc_fail"`
	Rearmed     int    `json:"rearmed"`
	frames      []uint64
}

// events answers the guest's programs (lab-event EVENT DATA). "payload" waits until
// a receive queue of eth0 has got so many bytes of payload since the job began: "1
// 10000000", and "received" until all have so many bytes of frames. "unsplit" waits until
// the NIC has not split a packet for the fault nosplit. "pass" lets so many more bytes come in to
// eth0, or "all". "queues" and "sent" give the counters of eth0's receive and transmit queues
// as JSON, "frames" the page frames that each receive queue wrote to, "nosplit" has the NIC stop ("on") or go on ("off")
// splitting headers from payload, and "now" calls now.
func (r *rig) events(now func(context.Context) error) func(context.Context, lab.Event) ([]byte, error) {
	stats := r.nic.Stats()
	start, unsplit := stats.Rx, stats.Injected.Unsplit
	return func(ctx context.Context, e lab.Event) ([]byte, error) {
		switch e.Name {
		case "payload":
			var q int
			var n uint64
			if _, err := fmt.Sscan(string(e.Data), &q, &n); err != nil || q >= len(start) {
				return nil, fmt.Errorf("payload of %q: %v", e.Data, err)
			}
			return nil, r.comes(ctx, start, func(now []gvnic.RxStats) bool { return now[q].PayloadBytes >= start[q].PayloadBytes+n })
		case "received":
			var n uint64
			if _, err := fmt.Sscan(string(e.Data), &n); err != nil {
				return nil, fmt.Errorf("received %q: %w", e.Data, err)
			}
			return nil, r.comes(ctx, start, func(now []gvnic.RxStats) bool { return rxBytes(now) >= rxBytes(start)+n })
		case "unsplit":
			return nil, r.comes(ctx, start, func([]gvnic.RxStats) bool { return r.nic.Stats().Injected.Unsplit > unsplit })
		case "pass":
			n, err := strconv.Atoi(string(e.Data))
			switch {
			case string(e.Data) == "all":
				r.gate.open()
			case err != nil:
				return nil, fmt.Errorf("pass: %w", err)
			default:
				r.gate.pass(n)
			}
			return nil, nil
		case "queues":
			return json.Marshal(r.nic.Stats().Rx)
		case "sent":
			return json.Marshal(r.nic.Stats().Tx)
		case "frames":
			all := make([][]uint64, len(start))
			for q := range all {
				all[q] = r.nic.PayloadFrames(q)
			}
			return json.Marshal(all)
		case "nosplit":
			return nil, r.nic.SetFaults(gvnic.Faults{NoSplit: string(e.Data) == "on"})
		case "now":
			return nil, now(ctx)
		}
		return nil, fmt.Errorf("unknown event %q", e.Name)
	}
}

// silence is how long nothing may come in while a program waits for more.
const silence = time.Minute

// comes waits until the counters of eth0's receive queues, start when the job began, are
// enough. A stream that stands still, or has ended before, fails it.
func (r *rig) comes(ctx context.Context, start []gvnic.RxStats, enough func(now []gvnic.RxStats) bool) error {
	var last uint64
	for began := time.Now(); ; {
		now := r.nic.Stats().Rx
		if enough(now) {
			return nil
		}
		if n := rxBytes(now); n != last {
			last, began = n, time.Now()
		}
		if time.Since(began) > silence {
			return fmt.Errorf("nothing comes in any more: the queues had %+v when the job began, and have %+v", start, now)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// rxBytes is how many bytes of frames receive queues have got.
func rxBytes(queues []gvnic.RxStats) (n uint64) {
	for _, q := range queues {
		n += q.Bytes
	}
	return n
}

// hold has not more than n bytes of frames come in to eth0 until somebody lets go. It is called
// before the stream begins, of which then more is to come.
func (r *rig) hold(n int) {
	r.gate.pass(n)
	r.Cleanup(r.gate.open)
}

// letGo ends hold.
const letGo = "lab-event pass all"

// midstream is a step in the background: shell commands that run when a part of a stream has
// come in, while more comes. The stream, which is longer than 40 MB, does not end before they have.
func (r *rig) midstream(lines ...string) lab.Step {
	r.hold(40_000_000)
	return background(fmt.Sprintf("lab-event payload '%d 10000000'", queue), append(lines, letGo)...)
}

// background is shell commands beside the steps that follow.
func background(line string, lines ...string) lab.Step {
	s := script(append([]string{line}, lines...)...)
	s.Background = true
	return s
}

// steerAway has the flow steered to another queue and back in the midst of a stream: by
// away, and by back, shell commands. Between the two not more than 10 MB come in beside what may come
// before, and a part of them by the other queue.
func (r *rig) steerAway(away, back string) lab.Step {
	return r.midstream(away, "lab-event pass 10000000", "lab-event payload '0 5000000'", back)
}

// boot starts the machine, prepared for zero-copy receive.
func (r *rig) boot() {
	r.Helper()
	r.start(prepare...)
}

// start starts the machine and runs shell commands. It ends with the test, which
// fails if the kernel has complained.
func (r *rig) start(lines ...string) {
	r.Helper()
	vm, err := lab.Boot(context.Background(), r.machine) // the test's context ends before its cleanups
	if err != nil {
		r.Fatal(err)
	}
	r.run(vm, lines...)
}

// run takes over a machine that was booted, and runs shell commands.
func (r *rig) run(vm *lab.VM, lines ...string) {
	r.Helper()
	r.vm = vm
	r.Cleanup(func() {
		if err := vm.Close(); err != nil && !r.Failed() && !r.mayDie {
			r.Error(err)
		}
	})
	setup := r.job
	setup.Steps = append(setup.Steps, script(lines...))
	if _, err := vm.Run(r.Context(), setup); err != nil {
		r.Fatal(err)
	}
}

// do runs steps on the machine, all of which have to succeed.
func (r *rig) do(steps ...lab.Step) *lab.Result {
	r.Helper()
	return r.doing(lab.Job{Steps: steps})
}

// doing runs a job, and collects what it writes to /out.
func (r *rig) doing(j lab.Job) *lab.Result {
	r.Helper()
	j.Collect = []string{"/out/*"}
	if j.Timeout == 0 {
		j.Timeout = jobTimeout
	}
	res, err := r.vm.Run(r.Context(), j)
	if err != nil {
		r.Fatalf("%v\nNIC: %+v", err, r.nic.Stats())
	}
	return res
}

func (r *rig) result(res *lab.Result) *received {
	r.Helper()
	got := new(received)
	if err := json.Unmarshal(res.Step("receiver").Stdout, got); err != nil {
		r.Fatalf("the receiver's report: %v\n%s", err, res.Step("receiver").Stdout)
	}
	got.frames = r.frames(res)
	r.Logf("booted Linux %s in %v, ran for %v: %d bytes, %d completions, %d page frames, copied %d, allocation failures %d", res.Release, res.Boot.Round(time.Millisecond),
		res.Duration.Round(time.Millisecond), got.Bytes, got.Completions, len(got.frames), got.CopiedBytes, got.AllocFail)
	return got
}

// frames are the page frames that the receiver says it read, if it says so.
func (r *rig) frames(res *lab.Result) []uint64 {
	r.Helper()
	b, _ := res.File(framesFile)
	frames := make([]uint64, len(b)/8)
	if _, err := binary.Decode(b, binary.LittleEndian, frames); err != nil {
		r.Fatal(err)
	}
	return frames
}
