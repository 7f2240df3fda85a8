package packet

import (
	"fmt"
	"strings"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// String is the event as a script has it.
func (e *Event) String() string {
	s := e.When.String()
	switch {
	case e.Packet != nil:
		return s + e.Packet.String()
	case e.Call != nil:
		return s + e.Call.String()
	case e.Flow != nil && e.Flow.ISN != nil:
		return s + "isn " + e.Flow.ISN.String()
	case e.Flow != nil:
		return s + fmt.Sprintf("flow %d", e.Flow.Number)
	}
	return s + "quiet " + e.Quiet.String()
}

// String is the time with a space behind it, or nothing if it is at once.
func (w When) String() string {
	switch {
	case w.Any:
		return "* "
	case w.Hi != w.Lo:
		return fmt.Sprintf("+%v..%v ", w.Lo, w.Hi)
	case w.Lo != 0:
		return fmt.Sprintf("+%v ", w.Lo)
	}
	return ""
}

// String is the call as a script has it.
func (c *Call) String() string {
	s := c.Verb + " " + c.Socket
	form := verbs[c.Verb]
	if c.Made != "" {
		s += " " + c.Made
	}
	if form.number {
		s += " " + c.N.String()
	}
	if c.Option != "" {
		s += " " + c.Option
	}
	if c.To != "" {
		s += " to " + c.To
	}
	if c.Result != "ok" || form.result {
		s += " -> " + c.Result
	}
	return s
}

// String is the packet as a script has it.
func (p *Packet) String() string {
	var b strings.Builder
	b.WriteString("< ")
	if p.Expected {
		b.Reset()
		b.WriteString("> ")
	}
	switch p.Proto {
	case UDP:
		fmt.Fprintf(&b, "udp %v", p.Len)
	case Ping:
		fmt.Fprintf(&b, "ping %v", p.Len)
	case Pong:
		fmt.Fprintf(&b, "pong %v", p.Len)
	case ICMP:
		b.WriteString("icmp " + p.Message)
		if p.Message == "too-big" {
			b.WriteString(" " + p.Len.String())
		}
	default:
		p.formatTCP(&b)
	}
	if p.ECN != nil {
		fmt.Fprintf(&b, " ecn %v", *p.ECN)
	}
	if p.DSCP != nil {
		fmt.Fprintf(&b, " dscp %v", *p.DSCP)
	}
	if g := p.Garbage; g != nil {
		b.WriteString(" garbage")
		if g[0] != -maxNumber || g[1] != maxNumber {
			fmt.Fprintf(&b, " %d:%d", g[0], g[1])
		}
	}
	if p.BadChecksum {
		b.WriteString(" badsum")
	}
	for i, c := range p.Cut {
		if i == 0 {
			b.WriteString(" cut ")
		} else {
			b.WriteString(",")
		}
		b.WriteString(c.String())
	}
	if p.Craft != nil {
		b.WriteString(p.Craft.String())
	}
	return b.String()
}

func (p *Packet) formatTCP(b *strings.Builder) {
	fmt.Fprintf(b, "%s %v:%v(%v)", formatFlags(p.Flags), p.Seq, p.End, p.Len)
	if p.Flags.Has(wire.ACK) {
		fmt.Fprintf(b, " ack %v", p.Ack)
	}
	if !p.Win.Any {
		fmt.Fprintf(b, " win %v", p.Win)
	}
	if p.Urgent != nil {
		fmt.Fprintf(b, " urg %v", *p.Urgent)
	}
	var items []string
	for _, o := range p.Options {
		items = append(items, o.String())
	}
	if p.AnyOptions {
		items = append(items, "*")
	}
	if len(items) > 0 {
		fmt.Fprintf(b, " <%s>", strings.Join(items, ", "))
	}
}

func formatFlags(f wire.Flags) string {
	if f == 0 {
		return "-"
	}
	return f.String()
}

// String is the option as a script has it.
func (o Option) String() string {
	s := o.Kind
	if o.Kind == "sack" {
		for i := 0; i+1 < len(o.V); i += 2 {
			s += fmt.Sprintf(" %v:%v", o.V[i], o.V[i+1])
		}
		return s
	}
	for _, v := range o.V {
		s += " " + v.String()
	}
	if o.Raw != nil {
		s += fmt.Sprintf(" %x", o.Raw)
	}
	return s
}

// stamp is a time since the script began, for people.
func stamp(d time.Duration) string { return fmt.Sprintf("%10.6f", d.Seconds()) }
