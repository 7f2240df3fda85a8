//go:build linux

package gvnic

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// TestTSO sends super-frames to a driver with and without RSC: it gets one
// packet with the size of a segment, or packets with checksums that are right.
func TestTSO(t *testing.T) {
	for _, tt := range []struct {
		name     string
		v6, udp  bool
		rsc      bool
		noRSC    bool // in the device
		buffer   int
		mss      int
		coalesce bool // what is wanted
	}{
		{name: "RSC", rsc: true, mss: 1448, coalesce: true},
		{name: "RSC, IPv6, 2 KiB", v6: true, rsc: true, buffer: 2048, mss: 1428, coalesce: true},
		{name: "RSC, jumbo", rsc: true, mss: 8948, coalesce: true},
		{name: "no RSC", mss: 1448},
		{name: "no RSC, IPv6, jumbo", v6: true, mss: 8928},
		{name: "a device without RSC", rsc: true, noRSC: true, mss: 1448},
		{name: "UDP", udp: true, rsc: true, mss: 1400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, y := pair(t, Config{MTU: 9000}, Config{MTU: 9000, NoRSC: tt.noRSC})
			x.up(setup{})
			y.up(setup{rsc: tt.rsc, buffer: tt.buffer})
			y.oneQueue()
			q := y.rx[0]
			packets := 0
			for i, n := range []int{tt.mss + 1, 2 * tt.mss, 20_000, 60_000, 60_001} {
				s := spec{v6: tt.v6, stamps: true, seq: uint32(i) << 20, flags: wire.PSH, payload: pattern(uint64(n), n), partial: true}
				header := 14 + 20 + 32
				if tt.v6 {
					header += 20
				}
				if tt.udp {
					s.proto, header = wire.ProtoUDP, 14+20+8
				}
				tag := x.tx[0].send(s.frame(t), sending{mss: tt.mss, header: header, pieces: []int{header}})
				var got []byte
				for len(got) < n {
					r := q.wait()
					packets++
					if len(r.header) != header || r.badL4 || r.rxError {
						t.Fatalf("header of %d bytes, want %d; %+v", len(r.header), header, r)
					}
					if tt.coalesce {
						if r.segment != tt.mss || len(r.payload) != n {
							t.Errorf("RSC: %d bytes in segments of %d; want %d in %d", len(r.payload), r.segment, n, tt.mss)
						}
					} else if r.segment != 0 || len(r.payload) > tt.mss {
						t.Errorf("no RSC: %d bytes, segment size %d", len(r.payload), r.segment)
					}
					p, tcp, _ := checkFrame(t, r.frame())
					if !tt.udp && uint32(tcp.Seq) != s.seq+uint32(len(got)) {
						t.Errorf("sequence number %d, want %d", tcp.Seq, s.seq+uint32(len(got)))
					}
					if p.Version == 6 != tt.v6 {
						t.Errorf("IP version %d", p.Version)
					}
					got = append(got, r.payload...)
					q.post(r.buffers)
				}
				if !bytes.Equal(got, s.payload) {
					t.Fatalf("payload of %d bytes is not that sent", n)
				}
				x.tx[0].done(tag)
			}
			tx, rx := x.dev.Stats().Tx[0], y.dev.Stats().Rx[0]
			if tx.Super != 5 || tx.Checksums != 5 || rx.Frames != uint64(packets) || rx.Split != uint64(packets) {
				t.Errorf("sent %+v, received %+v", tx, rx)
			}
			if tt.coalesce && (rx.Coalesced != 5 || rx.Segments != tx.Segments) || !tt.coalesce && (rx.Cut != 5 || uint64(packets) != tx.Segments) {
				t.Errorf("sent %+v, received %+v", tx, rx)
			}
		})
	}
}

// TestRSCFewBuffers: a super-frame that finds too few buffers is given in
// parts, each as a wire could have brought it, and none waits for what the
// driver may never post.
func TestRSCFewBuffers(t *testing.T) {
	for _, noSplit := range []bool{false, true} {
		x, y := pair(t, Config{}, Config{})
		x.up(setup{})
		y.up(setup{ring: 64, rsc: true, noSplit: noSplit, noPost: true})
		y.oneQueue()
		q := y.rx[0]
		s := spec{payload: pattern(1, 40_000), partial: true, flags: wire.PSH}
		const mss = 1024 // four are as long as a buffer, and with a header longer
		x.tx[0].send(s.frame(t), sending{mss: mss, header: 54})
		q.idle(20 * time.Millisecond)
		var got []byte
		for i := 0; len(got) < len(s.payload); i++ {
			q.post(1 + i%5) // buffers of 4 KiB
			r := q.wait()
			p, tcp, payload := checkFrame(t, r.frame())
			segments := len(got) / mss
			if r.badL4 || uint32(tcp.Seq) != uint32(len(got)) || p.ID != uint32(100+segments) || tcp.Flags.Has(wire.PSH) != (len(got)+len(payload) == len(s.payload)) {
				t.Fatalf("after %d bytes: %+v, %+v, %+v", len(got), r, p, tcp)
			}
			if len(payload) > mss != (r.segment == mss) {
				t.Errorf("%d bytes, segment size %d", len(payload), r.segment)
			}
			got = append(got, payload...)
		}
		if !bytes.Equal(got, s.payload) {
			t.Error("the payload is not that sent")
		}
		if st := y.dev.Stats().Rx[0]; st.Shortened < 3 || st.DropNoBuffers+st.DropTooLong != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// TestSplit: what the device splits, and what not.
func TestSplit(t *testing.T) {
	long := spec{v6: true, sack: 4}
	for _, tt := range []struct {
		name     string
		spec     spec
		header   int
		overflow bool
		extended bool
		edit     func([]byte) []byte
	}{
		{name: "TCP", spec: spec{payload: pattern(1, 10)}, header: 54},
		{name: "TCP, nothing in it", spec: spec{}, header: 54},
		{name: "TCP, IPv6, options", spec: spec{v6: true, stamps: true, payload: pattern(1, 1400)}, header: 86},
		{name: "as long as can be", spec: spec{v6: true, sack: 4, tags: 2, payload: pattern(1, 100)}, header: 118},
		{name: "UDP", spec: spec{proto: wire.ProtoUDP, payload: pattern(1, 10)}, header: 42},
		{name: "ICMP", spec: spec{proto: wire.ProtoICMP, payload: pattern(1, 10)}},
		{name: "not IP", spec: spec{}, edit: func([]byte) []byte { return pattern(3, 500) }},
		{name: "a long header", spec: long, overflow: true, extended: true, edit: func(b []byte) []byte {
			// 40 bytes of destination options between IPv6 and TCP.
			ext := append([]byte{wire.ProtoTCP, 4, 1, 36}, make([]byte, 36)...)
			out := append(bytes.Clone(b[:54]), ext...)
			out = append(out, b[54:]...)
			be.PutUint16(out[18:], be.Uint16(out[18:])+40)
			out[20] = 60
			return out
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, y := pair(t, Config{}, Config{})
			x.up(setup{})
			y.up(setup{})
			y.oneQueue()
			f := tt.spec.frame(t)
			if tt.edit != nil {
				f = tt.edit(f)
			}
			x.tx[0].send(f, sending{})
			r := y.rx[0].wait()
			if len(r.header) != tt.header || r.overflow != tt.overflow || r.ipv6Ext != tt.extended || r.buffers != 1 {
				t.Errorf("header of %d bytes, want %d; %+v", len(r.header), tt.header, r)
			}
			if !bytes.Equal(r.frame(), f) {
				t.Error("not the frame sent")
			}
			st := y.dev.Stats().Rx[0]
			if st.Split+st.Unsplit != 1 || (st.Split == 1) != (tt.header > 0) || (st.Overflow == 1) != tt.overflow {
				t.Errorf("%+v", st)
			}
			if pages := y.dev.PayloadFrames(0); (len(pages) == 0) != (len(r.payload) == 0) {
				t.Errorf("%d pages for %d bytes", len(pages), len(r.payload))
			}
		})
	}
}

// TestMalformedTSO: contexts that contradict their packet; the packet is
// dropped, counted and completed, and the next one goes through.
func TestMalformedTSO(t *testing.T) {
	good := spec{payload: pattern(1, 5000), partial: true}
	for name, tt := range map[string]struct {
		frame []byte
		s     sending
		total int // added to the context's
	}{
		"header too short":       {good.frame(t), sending{mss: 1000, header: 53}, 0},
		"header too long":        {good.frame(t), sending{mss: 1000, header: 66}, 0},
		"total too small":        {good.frame(t), sending{mss: 1000, header: 54}, -1},
		"another header":         {good.frame(t), sending{mss: 1000, header: 53}, -1},
		"another end":            {append(good.frame(t), 1, 2, 3), sending{mss: 1000, header: 54}, -3},
		"total too large":        {good.frame(t), sending{mss: 1000, header: 54}, 1 << 20},
		"segments too small":     {good.frame(t), sending{mss: 87, header: 54}, 0},
		"segments over the MTU":  {good.frame(t), sending{mss: 1600, header: 54}, 0},
		"ICMP":                   {spec{proto: wire.ProtoICMP, payload: pattern(1, 5000)}.frame(t), sending{mss: 1000, header: 42}, 0},
		"rubbish":                {pattern(5, 5000), sending{mss: 1000, header: 54}, 0},
		"shorter than IP says":   {good.frame(t)[:4000], sending{mss: 1000, header: 54}, 0},
		"longer than IP says":    {append(good.frame(t), 1, 2, 3), sending{mss: 1000, header: 54}, 0},
		"less than an L2 header": {pattern(1, 13), sending{mss: 1000, header: 54}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x, y := pair(t, Config{}, Config{})
			x.up(setup{})
			y.up(setup{rsc: true})
			y.oneQueue()
			q := x.tx[0]
			tail := q.tail
			s := tt.s
			s.hold = true
			tag := q.send(tt.frame, s)
			copy(x.at(q.ring+uint64(tail)*txDescSize, 4), le.AppendUint32(nil, uint32(len(tt.frame)-s.header+tt.total)&0xffffff))
			q.kick()
			q.done(tag)
			if st := x.dev.Stats().Tx[0]; st.DropMalformed != 1 || st.Frames != 0 {
				t.Errorf("%+v", st)
			}
			q.done(q.send(good.frame(t), sending{mss: 1000, header: 54}))
			if r := y.rx[0].wait(); len(r.payload) != 5000 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestScatter sends one frame in many pieces, and in one of no bytes at all.
func TestScatter(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{})
	y.up(setup{})
	y.oneQueue()
	f := spec{payload: pattern(1, 1400)}.frame(t)
	for _, pieces := range [][]int{{1}, {14, 20, 20, 100, 0, 500}, {0, 0, 0}, {len(f) - 1}} {
		tag := x.tx[0].send(f, sending{pieces: pieces, event: true})
		if r := y.rx[0].wait(); !bytes.Equal(r.frame(), f) {
			t.Errorf("pieces of %v: %d bytes", pieces, len(r.frame()))
		}
		c := x.tx[0].wait()
		if c.kind != complDescriptor || int(c.tag) != x.tx[0].tail {
			t.Errorf("descriptor completion %+v, the tail is %d", c, x.tx[0].tail)
		}
		if c := x.tx[0].wait(); c.kind != complPacket || c.tag != tag {
			t.Errorf("packet completion %+v, want tag %d", c, tag)
		}
	}
}

// TestStream sends a lot over a small wire, one way and then the other, faster
// than it is received: nothing is lost for want of room on the wire.
func TestStream(t *testing.T) {
	small := Config{WireFrames: 3, WireBytes: 100_000, FIFO: 64 << 20}
	x, y := pair(t, small, small)
	for _, g := range []*guest{x, y} {
		g.up(setup{ring: 128, rsc: true})
		g.oneQueue()
	}
	const rounds = 400
	transmit := func(g *guest) {
		for i := range rounds {
			s := spec{seq: uint32(i), payload: pattern(uint64(i), 1+i*97%30_000), partial: true}
			f := s.frame(g.t)
			var tag uint16
			if len(s.payload) > 1460 {
				tag = g.tx[0].send(f, sending{mss: 1460, header: 54})
			} else {
				tag = g.tx[0].send(f, sending{csum: true})
			}
			if i%8 == 7 {
				g.tx[0].done(tag)
			}
		}
	}
	receive := func(g *guest) error {
		for i := 0; i < rounds; i++ {
			want := pattern(uint64(i), 1+i*97%30_000)
			for got := 0; got < len(want); {
				r := g.rx[0].wait()
				if got+len(r.payload) > len(want) || !bytes.Equal(r.payload, want[got:got+len(r.payload)]) {
					return fmt.Errorf("frame %d: %d bytes after %d of %d", i, len(r.payload), got, len(want))
				}
				got += len(r.payload)
				g.rx[0].post(r.buffers)
			}
		}
		return nil
	}
	for _, way := range [][2]*guest{{x, y}, {y, x}} {
		from, to := way[0], way[1]
		stalls := func() uint64 { return from.dev.Stats().TxTotal().Stalls }
		before := stalls()
		var sender sync.WaitGroup
		defer sender.Wait() // also when receiving fails: the guests' memory goes with the test
		func() {
			// Who receives is held up until the wire is full.
			to.dev.mu.Lock()
			defer to.dev.mu.Unlock()
			sender.Go(func() { transmit(from) })
			from.eventually("the wire is full", func() bool { return stalls() > before })
		}()
		if err := receive(to); err != nil {
			t.Fatal(err)
		}
		sender.Wait()
	}
}
