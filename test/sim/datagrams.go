package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// A DatagramHost is a Host that has UDP, too.
type DatagramHost interface {
	Host

	// OpenUDP makes a socket at port, on all addresses; connected to remote if that is
	// valid.
	OpenUDP(port uint16, remote netip.AddrPort) (Socket, error)
}

// A Socket is an application's UDP socket. No method waits.
type Socket interface {
	// Send sends p, to remote unless the socket is connected; false: there is no room.
	// An error may be of a datagram before, and then p is not sent.
	Send(p []byte, remote netip.AddrPort) (bool, error)

	// Recv passes what has come to got, one datagram after the other, up to limit, as
	// Conn's Read does. An error that is an errno is of something that was sent.
	Recv(limit int, keep bool, got func(*Arrival) error) (n int, err error)

	// Release gives back what Recv kept, after got has seen it again.
	Release(got func(*Arrival) error) error

	Close() error
}

// An Arrival is a datagram that came.
type Arrival struct {
	From      netip.AddrPort
	Payload   []byte
	Truncated bool
	Len       int // as sent
}

// A DatagramPlan is what one host sends another in datagrams.
type DatagramPlan struct {
	From      int // the host that sends
	Start     time.Duration
	Count     int
	Longest   int // payload, bytes
	Interval  time.Duration
	Burst     int
	Connected bool // both sockets
	Pause     float64
	PauseBy   time.Duration
	Keep      float64
}

// datagramHead is what tells a datagram from others: its number. Shorter ones are all
// alike.
const datagramHead = 8

// settling is how long datagrams may be on their way after the last was sent.
const settling = 10 * time.Second

// fullPause is after what time a sender whose socket had no room tries again.
const fullPause = time.Millisecond

// datagrams is a plan under way.
type datagrams struct {
	world *world
	plan  *DatagramPlan
	ports [2]uint16 // of the sender, the receiver
	rand  *rand.Rand
	out   Socket
	in    Socket

	sizes    []int // of what was sent, by number
	seen     []uint8
	short    map[int]int // sent less received of those without a number, by size; copies allow for more
	received int
	refused  int // datagrams, or those before them
	next     mono.Time
	asleep   mono.Time
	kept     bool
	closed   bool
}

func newDatagrams(w *world, i int) (*datagrams, error) {
	d := &datagrams{
		world: w, plan: &w.sc.Datagrams[i], ports: [2]uint16{uint16(3000 + i), uint16(2000 + i)},
		rand: rand.New(rand.NewPCG(w.sc.Seed, 1<<32+uint64(i))), short: map[int]int{},
	}
	d.next = start.Add(d.plan.Start)
	var from, to netip.AddrPort
	if d.plan.Connected {
		from = netip.AddrPortFrom(w.sc.addr(d.plan.From), d.ports[0])
		to = netip.AddrPortFrom(w.sc.addr(1-d.plan.From), d.ports[1])
	}
	var err error
	if d.out, err = open(w.hosts[d.plan.From], d.ports[0], to); err != nil {
		return nil, err
	}
	d.in, err = open(w.hosts[1-d.plan.From], d.ports[1], from)
	return d, err
}

func open(h Host, port uint16, remote netip.AddrPort) (Socket, error) {
	u, ok := h.(DatagramHost)
	if !ok {
		return nil, errors.New("the host has no UDP")
	}
	return u.OpenUDP(port, remote)
}

func (d *datagrams) done() bool { return d.closed }

func (d *datagrams) String() string {
	return fmt.Sprintf("datagrams at %v: sent %d of %d, refused %d, received %d, closed %v",
		d.world.now.Sub(start), len(d.sizes), d.plan.Count, d.refused, d.received, d.closed)
}

// due is when the applications do something of their own, 0 for never.
func (d *datagrams) due(now mono.Time) mono.Time {
	switch {
	case d.closed:
		return 0
	case now.Before(d.asleep):
		return earlier(d.next, d.asleep)
	case d.kept:
		return earlier(d.next, now.Add(time.Millisecond))
	}
	return d.next
}

func (d *datagrams) step(now mono.Time) (busy bool, err error) {
	if d.closed {
		return false, nil
	}
	over := len(d.sizes)+d.refused >= d.plan.Count
	switch {
	case now.Before(d.next):
	case over:
		d.closed = true
		err := d.drain()
		return true, errors.Join(err, d.in.Close(), d.out.Close())
	default:
		full := false
		if busy, full, err = d.send(); err != nil {
			return busy, err
		}
		pause := time.Microsecond
		if full {
			pause = fullPause // or a slow path is asked a million times a second whether there is room
		}
		d.next = now.Add(max(d.plan.Interval, pause))
		if len(d.sizes)+d.refused >= d.plan.Count {
			d.next = now.Add(settling)
		}
	}
	if now.Before(d.asleep) {
		return busy, nil
	}
	n, err := d.recv()
	if d.rand.Float64() < d.plan.Pause {
		d.asleep = now.Add(time.Duration(d.rand.Int64N(int64(d.plan.PauseBy) + 1)))
	}
	return busy || n > 0, err
}

// fill makes datagram n, of so many bytes.
func (d *datagrams) fill(b []byte, n int) {
	stream().Fill(b, int64(n)<<16)
	if len(b) >= datagramHead {
		binary.BigEndian.PutUint64(b, uint64(n))
	}
}

// send sends a burst; full tells that the socket had no room for all of it.
func (d *datagrams) send() (busy, full bool, err error) {
	to := netip.AddrPortFrom(d.world.sc.addr(1-d.plan.From), d.ports[1])
	for range d.plan.Burst {
		n := len(d.sizes)
		if n+d.refused >= d.plan.Count {
			break
		}
		size := d.rand.IntN(d.plan.Longest + 1)
		if d.rand.IntN(10) == 0 {
			size = d.rand.IntN(datagramHead)
		}
		b := make([]byte, size)
		if d.fill(b, n); size < datagramHead {
			d.fill(b, 0)
		}
		ok, err := d.out.Send(b, to)
		switch {
		case told(err):
			d.refused++
			continue
		case err != nil:
			return true, false, err
		case !ok:
			return busy, true, nil
		}
		busy = true
		d.sizes, d.seen = append(d.sizes, size), append(d.seen, 0)
		d.short[size]++
	}
	return busy, false, nil
}

// told reports whether an error is what the network may say of a datagram.
func told(err error) bool {
	return errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.ECONNREFUSED)
}

// verify compares a datagram with what was sent.
func (d *datagrams) verify(a *Arrival) (number int, err error) {
	if from := netip.AddrPortFrom(d.world.sc.addr(d.plan.From), d.ports[0]); a.From != from {
		return 0, fmt.Errorf("%w: a datagram from %v, not %v", errWrong, a.From, from)
	}
	if a.Truncated {
		return 0, fmt.Errorf("%w: %d bytes of %d: truncated", errWrong, len(a.Payload), a.Len)
	}
	want := make([]byte, len(a.Payload))
	if len(want) >= datagramHead {
		n := binary.BigEndian.Uint64(a.Payload)
		if n >= uint64(len(d.sizes)) || d.sizes[n] != len(want) {
			return 0, fmt.Errorf("%w: datagram %d of %d bytes was not sent", errWrong, n, len(want))
		}
		number = int(n)
	}
	if d.fill(want, number); string(want) != string(a.Payload) {
		return 0, fmt.Errorf("%w: the bytes of datagram %d", errWrong, number)
	}
	return number, nil
}

// copies is how often one datagram may come.
func (d *datagrams) copies() int {
	if d.world.sc.Path[d.plan.From].Duplicate > 0 {
		return 2
	}
	return 1
}

// take takes in one datagram.
func (d *datagrams) take(a *Arrival) error {
	n, err := d.verify(a)
	if err != nil {
		return err
	}
	d.received++
	if len(a.Payload) < datagramHead {
		if d.short[len(a.Payload)]--; d.copies() == 1 && d.short[len(a.Payload)] < 0 {
			return fmt.Errorf("%w: more datagrams of %d bytes than were sent", errWrong, len(a.Payload))
		}
		return nil
	}
	if d.seen[n]++; int(d.seen[n]) > d.copies() {
		return fmt.Errorf("%w: datagram %d for the %dth time", errWrong, n, d.seen[n])
	}
	return nil
}

// again looks at one that was kept.
func (d *datagrams) again(a *Arrival) error {
	_, err := d.verify(a)
	return err
}

func (d *datagrams) recv() (int, error) {
	if d.kept && d.rand.IntN(4) == 0 {
		d.kept = false
		if err := d.in.Release(d.again); err != nil {
			return 0, err
		}
	}
	keep := d.rand.Float64() < d.plan.Keep
	n, err := d.in.Recv(1+d.rand.IntN(20), keep, d.take)
	d.kept = d.kept || n > 0 && keep
	if told(err) {
		err = nil
	}
	return n, err
}

// drain receives what is left.
func (d *datagrams) drain() error {
	if err := d.in.Release(d.again); err != nil {
		return err
	}
	for {
		if n, err := d.in.Recv(20, false, d.take); n == 0 || err != nil && !told(err) {
			return err
		}
	}
}
