//go:build linux

package uring

import (
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These benchmarks compare ways to accept, to connect and to send for a thread that
// waits in a ring: by requests of the ring, or by system calls of their own. They
// report CPU time, which another load distorts less; docs/performance/zcrx.md has what came out.

// engineRing is the kind of ring that the engines have.
var engineRing = Params{Flags: SetupSingleIssuer | SetupDeferTaskrun}

// cpu is the CPU time that a clock of the thread or the process has measured.
func cpu(b *testing.B, clock int32) time.Duration {
	var ts unix.Timespec
	must(b, unix.ClockGettime(clock, &ts))
	return time.Duration(ts.Nano())
}

// A watch sums up CPU time of the calling thread between start and stop.
type watch struct {
	b     *testing.B
	began time.Duration
	sum   time.Duration
}

func (w *watch) start() { w.began = cpu(w.b, unix.CLOCK_THREAD_CPUTIME_ID) }
func (w *watch) stop()  { w.sum += cpu(w.b, unix.CLOCK_THREAD_CPUTIME_ID) - w.began }

// report gives what one of n took.
func (w *watch) report(n int) {
	w.b.ReportMetric(float64(w.sum.Nanoseconds())/float64(n), "cpu-ns/op")
}

// enter waits for n completions and returns them.
func enter(b *testing.B, r *Ring, n int, cqes []CQE) []CQE {
	if _, err := r.Enter(n, patience); err != nil {
		b.Fatal(err)
	}
	got := r.Reap(cqes)
	if got < n {
		b.Fatalf("%d completions, want %d", got, n)
	}
	return cqes[:got]
}

// client connects to addr without waiting. Its end is a reset, which leaves nothing behind.
func client(b *testing.B, addr netip.AddrPort) int {
	fd := socket4(b)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil && err != unix.EINPROGRESS {
		b.Fatal(err)
	}
	return fd
}

func socket4(b *testing.B) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(b, err)
	must(b, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	return fd
}

// BenchmarkAccept takes connections that have come since the thread slept: one
// request for all, or a poll and accept4 until there is none.
func BenchmarkAccept(b *testing.B) {
	for _, burst := range []int{1, 32} {
		for _, multishot := range []bool{true, false} {
			name := map[bool]string{true: "multishot", false: "poll and accept4"}[multishot]
			b.Run(fmt.Sprintf("%s/%d", name, burst), func(b *testing.B) {
				r := newRing(b, 64, engineRing)
				ln, addr := listener(b)
				must(b, unix.SetNonblock(ln, true))
				arm := PollAdd(ln, unix.POLLIN, PollMultishot, 1)
				if multishot {
					arm = AcceptMultishot(ln, 1)
				}
				push(b, r, arm)
				_, err := r.Submit()
				must(b, err)
				fds, cqes := make([]int, 0, burst), make([]CQE, 64)
				w := watch{b: b}
				done := 0
				for b.Loop() {
					clients := make([]int, burst)
					for i := range clients {
						clients[i] = client(b, addr)
					}
					w.start()
					if multishot {
						for _, c := range enter(b, r, burst, cqes) {
							must(b, c.Err())
							fds = append(fds, int(c.Res))
						}
					} else {
						enter(b, r, 1, cqes)
						for {
							fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(ln), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
							if errno == unix.EAGAIN {
								break
							}
							if errno != 0 {
								b.Fatal(errno)
							}
							fds = append(fds, int(fd))
						}
					}
					w.stop()
					if len(fds) != burst {
						b.Fatalf("accepted %d of %d", len(fds), burst)
					}
					done += burst
					for i, fd := range fds {
						unix.Close(clients[i])
						unix.Close(fd)
					}
					fds = fds[:0]
				}
				w.report(done)
			})
		}
	}
}

// BenchmarkConnect connects and waits until it is done: by a request, or by connect(2)
// and a request to poll.
func BenchmarkConnect(b *testing.B) {
	for _, ring := range []bool{true, false} {
		b.Run(map[bool]string{true: "request", false: "connect and poll"}[ring], func(b *testing.B) {
			r := newRing(b, 64, engineRing)
			ln, addr := listener(b)
			cqes := make([]CQE, 4)
			w := watch{b: b}
			done := 0
			for ; b.Loop(); done++ {
				fd := 0
				if ring {
					fd = socket4(b)
					w.start()
					must(b, r.PushConnect(fd, addr, 1))
					c := enter(b, r, 1, cqes)
					w.stop()
					must(b, c[0].Err())
				} else {
					sa := &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
					fd = socket4(b)
					w.start()
					if err := unix.Connect(fd, sa); err != unix.EINPROGRESS {
						must(b, err)
					}
					push(b, r, PollAdd(fd, unix.POLLOUT, 0, 1))
					enter(b, r, 1, cqes)
					_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
					w.stop()
					must(b, err)
				}
				peer, _, err := unix.Accept(ln)
				must(b, err)
				unix.Close(fd)
				unix.Close(peer)
			}
			w.report(done)
		})
	}
}

// BenchmarkSend sends on loopback, and has the other end take it. The same thread
// sends by send(2), or by the ring, as many at once as there are connections.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{128, 4096, 65536} {
		for _, conns := range []int{1, 16} {
			for _, ring := range []bool{true, false} {
				name := map[bool]string{true: "request", false: "send"}[ring]
				b.Run(fmt.Sprintf("%s/%dB/%d", name, size, conns), func(b *testing.B) {
					r := newRing(b, 64, engineRing)
					data, cqes := memory(b, size), make([]CQE, 64)
					from, to := pairs4(b, conns)
					w := watch{b: b}
					done := 0
					for ; b.Loop(); done += conns {
						w.start()
						if ring {
							for _, fd := range from {
								push(b, r, Send(fd, AddrOf(data), uint32(size), unix.MSG_NOSIGNAL, 1))
							}
							for _, c := range enter(b, r, conns, cqes) {
								if int(c.Res) != size {
									b.Fatalf("sent %d bytes: %v", c.Res, c.Err())
								}
							}
						} else {
							for _, fd := range from {
								sendAll(b, fd, data)
							}
						}
						w.stop()
						for _, fd := range to {
							takeAll(b, fd, size)
						}
					}
					w.report(done)
				})
			}
		}
	}
}

// BenchmarkSendFromElsewhere sends from another thread than the ring's: that hands the
// send to the ring's thread and waits for its end, or calls send(2) itself. It reports the
// CPU time of the process, but for what takes it at the other end.
func BenchmarkSendFromElsewhere(b *testing.B) {
	needFeature(b, MsgRingWake)
	for _, size := range []int{128, 65536} {
		for _, ring := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/%dB", map[bool]string{true: "request", false: "send"}[ring], size), func(b *testing.B) {
				data := memory(b, size)
				from, to := pairs4(b, 1)
				jobs, ended := make(chan int, 1), make(chan int32, 1)
				wakers := make(chan *Waker)
				if ring {
					go ringThread(b, wakers, jobs, ended, data)
				}
				var waker *Waker
				if ring {
					waker = <-wakers
				}
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				taking := watch{b: b}
				done := 0
				began := cpu(b, unix.CLOCK_PROCESS_CPUTIME_ID)
				for ; b.Loop(); done++ {
					if ring {
						jobs <- from[0]
						must(b, waker.Wake())
						if n := <-ended; int(n) != size {
							b.Fatalf("sent %d bytes", n)
						}
					} else {
						sendAll(b, from[0], data)
					}
					taking.start()
					takeAll(b, to[0], size)
					taking.stop()
				}
				all := watch{b: b, sum: cpu(b, unix.CLOCK_PROCESS_CPUTIME_ID) - began - taking.sum}
				all.report(done)
				if ring {
					jobs <- -1
					must(b, waker.Wake())
					<-ended
				}
			})
		}
	}
}

// ringThread sends data on the sockets that come, each announced by a wake, until
// one is negative.
func ringThread(b *testing.B, wakers chan *Waker, jobs chan int, ended chan int32, data []byte) {
	runtime.LockOSThread()
	r, err := New(64, engineRing)
	if err != nil {
		b.Error(err)
		close(wakers)
		return
	}
	defer r.Close()
	wakers <- r.Waker(2, 0)
	cqes := make([]CQE, 8)
	for {
		if _, err := r.Enter(1, -1); err != nil && !Busy(err) {
			b.Error(err)
		}
		for _, c := range cqes[:r.Reap(cqes)] {
			if c.UserData == 1 {
				ended <- c.Res
				continue
			}
			fd := <-jobs
			if fd < 0 {
				ended <- 0
				return
			}
			if err := r.Push(Send(fd, AddrOf(data), uint32(len(data)), unix.MSG_NOSIGNAL, 1)); err != nil {
				b.Error(err)
			}
		}
	}
}

// pairs4 returns connected TCP sockets that have room for what the benchmarks send at once.
func pairs4(b *testing.B, n int) (from, to []int) {
	ln, addr := listener(b)
	for range n {
		fd := dial(b, addr)
		must(b, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		must(b, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20))
		peer, _, err := unix.Accept(ln)
		must(b, err)
		from, to = append(from, fd), append(to, keep(b, peer))
	}
	return from, to
}

func sendAll(b *testing.B, fd int, data []byte) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), AddrOf(data), uintptr(len(data)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 || int(n) != len(data) {
		b.Fatalf("sent %d bytes: %v", n, errno)
	}
}

var sink [1 << 16]byte

func takeAll(b *testing.B, fd, size int) {
	for size > 0 {
		n, err := unix.Read(fd, sink[:min(size, len(sink))])
		if err != nil || n == 0 {
			b.Fatalf("read %d: %v", n, err)
		}
		size -= n
	}
}
