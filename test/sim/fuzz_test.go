package sim

import (
	"math/rand/v2"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// FuzzHost plays a whole host by a program of bytes: segments of several flows with
// fields near what the host expects, or anywhere, datagrams, calls of applications,
// time, and a pool that runs short. Whatever is in it: nothing panics, what is
// delivered is the peers' streams and what is sent is ours, byte for byte, each buffer
// is in one place after each step and in none at the end, and there are never more
// connections than peers.
//
// It begins with programs by chance, and with what was said in real exchanges: every
// segment that one of the hosts received in a scenario, told as the program would.
func FuzzHost(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		f.Add(randomProgram(rng, 20+rng.IntN(300)))
	}
	for seed := range uint64(12) {
		f.Add(record(f, seed))
	}
	f.Fuzz(func(t *testing.T, prog []byte) {
		if len(prog) > 1<<14 {
			return
		}
		if err := runProgram(prog); err != nil {
			t.Fatal(err)
		}
	})
}

// TestPrograms is FuzzHost with longer programs by chance, and checks that they get
// far enough.
func TestPrograms(t *testing.T) {
	var delivered, written, dialed int
	for seed := range uint64(seeds(t, 150)) {
		m, err := newMachine(randomProgram(rand.New(rand.NewPCG(seed, 9)), 4000))
		if err == nil {
			err = m.run()
		}
		if err != nil {
			t.Fatalf("program %d: %v", seed, err)
		}
		delivered += m.delivered
		written += m.written
		dialed += m.dialed
	}
	if delivered == 0 || written == 0 || dialed == 0 {
		t.Errorf("%d bytes delivered, %d written, %d connections dialed", delivered, written, dialed)
	}
	t.Logf("%d bytes delivered, %d written, %d connections dialed", delivered, written, dialed)
}

// TestRecorded: an exchange that is played again as a program gets somewhere: data is
// delivered, in most of them.
func TestRecorded(t *testing.T) {
	delivered := 0
	for seed := range uint64(12) {
		m, err := newMachine(record(t, seed))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if m.delivered > 0 {
			delivered++
		}
	}
	if delivered < 6 {
		t.Errorf("data delivered in %d of 12 exchanges", delivered)
	}
}

func randomProgram(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// record runs the scenario of a seed, and makes a program of what host 1 is sent.
func record(tb testing.TB, seed uint64) []byte {
	sc := Draw(seed)
	for i := range sc.Hosts {
		sc.Hosts[i].Ethernet = false
	}
	tap := &tap{ports: map[uint16]*expected{}}
	_, err := Run(sc, func(i int, s Settings, p *buf.Pool, d driver.Driver) (Host, error) {
		if i == 1 {
			tap.Driver = d
			d = tap
		}
		return NewLocal(s, p, d)
	})
	if err != nil {
		tb.Fatalf("seed %d: %v", seed, err)
	}
	return tap.prog
}

// recordMax is about the length of a recorded program, in bytes.
const recordMax = 1500

// tap is a driver that tells what it receives as a program.
type tap struct {
	driver.Driver
	prog  []byte
	ports map[uint16]*expected // by the peer's port
	last  mono.Time
}

// expected is what a host expects of a peer: the numbers of the last segment sent to it.
type expected struct{ seq, ack wire.Seq }

func (t *tap) Poll(now mono.Time, b *driver.Batch) error {
	err := t.Driver.Poll(now, b)
	for i := range b.Frames {
		if len(t.prog) < recordMax {
			t.tell(now, b.Frames[i].Head)
		}
	}
	return err
}

func (t *tap) Send(now mono.Time, frames []driver.TxFrame) (int, error) {
	for i := range frames {
		var ip wire.Packet
		var h wire.TCP
		head := frames[i].Head
		if wire.ParseIP(head, frames[i].Len(), wire.Vouched, &ip) == wire.OK && wire.ParseTCP(head, &ip, &h) == wire.OK {
			n := uint32(h.PayloadLen)
			if h.Flags.Has(wire.SYN) {
				n++
			}
			if h.Flags&(wire.SYN|wire.ACK) == wire.SYN && len(t.prog) < recordMax {
				t.prog = append(t.prog, opDial, byte(h.DstPort%peers))
			}
			t.ports[h.DstPort] = &expected{h.Seq.Add(n), h.Ack}
		}
	}
	return t.Driver.Send(now, frames)
}

// tell appends the segment that begins with head, and what an application might do
// then.
func (t *tap) tell(now mono.Time, head []byte) {
	var ip wire.Packet
	var h wire.TCP
	if len(head) < 40 || wire.ParseIP(head, 1<<15, wire.Vouched, &ip) != wire.OK || wire.ParseTCP(head, &ip, &h) != wire.OK {
		return
	}
	if now.Sub(t.last) > 0 {
		t.prog = append(t.prog, opTime, byte(min(now.Sub(t.last)/100_000, 199)))
		t.last = now
	}
	peer := byte(h.SrcPort % peers)
	if h.Flags&(wire.SYN|wire.ACK) == wire.SYN {
		t.prog = append(t.prog, opOpen, peer, 0)
		return
	}
	e := t.ports[h.SrcPort]
	if e == nil {
		return
	}
	seq, ack := int16(h.Seq.Sub(e.ack)), int16(h.Ack.Sub(e.seq))
	if seq == 0 && ack == 0 {
		t.prog = append(t.prog, opNext, peer, byte(h.Flags)&1, byte(h.PayloadLen/16))
	} else {
		t.prog = append(t.prog, opSegment, peer, byte(seq>>8), byte(seq), byte(ack>>8), byte(ack), byte(h.Flags), byte(h.PayloadLen/16))
	}
	t.prog = append(t.prog, opRead, peer, 20, opWrite, peer, 9)
}
