package packet

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zctap/zctap/internal/wire"
)

// parsePacket reads what stands behind an arrow.
func parsePacket(w *words, expected bool) (*Packet, error) {
	p := &Packet{Expected: expected, Win: Value{Any: true}}
	var err error
	switch kind := w.next(); kind {
	case "":
		return nil, errors.New("which packet?")
	case "udp", "ping", "pong":
		p.Proto = map[string]Proto{"udp": UDP, "ping": Ping, "pong": Pong}[kind]
		if p.Len, err = w.value("the payload's length"); err != nil {
			return nil, err
		}
		if !p.Len.Any && p.Len.Name == "" && (p.Len.Lo < 0 || p.Len.Hi > 1<<16) {
			return nil, fmt.Errorf("a payload of %v bytes", p.Len)
		}
	case "icmp":
		p.Proto, p.Message = ICMP, w.next()
		if _, ok := icmpMessages[p.Message]; !ok {
			return nil, fmt.Errorf("icmp %q is not known", p.Message)
		}
		if p.Message == "too-big" {
			if p.Len, err = w.value("the MTU"); err != nil {
				return nil, err
			}
		}
	default:
		p.Proto = TCP
		if err := p.parseTCP(kind, w); err != nil {
			return nil, err
		}
	}
	if err := p.parseMarks(w); err != nil {
		return nil, err
	}
	if !expected {
		return p, p.checkExact()
	}
	if p.Garbage != nil || p.BadChecksum || p.Cut != nil || !p.Craft.destination() {
		return nil, errors.New("garbage, badsum, cut and what is wrong with a header are for packets that are injected")
	}
	return p, nil
}

// parseTCP reads: S. 0:0(0) ack 1 win 65535 <mss 1460>.
func (p *Packet) parseTCP(flags string, w *words) error {
	var err error
	if p.Flags, err = parseFlags(flags); err != nil {
		return err
	}
	if err := p.parseSeq(w.next()); err != nil {
		return err
	}
	if p.Flags.Has(wire.ACK) {
		if !w.take("ack") {
			return errors.New("a segment with . has to say: ack N")
		}
		if p.Ack, err = w.value("ack"); err != nil {
			return err
		}
	}
	if w.take("win") {
		if p.Win, err = w.value("win"); err != nil {
			return err
		}
	}
	if w.take("urg") {
		v, err := w.value("urg")
		if err != nil {
			return err
		}
		p.Urgent = &v
	}
	if s := w.peek(); strings.HasPrefix(s, "<") {
		w.next()
		return p.parseOptions(strings.Trim(s, "<>"))
	}
	return nil
}

// flagLetters are wire.Flags' bits from the lowest up, as wire prints them.
const flagLetters = "FSRP.UEW"

func parseFlags(s string) (f wire.Flags, err error) {
	if s == "-" {
		return 0, nil
	}
	for i := range len(s) {
		bit := strings.IndexByte(flagLetters, s[i])
		if bit < 0 {
			return 0, fmt.Errorf("%q are no flags: of %s, or - for none", s, flagLetters)
		}
		f |= 1 << bit
	}
	return f, nil
}

// parseSeq reads 1:1001(1000), whose numbers must fit each other.
func (p *Packet) parseSeq(s string) error {
	first, rest, ok1 := strings.Cut(s, ":")
	end, length, ok2 := strings.Cut(strings.TrimSuffix(rest, ")"), "(")
	if !ok1 || !ok2 || !strings.HasSuffix(rest, ")") {
		return fmt.Errorf("%q: sequence numbers are first:end(length), as 1:1001(1000)", s)
	}
	var err error
	if p.Seq, err = parseValue(first); err != nil {
		return err
	}
	if p.End, err = parseValue(end); err != nil {
		return err
	}
	if p.Len, err = parseValue(length); err != nil {
		return err
	}
	if p.Seq.Any && p.End.Any || !p.Seq.exact() || !p.End.exact() || !p.Len.exact() {
		if !p.Expected {
			return fmt.Errorf("%q: to inject it, say which", s)
		}
		return nil
	}
	if p.Len.Name == "" && (p.Len.Lo < 0 || p.Len.Lo > 1<<16) {
		return fmt.Errorf("a payload of %v bytes", p.Len)
	}
	if p.Len.Name == "" && p.Seq.Name == p.End.Name && p.End.Lo-p.Seq.Lo != p.Len.Lo {
		return fmt.Errorf("%q: the numbers do not fit, %d and %d are %d", s, p.Seq.Lo, p.Len.Lo, p.Seq.Lo+p.Len.Lo)
	}
	return nil
}

// parseOptions reads mss 1460, ts 1 0, wscale 7, sackOK, sack 1:2 5:6, *.
func (p *Packet) parseOptions(s string) error {
	for _, item := range strings.Split(s, ",") {
		w := &words{strings.Fields(item)}
		o := Option{Kind: w.next()}
		n, ok := optionValues[o.Kind]
		switch {
		case o.Kind == "*" && p.Expected:
			p.AnyOptions = true
		case !ok:
			return fmt.Errorf("option %q: mss, wscale, sackOK, ts, sack, nop and raw are known", o.Kind)
		case o.Kind == "raw":
			var err error
			if o.Raw, err = parseHex(w.next()); err != nil || p.Expected {
				return errors.Join(err, errors.New("raw is hexadecimal bytes, of a segment that is injected"))
			}
			p.Options = append(p.Options, o)
		case o.Kind == "sack":
			if err := o.parseBlocks(w); err != nil {
				return err
			}
			p.Options = append(p.Options, o)
		default:
			for range n {
				v, err := w.value(o.Kind)
				if err != nil {
					return err
				}
				o.V = append(o.V, v)
			}
			p.Options = append(p.Options, o)
		}
		if err := w.end(); err != nil {
			return err
		}
	}
	return nil
}

// optionValues are the options, and how many values each has.
var optionValues = map[string]int{"mss": 1, "wscale": 1, "sackOK": 0, "ts": 2, "sack": 0, "nop": 0, "raw": 0}

func (o *Option) parseBlocks(w *words) error {
	for w.peek() != "" {
		first, end, ok := strings.Cut(w.next(), ":")
		if !ok {
			return errors.New("a SACK block is first:end")
		}
		for _, s := range []string{first, end} {
			v, err := parseValue(s)
			if err != nil {
				return err
			}
			o.V = append(o.V, v)
		}
	}
	if n := len(o.V) / 2; n < 1 || n > 4 {
		return fmt.Errorf("%d SACK blocks: 1 to 4", n)
	}
	return nil
}

// parseMarks reads what may stand at the end: ecn 1, garbage, badsum, cut 0:8,8:*, and
// what parseCraft knows.
func (p *Packet) parseMarks(w *words) error {
	for {
		switch {
		case w.take("garbage"):
			if err := p.parseGarbage(w); err != nil {
				return err
			}
		case w.take("badsum"):
			p.BadChecksum = true
		case w.take("cut"):
			if err := p.parseCut(w.next()); err != nil {
				return err
			}
		case w.take("ecn"):
			v, err := w.value("ecn")
			if err != nil {
				return err
			}
			p.ECN = &v
		case w.take("dscp"):
			v, err := w.value("dscp")
			if err != nil {
				return err
			}
			p.DSCP = &v
		default:
			if ok, err := p.parseCraft(w); !ok || err != nil {
				return err
			}
		}
	}
}

// parseGarbage reads which sequence numbers hold garbage: first:end, or nothing for
// all.
func (p *Packet) parseGarbage(w *words) error {
	first, end, ok := strings.Cut(w.peek(), ":")
	if !ok {
		p.Garbage = &[2]int64{-maxNumber, maxNumber}
		return nil
	}
	w.next()
	lo, err := parseNumber(first)
	if err != nil {
		return err
	}
	hi, err := parseNumber(end)
	if err != nil {
		return err
	}
	if p.Garbage = &[2]int64{lo, hi}; hi <= lo {
		return fmt.Errorf("garbage from %d to %d", lo, hi)
	}
	return nil
}

// checkExact complains of values that can't be sent.
func (p *Packet) checkExact() error {
	values := []Value{p.Seq, p.End, p.Ack, p.Len}
	if p.DSCP != nil {
		return errors.New("dscp is for packets that are expected")
	}
	for _, v := range []*Value{p.Urgent, p.ECN} {
		if v != nil {
			values = append(values, *v)
		}
	}
	if !p.Win.Any {
		values = append(values, p.Win)
	}
	for _, o := range p.Options {
		values = append(values, o.V...)
	}
	for _, v := range values {
		if !v.exact() {
			return fmt.Errorf("%v: to inject it, say which", v)
		}
	}
	return nil
}
