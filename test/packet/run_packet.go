package packet

import (
	"fmt"
	"strings"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// seqOf is a sequence number of any size, modulo 2^32.
func seqOf(n int64) wire.Seq { return wire.Seq(uint32(n)) }

// expect waits for a packet and compares it.
func (r *Runner) expect(e *Event) error {
	early, late := r.target.Slack()
	first, last := r.last+e.When.Lo-early, r.last+e.When.Hi+late
	switch {
	case e.When.Any:
		first, last = 0, r.last+patience
	case e.When.Hi == e.When.Lo:
		last += e.When.Lo / timerSlack
	}
	sent, err := r.target.Next(last)
	if err != nil {
		return err
	}
	if sent == nil {
		return untimely("nothing came, want\n        %v", e)
	}
	got, err := dissect(sent)
	if err != nil {
		return err
	}
	r.lastOut = got.raw
	if got.ip.Proto == wire.ProtoTCP && e.Packet.Proto == TCP {
		r.flow.learn(e.Packet, got)
	}
	p := got.pattern(r.flow)
	r.note(got.at, "%v", p)
	if err := r.compare(e, p, got); err != nil {
		if behind := got.at - r.last - e.When.Hi; !e.When.Any && behind > lateWake {
			// What it says may be of its time, as a timestamp is.
			return untimely("it came %v late, and: %v", behind, err)
		}
		return err
	}
	if got.at < first {
		return untimely("it came %v early (%v after the last event), want\n        %v", first-got.at, (got.at - r.last).Round(time.Microsecond), e)
	}
	if got.at > last {
		return untimely("it came %v late (%v after the last event), want\n        %v", got.at-last, (got.at - r.last).Round(time.Microsecond), e)
	}
	r.last = got.at
	return nil
}

// compare holds a packet against the event that expects it.
func (r *Runner) compare(e *Event, p *Packet, got *received) error {
	m := &matcher{vars: r.vars, bound: map[string]int64{}}
	if !r.flow.carries(got) {
		m.complain("another flow's ports, %d to %d, want %d to %d",
			got.tcp.SrcPort+got.udp.SrcPort, got.tcp.DstPort+got.udp.DstPort, r.flow.stack, r.flow.peer)
	}
	if e.Packet.Craft != nil && e.Packet.Craft.to != "" {
		to, err := unusualAddr(e.Packet.Craft.to, r.world)
		if err != nil {
			return err
		}
		if got.ip.Dst != to {
			m.complain("it goes to %v, want %v", got.ip.Dst, to)
		}
	}
	m.packet(e.Packet, p)
	if e.Packet.ECN != nil {
		m.value("ecn", *e.Packet.ECN, int64(got.ip.TrafficClass&3))
	}
	if e.Packet.DSCP != nil {
		m.value("dscp", *e.Packet.DSCP, int64(got.ip.TrafficClass>>2))
	}
	switch p.Proto {
	case TCP:
		if got.tcp.Options.HasTimestamps {
			r.vars["last"] = int64(got.tcp.Options.TSVal)
		}
		if off := p.Seq.Lo - 1; len(m.wrong) == 0 && !got.tcp.Flags.Has(wire.SYN) && !matches(stackStream, got.payload, off) {
			m.complain("the payload is not what the application sent there")
		}
	case UDP:
		if !matches(stackStream, got.payload, 0) {
			m.complain("the payload is not what the application sent")
		}
	case Pong:
		if got.icmp.EchoID != echoID || got.icmp.EchoSeq != echoSeq || !matches(peerStream, got.payload, 0) {
			m.complain("it does not answer the request")
		}
	case ICMP:
		if err := r.quotes(got); err != "" {
			m.complain("%s", err)
		}
	}
	if len(m.wrong) > 0 {
		return fmt.Errorf("%s\n   want %v\n   got  %v", strings.Join(m.wrong, "; "), e.Packet, p)
	}
	for name, n := range m.bound {
		r.vars[name] = n
	}
	return nil
}

// quotes says what is wrong with the quote of an ICMP error: it has to be of what
// was injected last, its addresses and the first 8 bytes behind the IP header.
func (r *Runner) quotes(got *received) string {
	var p wire.Packet
	if r.lastIn == nil {
		return "nothing was injected that it could be about"
	}
	n := min(len(r.lastIn), wire.IPv6HeaderLen+8)
	if wire.ParseIP(r.lastIn, len(r.lastIn), wire.Verify, &p) == wire.OK {
		n = p.L4Offset + 8
	}
	if len(got.payload) < n || string(got.payload[:n]) != string(r.lastIn[:n]) {
		return "it does not quote what was injected last"
	}
	return ""
}

// inject builds a packet of the pattern, and injects it.
func (r *Runner) inject(p *Packet) error {
	w, err := r.world, error(nil)
	if p.Craft != nil {
		w, err = p.Craft.between(w)
	}
	if err != nil {
		return err
	}
	b, err := r.build(p, w)
	if err != nil {
		return err
	}
	if p.BadChecksum {
		spoil(b)
	}
	if p.Craft != nil {
		if b, err = p.Craft.apply(b); err != nil {
			return err
		}
	}
	r.lastIn = b
	if p.Cut == nil {
		return r.target.Inject(b)
	}
	r.fragmented++
	for _, c := range p.Cut {
		f, err := buildFragment(b, r.fragmented, c)
		if err == nil {
			err = r.target.Inject(f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) build(p *Packet, w world) ([]byte, error) {
	n, err := r.resolve(p.Len)
	if err != nil {
		return nil, err
	}
	if n < 0 || p.Proto != ICMP && n > 1<<16 {
		return nil, fmt.Errorf("a payload of %d bytes", n)
	}
	ecn := int64(0)
	if p.ECN != nil {
		if ecn, err = r.resolve(*p.ECN); err != nil {
			return nil, err
		}
	}
	switch p.Proto {
	case UDP:
		payload := fillStream(peerStream, 0, int(n))
		return buildUDP(w, r.flow.peer, r.flow.stack, uint8(ecn)&3, payload)
	case Ping:
		return buildPing(w, fillStream(peerStream, 0, int(n)))
	case ICMP:
		return buildICMP(w, p.Message, uint32(n), r.lastOut)
	case Pong:
		return nil, fmt.Errorf("nobody has asked for a pong")
	}
	h, err := r.header(p, n)
	if err != nil {
		return nil, err
	}
	off := int64(h.Seq.Sub(r.flow.ours)) - 1
	if p.Flags.Has(wire.SYN) {
		off++
	}
	payload := fillStream(peerStream, off, int(n))
	if g := p.Garbage; g != nil {
		for i := range payload {
			if at := off + 1 + int64(i); at >= g[0] && at < g[1] {
				payload[i] ^= 0xff
			}
		}
	}
	var raw []byte
	for _, o := range p.Options {
		raw = append(raw, o.Raw...)
	}
	return buildTCP(w, h, raw, uint8(ecn)&3, payload)
}

// header makes the TCP header of p.
func (r *Runner) header(p *Packet, length int64) (*wire.TCP, error) {
	h := &wire.TCP{SrcPort: r.flow.peer, DstPort: r.flow.stack, Flags: p.Flags, Window: 65535}
	seq, err := r.resolve(p.Seq)
	if err != nil {
		return nil, err
	}
	end, err := r.resolve(p.End)
	if err != nil {
		return nil, err
	}
	if end-seq != length {
		return nil, fmt.Errorf("sequence numbers %d:%d(%d) do not fit", seq, end, length)
	}
	h.Seq = r.flow.ours + seqOf(seq)
	if p.Flags.Has(wire.ACK) {
		ack, err := r.resolve(p.Ack)
		if err != nil {
			return nil, err
		}
		h.Ack = r.flow.theirs + seqOf(ack)
	}
	if !p.Win.Any {
		win, err := r.resolve(p.Win)
		if err != nil {
			return nil, err
		}
		if win < 0 || win > 65535 {
			return nil, fmt.Errorf("a window field of %d", win)
		}
		h.Window = uint16(win)
	}
	if p.Urgent != nil {
		urgent, err := r.resolve(*p.Urgent)
		if err != nil {
			return nil, err
		}
		h.Urgent = uint16(urgent)
	}
	for _, o := range p.Options {
		if err := r.option(&h.Options, o); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// option adds one option. wire lays them out, and pads.
func (r *Runner) option(to *wire.TCPOptions, o Option) error {
	var n []int64
	for _, v := range o.V {
		i, err := r.resolve(v)
		if err != nil {
			return err
		}
		n = append(n, i)
	}
	switch o.Kind {
	case "mss":
		to.MSS = uint16(n[0])
	case "wscale":
		to.HasWindowScale, to.WindowScale = true, uint8(n[0])
	case "sackOK":
		to.SACKPermitted = true
	case "ts":
		to.HasTimestamps, to.TSVal, to.TSEcr = true, uint32(n[0]), uint32(n[1])
	case "sack":
		for i := 0; i+1 < len(n); i += 2 {
			to.SACK[i/2] = wire.SACKBlock{Start: r.flow.theirs + seqOf(n[i]), End: r.flow.theirs + seqOf(n[i+1])}
			to.SACKCount++
		}
	}
	return nil
}
