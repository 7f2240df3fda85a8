//go:build linux

package uringtest_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// opener makes the instance that a test runs on.
type opener func(t *testing.T, entries, cqEntries int, mixed bool) uring.Instance

func openFake(o uringtest.Options) opener {
	return func(t *testing.T, entries, cqEntries int, mixed bool) uring.Instance {
		o.SQEntries, o.CQEntries, o.Mixed = entries, cqEntries, mixed
		k, err := uringtest.New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if c := k.Counts(); c.Bogus > 0 {
				t.Errorf("wrong refill entries: %+v", c)
			}
		})
		return k
	}
}

func openRing(t *testing.T, entries, cqEntries int, mixed bool) uring.Instance {
	p := uring.Params{Flags: uring.SetupSingleIssuer | uring.SetupDeferTaskrun | uring.SetupCQE32, CQEntries: uint32(cqEntries)}
	if mixed {
		p.Flags ^= uring.SetupCQE32 | uring.SetupCQEMixed
	}
	r, err := uring.New(uint32(entries), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestContract runs one script on a Kernel without a device and on one with a NIC.
func TestContract(t *testing.T) {
	t.Run("no device", func(t *testing.T) { contract(t, openFake(uringtest.Options{}), true) })
	t.Run("device", func(t *testing.T) { contract(t, openFake(uringtest.Options{Device: true}), false) })
	t.Run("packing device", func(t *testing.T) { contract(t, openFake(uringtest.Options{Device: true, Chunk: 1000}), false) })
}

// TestLabContract runs the same script on the real kernel: a Kernel is worth something only if it behaves like it.
func TestLabContract(t *testing.T) {
	for _, f := range []uring.Feature{uring.ZCRX, uring.ZCRXNoDevice, uring.ZCRXFlush, uring.ZCRXExport, uring.ZCRXNotices} {
		if err := uring.Have(f); err != nil {
			if os.Getenv("ZCTAP_LAB") == "1" || !errors.Is(err, uring.ErrNotSupported) {
				t.Fatal(err)
			}
			t.Skipf("runs in the lab: %v", err)
		}
	}
	contract(t, openRing, true)
}

// contract is the script. Without a device the queue's ends are known: ENOMEM, the event COPY.
func contract(t *testing.T, open opener, noDevice bool) {
	for name, test := range map[string]func(*testing.T, *peer){
		"stream":     testStream,
		"credit":     testCredit,
		"queue full": testQueueFull,
		"cancel":     testCancel,
		"errors":     testErrors,
		"accept":     testAccept,
		"wake":       testWake,
		"poll":       testPoll,
		"exhaustion": testExhaustion,
		"events":     testEvents,
		"export":     testExport,
	} {
		for _, mixed := range []bool{false, true} {
			kind := map[bool]string{false: "CQE32", true: "CQE_MIXED"}[mixed]
			t.Run(name+"/"+kind, func(t *testing.T) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				cq := 128
				if name == "queue full" {
					cq = 8
				}
				p := &peer{t: t, open: open, mixed: mixed, noDevice: noDevice, ring: open(t, 8, cq, mixed)}
				defer func() {
					if err := p.ring.Close(); err != nil {
						t.Error(err)
					}
				}()
				p.register()
				test(t, p)
			})
		}
	}
}

// peer is a ring with an interface queue.
type peer struct {
	t               *testing.T
	open            opener
	mixed, noDevice bool
	ring            uring.Instance
	area            []byte
	q               *uring.IFQ
	ends            []int32 // results that ended a receive and were dealt with
	other           []uring.CQE
}

const (
	areaPages = 16
	recvData  = 1 // user data of receives
	eventData = 2
)

func (p *peer) register() {
	p.t.Helper()
	var err error
	p.area = make([]byte, areaPages*os.Getpagesize()) // the race detector watches it
	if _, real := p.ring.(*uring.Ring); real {
		if p.area, err = unix.Mmap(-1, 0, len(p.area), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { unix.Munmap(p.area) })
	}
	p.q, err = p.ring.RegisterZCRX(uring.ZCRXConfig{
		NoDevice: true, Area: uring.Area{Memory: p.area}, RefillEntries: 8,
		Events: uring.ZCRXCopied | uring.ZCRXAllocFailed, EventUserData: eventData, Stats: true,
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) push(sqe uring.SQE) {
	p.t.Helper()
	if err := p.ring.Push(sqe); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next completion that is no event.
func (p *peer) next() uring.CQE {
	p.t.Helper()
	var c [1]uring.CQE
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if p.ring.Reap(c[:]) == 1 {
			if c[0].UserData == eventData {
				p.other = append(p.other, c[0])
				continue
			}
			return c[0]
		}
		if _, err := p.ring.Enter(1, time.Second); err != nil && !uring.Busy(err) {
			p.t.Fatal(err)
		}
	}
	p.t.Fatal("no completion came")
	return uring.CQE{}
}

// put writes an entry if there is room.
func put(rq *uring.RQ, token uint64) bool {
	room := rq.Room(1)
	if len(room) == 0 {
		return false
	}
	room[0] = uring.RefillEntry{Token: token}
	rq.Wrote(1)
	return true
}

func (p *peer) giveBack(token uint64) {
	p.t.Helper()
	rq := p.q.Refill()
	for deadline := time.Now().Add(20 * time.Second); !put(rq, token); {
		rq.Publish()
		p.flush()
		if time.Now().After(deadline) {
			p.t.Fatal("the refill ring stays full")
		}
	}
}

func (p *peer) flush() {
	p.t.Helper()
	p.q.Refill().Publish()
	if err := p.q.Flush(); err != nil {
		p.t.Fatal(err)
	}
}

// receive receives until the request ends for good, verifies, and returns how much came and the last result.
func (p *peer) receive(fd int, want []byte, credit int) (got int, res int32) {
	p.t.Helper()
	arm := func() { p.push(uring.RecvZC(fd, p.q.ID(), uint32(max(credit-got, 0)), 0, recvData)) }
	for arm(); ; {
		c := p.next()
		if d, ok := p.q.Data(&c); ok {
			if got+d.Len > len(want) || !bytes.Equal(p.area[d.Offset():][:d.Len], want[got:][:d.Len]) {
				p.t.Fatalf("wrong bytes: %d at %#x, after %d of %d", d.Len, d.Token, got, len(want))
			}
			got += d.Len
			p.giveBack(d.Token)
			continue
		}
		if c.UserData != recvData || c.More() || c.Res > 0 {
			p.t.Fatalf("unexpected %+v", c)
		}
		if c.Res != -int32(unix.ENOMEM) && c.Res != -int32(unix.ENOSPC) {
			return got, c.Res
		}
		p.ends = append(p.ends, c.Res)
		p.flush()
		arm()
	}
}

// pair returns the descriptor of a TCP connection and the other end, which feed writes to.
func (p *peer) pair() (fd int, other net.Conn) {
	p.t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer ln.Close()
	if other, err = net.Dial("tcp4", ln.Addr().String()); err != nil {
		p.t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { f.Close(); other.Close() })
	fd = int(f.Fd()) // blocking
	return fd, other
}

// feed writes b beside the test, and ends the stream.
func (p *peer) feed(to net.Conn, b []byte) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := to.Write(b); err != nil {
			p.t.Error(err)
		}
		to.(*net.TCPConn).CloseWrite()
	})
	p.t.Cleanup(wg.Wait)
	p.t.Cleanup(func() { to.Close() }) // a test that failed reads no more
}

func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
