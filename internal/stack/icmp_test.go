package stack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

func TestPing(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		data := pattern(1, 50)
		request := pingPacket(t, a, data)
		padded := append(bytes.Clone(request), 1, 2, 3)
		for _, l := range layouts(len(padded)) {
			r.now = r.now.Add(time.Second) // a fresh allowance
			out := r.deliver(padded, l)
			if len(out) != 1 {
				t.Fatalf("%+v: %d frames out, want 1", l, len(out))
			}
			p := parse(t, out[0])
			if p.icmp.Kind != wire.ICMPEchoReply || p.icmp.EchoID != 7 || p.icmp.EchoSeq != 9 ||
				p.Src != a.us || p.Dst != a.peer || !bytes.Equal(p.payload, data) {
				t.Fatalf("%+v: %+v with %x", l, p.icmp, p.payload)
			}
			r.wantFree()
		}
		r.wantDrops(nil)
	}
}

// TestAnswersAreLimited: what strangers can draw is bounded in a burst and over
// time, each kind by itself, and the bound is soft again afterwards.
func TestAnswersAreLimited(t *testing.T) {
	a := pairs[0]
	closed := udpPacket(t, netip.AddrPortFrom(a.peer, 9), netip.AddrPortFrom(a.us, 53), nil)
	syn := tcpPacket(t, a.peer, a.us, wire.TCP{SrcPort: 9, DstPort: 80, Seq: 5, Flags: wire.SYN}, nil)
	for name, request := range map[string][]byte{"ping": pingPacket(t, a, nil), "udp": closed, "tcp": syn} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			flood := func(n int) (answers int) {
				for range n {
					answers += len(r.deliver(request, whole))
				}
				return answers
			}
			bursts := map[int]bool{}
			burst := func() (n int) {
				if n = flood(2 * answersBurst); n < answersBurst/2 || n > answersBurst {
					t.Errorf("%d answers in one go, want %d to %d", n, answersBurst/2, answersBurst)
				}
				bursts[n] = true
				return n
			}
			answers, total := burst(), 0
			for range 100 {
				r.now = r.now.Add(10 * time.Millisecond)
				total += flood(answersBurst)
			}
			if total != answersPerSecond {
				t.Errorf("%d answers in a second, want %d", total, answersPerSecond)
			}
			answers += total
			const later = 20
			for range later {
				r.now = r.now.Add(time.Hour)
				answers += burst()
			}
			if len(bursts) < 5 {
				t.Errorf("the size of a burst can be predicted: %v", bursts)
			}
			st := r.stack.Stats()
			if n := int(st.EchoesSuppressed + st.UnreachablesSuppressed + st.ResetsSuppressed); n != 100*50+(1+later)*2*answersBurst-answers {
				t.Errorf("%d suppressed and %d answers", n, answers)
			}
		})
	}
}

func TestPortUnreachable(t *testing.T) {
	for _, a := range pairs {
		r := newRig(t)
		src, dst := netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53)
		b := udpPacket(t, src, dst, pattern(1, 200))
		headers := len(b) - 200
		for _, l := range []layout{whole, {headers, []int{4096}}, {1, []int{1}}, {4096, nil}} {
			out := r.deliver(b, l)
			if len(out) != 1 {
				t.Fatalf("%+v: %d frames out, want 1", l, len(out))
			}
			p := parse(t, out[0])
			want := wire.Tuple{Local: src, Remote: dst, Proto: wire.ProtoUDP}
			if p.icmp.Kind != wire.ICMPUnreachable || p.icmp.Quote.Flow != want || p.Dst != a.peer || p.Src != a.us {
				t.Errorf("%+v: %+v to %v", l, p.icmp, p.Dst)
			}
		}
		r.wantDrops(map[string]uint64{"no-socket": 4})
		r.wantFree()
	}
}
