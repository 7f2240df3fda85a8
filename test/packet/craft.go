package packet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/zctap/zctap/internal/wire"
)

// craft is what makes an injected packet one that no proper stack sends.
type craft struct {
	from, to string      // kinds of addresses; "": the peer's and the stack's
	headers  []extension // IPv6: behind the fixed header
	options  []byte      // IPv4: behind the fixed header
	pokes    []poke
	cutOff   int // bytes at the end that the frame lacks; less than 0: that it has too many
}

// An extension is an IPv6 extension header: its type, and all of it but the first byte,
// which is the type of what follows.
type extension struct {
	kind byte
	rest []byte
}

// A poke is bytes that are put in at off, which counts from the IP header on.
type poke struct {
	off   int
	bytes []byte
}

// An unusual is an address of a kind, in the two versions.
type unusual struct{ v4, v6 netip.Addr }

// unusuals are the addresses that from and to know. The groups are those for examples
// (RFC 6676), and in IPv6 of the link (RFC 3849 has no groups).
var unusuals = map[string]unusual{
	"stack":       {worlds[4].stack, worlds[6].stack},
	"other":       {netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")},
	"elsewhere":   {netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:1::1")},
	"loopback":    {netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	"unspecified": {netip.IPv4Unspecified(), netip.IPv6Unspecified()},
	"broadcast":   {netip.MustParseAddr("255.255.255.255"), netip.Addr{}},
	"subnet":      {netip.MustParseAddr("192.0.2.255"), netip.Addr{}},
	"group":       {netip.MustParseAddr("233.252.0.1"), netip.MustParseAddr("ff02::db8:1")},
	"group2":      {netip.MustParseAddr("233.252.0.2"), netip.MustParseAddr("ff02::db8:2")},
}

// unusualAddr is the address of a kind in the version of w.
func unusualAddr(kind string, w world) (netip.Addr, error) {
	a := unusuals[kind].v4
	if w.peer.Is6() {
		a = unusuals[kind].v6
	}
	if !a.IsValid() {
		return a, fmt.Errorf("IPv6 has no address %q", kind)
	}
	return a, nil
}

// parseCraft reads one of from, to, options, headers, poke, short and long, if the next
// word is one of them.
func (p *Packet) parseCraft(w *words) (ok bool, err error) {
	verb := w.peek()
	switch verb {
	case "from", "to", "options", "headers", "poke", "short", "long":
	default:
		return false, nil
	}
	if w.next(); p.Craft == nil {
		p.Craft = new(craft)
	}
	c, arg := p.Craft, w.next()
	switch verb {
	case "from", "to":
		if _, known := unusuals[arg]; !known {
			return true, fmt.Errorf("%s %q: no address is known by that name", verb, arg)
		}
		if verb == "from" {
			c.from = arg
		} else {
			c.to = arg
		}
	case "options":
		c.options, err = parseHex(arg)
		if err == nil && len(c.options) > 40 {
			err = errors.New("an IPv4 header has room for 40 bytes of options")
		}
	case "headers":
		err = c.parseHeaders(arg)
	case "poke":
		err = c.parsePoke(arg)
	default:
		c.cutOff, err = strconv.Atoi(arg)
		if err == nil && (c.cutOff < 1 || c.cutOff > 1000) {
			err = errors.New("1 to 1000 bytes")
		}
		if verb == "long" {
			c.cutOff = -c.cutOff
		}
	}
	if err != nil {
		err = fmt.Errorf("%s %q: %w", verb, arg, err)
	}
	return true, err
}

func parseHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err == nil && len(b) == 0 {
		err = errors.New("no bytes in hexadecimal")
	}
	return b, err
}

// parseHeaders reads 0:00010400000000,60:00010400000000.
func (c *craft) parseHeaders(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		kind, rest, _ := strings.Cut(item, ":")
		n, err := strconv.ParseUint(kind, 10, 8)
		if err != nil {
			return fmt.Errorf("%q is no type of a header", kind)
		}
		b, err := parseHex(rest)
		if err != nil {
			return err
		}
		c.headers = append(c.headers, extension{byte(n), b})
	}
	return nil
}

// parsePoke reads 0:45.
func (c *craft) parsePoke(s string) error {
	off, rest, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(off, 10, 10)
	if err != nil {
		return fmt.Errorf("%q is no offset in a header", off)
	}
	b, err := parseHex(rest)
	c.pokes = append(c.pokes, poke{int(n), b})
	return err
}

// String is c as a script has it, each word with a space before it.
func (c *craft) String() string {
	var b strings.Builder
	for _, a := range [][2]string{{"from", c.from}, {"to", c.to}} {
		if a[1] != "" {
			b.WriteString(" " + a[0] + " " + a[1])
		}
	}
	if c.options != nil {
		fmt.Fprintf(&b, " options %x", c.options)
	}
	for i, h := range c.headers {
		before := ","
		if i == 0 {
			before = " headers "
		}
		fmt.Fprintf(&b, "%s%d:%x", before, h.kind, h.rest)
	}
	for _, p := range c.pokes {
		fmt.Fprintf(&b, " poke %d:%x", p.off, p.bytes)
	}
	switch {
	case c.cutOff > 0:
		fmt.Fprintf(&b, " short %d", c.cutOff)
	case c.cutOff < 0:
		fmt.Fprintf(&b, " long %d", -c.cutOff)
	}
	return b.String()
}

// destination reports whether c is no more than where the packet goes: what an expected
// one may say.
func (c *craft) destination() bool {
	return c == nil || c.from == "" && c.headers == nil && c.options == nil && c.pokes == nil && c.cutOff == 0
}

// between is w with the addresses that c wants, from whose point of view checksums are
// right.
func (c *craft) between(w world) (world, error) {
	var err error
	if c.from != "" {
		if w.peer, err = unusualAddr(c.from, w); err != nil {
			return w, err
		}
	}
	if c.to != "" {
		w.stack, err = unusualAddr(c.to, w)
	}
	return w, err
}

// apply does to a proper packet all else that c wants. The checksum of an IPv4 header is
// right again behind it, so that this is not what the packet is dropped for.
func (c *craft) apply(b []byte) ([]byte, error) {
	v6 := b[0]>>4 == 6
	switch {
	case v6 && c.options != nil:
		return nil, errors.New("options are for IPv4: say ip 4")
	case !v6 && c.headers != nil:
		return nil, errors.New("headers are for IPv6: say ip 6")
	case c.headers != nil:
		b = c.extend(b)
	case c.options != nil:
		b = c.optional(b)
	}
	for _, p := range c.pokes {
		if p.off+len(p.bytes) > len(b) {
			return nil, fmt.Errorf("poke at %d, in a packet of %d bytes", p.off, len(b))
		}
		copy(b[p.off:], p.bytes)
	}
	if !v6 {
		sumHeader(b)
	}
	if c.cutOff >= len(b) {
		return nil, fmt.Errorf("short %d, of a packet of %d bytes", c.cutOff, len(b))
	}
	if c.cutOff < 0 {
		return append(b, make([]byte, -c.cutOff)...), nil
	}
	return b[:len(b)-c.cutOff], nil
}

// extend puts the extension headers into an IPv6 packet.
func (c *craft) extend(b []byte) []byte {
	out := append([]byte(nil), b[:wire.IPv6HeaderLen]...)
	next := b[6]
	out[6] = c.headers[0].kind
	for i, h := range c.headers {
		follows := next
		if i+1 < len(c.headers) {
			follows = c.headers[i+1].kind
		}
		out = append(append(out, follows), h.rest...)
	}
	out = append(out, b[wire.IPv6HeaderLen:]...)
	putLength(out[4:], len(out)-wire.IPv6HeaderLen)
	return out
}

// optional puts the options into an IPv4 packet, and zeros (end of options) behind them
// up to the next multiple of 4 bytes.
func (c *craft) optional(b []byte) []byte {
	out := append(append([]byte(nil), b[:wire.IPv4HeaderLen]...), c.options...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	out[0] = 4<<4 | byte(len(out)/4)
	out = append(out, b[wire.IPv4HeaderLen:]...)
	putLength(out[2:], len(out))
	return out
}

func putLength(b []byte, n int) { b[0], b[1] = byte(n>>8), byte(n) }

// sumHeader fills in the checksum of an IPv4 header, of the length that it declares if
// that is within the packet.
func sumHeader(b []byte) {
	n := int(b[0]&0xf) * 4
	if n < wire.IPv4HeaderLen || n > len(b) {
		n = wire.IPv4HeaderLen
	}
	b[10], b[11] = 0, 0
	var s wire.Sum
	s.Add(b[:n])
	putLength(b[10:], int(s.Checksum()))
}

// rawOptions puts bytes behind the options of a TCP header, and zeros (end of options) up
// to the next multiple of 4 bytes.
func rawOptions(l4, raw []byte) ([]byte, error) {
	for l4 = append(l4, raw...); len(l4)%4 != 0; {
		l4 = append(l4, 0)
	}
	if len(l4) > 60 {
		return nil, fmt.Errorf("a TCP header of %d bytes: 60 at most", len(l4))
	}
	l4[12] = byte(len(l4)/4) << 4
	return l4, nil
}
