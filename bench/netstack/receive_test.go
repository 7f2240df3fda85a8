package netstack

import (
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// batchLen is how many frames come at once.
const batchLen = 64

// A receiver is a stack at the end of a wire in memory, with applications that take
// what comes.
type receiver interface {
	connect(p *peer) // all of p's flows, by TCP
	bind(p *peer)    // or one UDP socket
	// send puts frames on the wire. It is not measured.
	send(frames [][]byte)
	// deliver has the stack receive what was sent, or frames, which are what was sent.
	deliver(frames [][]byte)
	// take has the applications of some flows, from first on, take what has come, which is
	// n frames, and returns how many bytes that was.
	take(first, flows, n int) int
	after() // is not measured
	close()
}

var (
	_ receiver = (*ours)(nil)
	_ receiver = (*theirs)(nil)
)

// A run is one receiver with its peer.
type run struct {
	name string
	r    receiver
	p    *peer

	clock         time.Duration // what reading the clock takes of what is measured
	nanos, allocs []float64     // a packet, of each round
}

// batch receives once, and returns the CPU time of this process that it took: the
// making and sending of the frames, and the reading of the clock, apart.
func (r *run) batch(tb testing.TB, n int) time.Duration {
	first := r.p.next
	frames := r.p.segments(n)
	r.r.send(frames)
	start := cpu()
	r.r.deliver(frames)
	got := r.r.take(first, r.p.flowsOf(n), n)
	d := cpu() - start - r.clock
	if got != n*payloadLen {
		tb.Fatalf("%s: %d bytes taken of %d", r.name, got, n*payloadLen)
	}
	r.r.after()
	return d
}

// round measures some packets.
func (r *run) round(tb testing.TB, packets int) {
	runtime.GC()
	r.clock = clockCost()
	for range 20 {
		r.batch(tb, batchLen)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var d time.Duration
	n := 0
	for ; n < packets; n += batchLen {
		d += r.batch(tb, batchLen)
	}
	runtime.ReadMemStats(&after)
	r.nanos = append(r.nanos, float64(d.Nanoseconds())/float64(n))
	r.allocs = append(r.allocs, float64(after.Mallocs-before.Mallocs)/float64(n))
}

// cpu is the CPU time of this process.
func cpu() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// clockCost is the median of what cpu says to have taken when nothing was done.
func clockCost() time.Duration {
	var d [101]time.Duration
	for i := range d {
		start := cpu()
		d[i] = cpu() - start
	}
	slices.Sort(d[:])
	return d[len(d)/2]
}

func median(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return x[len(x)/2]
}

// compare runs the receivers of one flow each in turn, b.N rounds each, and reports the medians.
func compare(b *testing.B, packets int, start func(r receiver, p *peer), receivers ...*run) {
	for _, r := range receivers {
		r.p = newPeer(b, 1, 1)
	}
	comparePeers(b, packets, start, receivers...)
}

// comparePeers is compare for receivers that have their peers.
func comparePeers(b *testing.B, packets int, start func(r receiver, p *peer), receivers ...*run) {
	// One processor is what both are best with: nothing travels between cores.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, r := range receivers {
		start(r.r, r.p)
		defer r.r.close()
		for range 40 * max(5, len(r.p.flows)) {
			r.batch(b, 1) // the windows open
		}
	}
	b.ResetTimer()
	for range b.N {
		for _, r := range receivers {
			r.round(b, packets)
		}
	}
	b.StopTimer()
	b.ReportMetric(0, "ns/op")
	for i, r := range receivers {
		b.ReportMetric(median(r.nanos), r.name+"-ns/packet")
		b.ReportMetric(median(r.allocs), r.name+"-allocs/packet")
		if i > 0 {
			b.ReportMetric(median(r.nanos)/median(receivers[0].nanos), r.name+"/"+receivers[0].name)
		}
	}
}

var wires = []wireKind{copying, posted}

// BenchmarkTCP is the in-order receive path: one flow, full segments.
func BenchmarkTCP(b *testing.B) {
	for _, w := range wires {
		for _, verify := range []bool{false, true} {
			b.Run("wire="+string(w)+"/verify="+onOff(verify), func(b *testing.B) {
				compare(b, 100_000, receiver.connect,
					&run{name: "ours", r: newOurs(b, w, verify)},
					&run{name: "gvisor-gro", r: newTheirs(b, w, verify, true)},
					&run{name: "gvisor", r: newTheirs(b, w, verify, false)})
			})
		}
	}
}

// BenchmarkLink is what is in the other benchmarks' figures for the wire.
func BenchmarkLink(b *testing.B) {
	for _, w := range wires {
		b.Run("wire="+string(w), func(b *testing.B) {
			compare(b, 100_000, datagrams,
				&run{name: "ours", r: oursLink{newOurs(b, w, false)}}, &run{name: "gvisor", r: newTheirsLink(b, w)})
		})
	}
}

// BenchmarkUDP is datagrams of one flow to one socket.
func BenchmarkUDP(b *testing.B) {
	for _, w := range wires {
		for _, verify := range []bool{false, true} {
			b.Run("wire="+string(w)+"/verify="+onOff(verify), func(b *testing.B) {
				compare(b, 100_000, datagrams,
					&run{name: "ours", r: newOurs(b, w, verify)},
					&run{name: "gvisor", r: newTheirs(b, w, verify, false)})
			})
		}
	}
}

// datagrams has r receive the flows of p by UDP.
func datagrams(r receiver, p *peer) {
	p.udp()
	r.bind(p)
}

// BenchmarkFlows is what a segment costs when the frames that come at once are of many flows:
// of four, 16 frames each, or each of another than the one before. What is compared is one flow.
func BenchmarkFlows(b *testing.B) {
	for _, w := range wires {
		for _, verify := range []bool{false, true} {
			for _, burst := range []int{16, 1} {
				b.Run("wire="+string(w)+"/verify="+onOff(verify)+"/burst="+strconv.Itoa(burst), func(b *testing.B) {
					var receivers []*run
					all, theirs := []int{1, 100, 10_000}, []int{1, 10_000}
					if burst == 1 { // of eight a batch has eight frames each
						all, theirs = []int{1, 8, 100, 10_000}, []int{1, 8, 10_000}
					}
					for _, flows := range all {
						receivers = append(receivers, &run{name: strconv.Itoa(flows), r: newOurs(b, w, verify), p: newPeer(b, flows, burst)})
					}
					for _, flows := range theirs {
						receivers = append(receivers, &run{name: "gvisor-gro-" + strconv.Itoa(flows), r: newTheirs(b, w, verify, true), p: newPeer(b, flows, burst)})
					}
					comparePeers(b, 2*10_000*burst, receiver.connect, receivers...)
				})
			}
		}
	}
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// TestReceivers has all receivers of the benchmarks receive a little, so that these
// still work when somebody wants them.
func TestReceivers(t *testing.T) {
	for _, w := range wires {
		for _, verify := range []bool{false, true} {
			for _, r := range []*run{
				{name: "ours", r: newOurs(t, w, verify)},
				{name: "gvisor-gro", r: newTheirs(t, w, verify, true)},
				{name: "gvisor", r: newTheirs(t, w, verify, false)},
			} {
				r.p = newPeer(t, 3, 4)
				r.r.connect(r.p)
				for range 10 {
					r.batch(t, 60)
				}
				r.r.close()
			}
			for _, r := range []*run{{name: "ours", r: newOurs(t, w, verify)}, {name: "gvisor", r: newTheirs(t, w, verify, false)}} {
				r.p = newPeer(t, 3, 1)
				datagrams(r.r, r.p)
				for range 10 {
					r.batch(t, batchLen)
				}
				r.r.close()
			}
		}
	}
}
