//go:build linux

package xdp

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/testenv"
)

// BenchmarkNSAgainstC receives a flood of frames of 1,500 bytes in copy mode, once
// by the driver and once by a loop in C on rings of the same sizes that looks at no
// frame (testdata/rxdrop.c), in turn. An op is one round of both. It reports the
// medians of the receiving thread's CPU time for a frame and of frames for each CPU
// second, driver to C: of the receiver alone, and with the sender's thread, in
// whose context the kernel does most of the work of receiving.
func BenchmarkNSAgainstC(b *testing.B) {
	cc := testenv.NeedCommand(b, "cc")
	w := newWorld(b, worldOptions{only4: true})
	loop := filepath.Join(b.TempDir(), "rxdrop")
	if out, err := exec.Command(cc, "-O2", "-Wall", "-Werror", "-o", loop, "testdata/rxdrop.c").CombinedOutput(); err != nil {
		b.Fatalf("rxdrop.c: %v: %s", err, out)
	}
	var ours, bare, ratio, total []float64
	for b.Loop() {
		g := w.againstDriver()
		c := w.againstC(loop)
		ours, bare = append(ours, g.receiver), append(bare, c.receiver)
		ratio = append(ratio, c.receiver/g.receiver)
		total = append(total, (c.receiver+c.sender)/(g.receiver+g.sender))
	}
	b.ReportMetric(median(ours), "ns-CPU/frame")
	b.ReportMetric(median(bare), "C-ns-CPU/frame")
	b.ReportMetric(median(ratio), "frames/CPU-s-to-C")
	b.ReportMetric(median(total), "with-sender-to-C")
}

const (
	floodFrames = 200_000
	floodFill   = 2048
)

// perFrame is CPU time for each frame, ns.
type perFrame struct{ receiver, sender float64 }

func (w *world) againstDriver() (p perFrame) {
	c := w.config(2*floodFill + defaultTxBuffers)
	c.Mode, c.Rings = Copy, Rings{Fill: floodFill}
	d := w.open(c)
	defer d.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	batch := driver.NewBatch(64, 512)
	stop := w.flood()
	from, got := threadTime(w.t), 0
	for got < floodFrames {
		if err := d.Poll(0, batch); err != nil {
			w.t.Fatal(err)
		}
		got += len(batch.Frames)
		if len(batch.Frames) > 0 {
			put(d, batch)
		} else if err := d.Wait(0); err != nil {
			w.t.Fatal(err)
		}
	}
	p.receiver = float64(threadTime(w.t)-from) / float64(got)
	p.sender = float64(stop()) / float64(got)
	return p
}

func (w *world) againstC(loop string) (p perFrame) {
	pool := newPool(w.t, 2*floodFill, true)
	u := umem{region: pool.Region()}
	sizes := ringSizes{fill: floodFill, rx: floodFill, completion: minRing}
	var q *queue
	err := w.ours.Do(func() (err error) {
		if q, err = openSocket(0, &u, sizes); err != nil {
			return err
		}
		return patiently(unix.EBUSY, ghostPatience, func() error {
			return q.bind(w.index, unix.XDP_COPY|unix.XDP_USE_SG|unix.XDP_USE_NEED_WAKEUP, nil)
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer q.close()
	if err := w.program.register(0, q.fd); err != nil {
		w.t.Fatal(err)
	}
	defer w.program.unregister(0)
	fd, err := unix.FcntlInt(uintptr(q.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "AF_XDP")
	defer file.Close()
	cmd := exec.Command(loop, "3", strconv.Itoa(int(sizes.fill)), strconv.Itoa(int(sizes.rx)), strconv.Itoa(floodFill), strconv.Itoa(floodFrames))
	cmd.ExtraFiles, cmd.Stderr = []*os.File{file}, os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan() // it has posted its buffers
	stop := w.flood()
	lines.Scan()
	p.sender = float64(stop()) / floodFrames
	var user, system float64
	_, err = fmt.Sscan(lines.Text(), &user, &system)
	if end := cmd.Wait(); err != nil || end != nil {
		w.t.Fatalf("rxdrop: %v, %v, said %q", end, err, lines.Text())
	}
	p.receiver = (user + system) * 1000 / floodFrames
	return p
}

// flood sends frames of MTU size as fast as one thread can, until stop, which
// returns that thread's CPU time. The kernel cuts what one call hands it into
// datagrams (UDP_SEGMENT), so that few calls make many frames.
func (w *world) flood() (stop func() time.Duration) {
	const datagram, many = 1500 - 28, 44
	conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, datagram)
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var end atomic.Bool
	took := make(chan time.Duration)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		from := threadTime(w.t)
		send(conn, make([]byte, datagram*many), &end)
		took <- threadTime(w.t) - from
	}()
	return func() time.Duration {
		end.Store(true)
		return <-took
	}
}

// send sends until end; what the wire does not take is lost.
func send(c *net.UDPConn, b []byte, end *atomic.Bool) {
	for !end.Load() {
		_, _ = c.Write(b)
	}
}

// threadTime is the CPU time of this thread.
func threadTime(t testing.TB) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Error(err)
	}
	return time.Duration(ts.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
