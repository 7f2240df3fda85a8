package packet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zctap/zctap/internal/wire"
)

// A matcher compares a packet with a pattern, field by field, and binds the
// variables that the pattern names for the first time if all fits.
type matcher struct {
	vars  map[string]int64
	bound map[string]int64
	wrong []string
}

func (m *matcher) complain(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// value compares a number.
func (m *matcher) value(what string, want Value, got int64) {
	if want.Any {
		return
	}
	base := int64(0)
	if want.Name != "" {
		known := false
		if base, known = m.vars[want.Name]; !known {
			if base, known = m.bound[want.Name]; !known {
				m.bound[want.Name] = got - want.Lo
				base = got - want.Lo
			}
		}
	}
	if got < base+want.Lo || got > base+want.Hi {
		known := ""
		if want.Name != "" {
			known = fmt.Sprintf(" (%s is %d)", want.Name, base)
		}
		m.complain("%s %d, want %v%s", what, got, want, known)
	}
}

// packet compares all of a packet; got is what pattern made of it.
func (m *matcher) packet(want, got *Packet) {
	if want.Proto != got.Proto {
		m.complain("another protocol")
		return
	}
	switch want.Proto {
	case TCP:
		m.segment(want, got)
	case ICMP:
		if want.Message != got.Message {
			m.complain("icmp %s, want %s", got.Message, want.Message)
		}
		if want.Message == "too-big" {
			m.value("MTU", want.Len, got.Len.Lo)
		}
	default:
		m.value("length", want.Len, got.Len.Lo)
	}
}

func (m *matcher) segment(want, got *Packet) {
	// PSH is a hint that no receiver may depend on (RFC 9293 section 3.9.1.2): it is
	// compared only where a script asks for it.
	ignored := wire.PSH &^ want.Flags
	if want.Flags != got.Flags&^ignored {
		m.complain("flags %s, want %s", formatFlags(got.Flags), formatFlags(want.Flags))
	}
	m.value("seq", want.Seq, got.Seq.Lo)
	m.value("end", want.End, got.End.Lo)
	m.value("length", want.Len, got.Len.Lo)
	if want.Flags.Has(wire.ACK) {
		m.value("ack", want.Ack, got.Ack.Lo)
	}
	m.value("win", want.Win, got.Win.Lo)
	if want.Urgent != nil && got.Urgent != nil {
		m.value("urg", *want.Urgent, got.Urgent.Lo)
	}
	m.options(want, got)
}

// options compares the options, in any order.
func (m *matcher) options(want, got *Packet) {
	var missing, unwanted []string
	seen := map[string]bool{}
	for _, o := range want.Options {
		if o.Kind == "nop" {
			continue
		}
		seen[o.Kind] = true
		i := slices.IndexFunc(got.Options, func(g Option) bool { return g.Kind == o.Kind })
		switch {
		case i < 0:
			missing = append(missing, o.Kind)
		case len(got.Options[i].V) != len(o.V):
			m.complain("option %v, want %v", got.Options[i], o)
		default:
			for j, v := range o.V {
				m.value(o.Kind, v, got.Options[i].V[j].Lo)
			}
		}
	}
	for _, g := range got.Options {
		if !seen[g.Kind] && !want.AnyOptions {
			unwanted = append(unwanted, g.Kind)
		}
	}
	if len(missing) > 0 {
		m.complain("without option %s", strings.Join(missing, ", "))
	}
	if len(unwanted) > 0 {
		m.complain("with option %s", strings.Join(unwanted, ", "))
	}
}
