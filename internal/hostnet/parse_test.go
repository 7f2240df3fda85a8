//go:build linux

package hostnet

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// cat joins pieces of a message.
func cat(pieces ...[]byte) (b []byte) {
	for _, p := range pieces {
		b = append(b, p...)
	}
	return b
}

func attrBytes(typ uint16, value ...byte) []byte { return appendAttribute(nil, typ, value) }

// ndmsg is the head of a neighbor on interface 7.
func ndmsg(family, flags byte, state State) []byte {
	b := []byte{family, 0, 0, 0, 7, 0, 0, 0, 0, 0, flags, 0}
	binary.NativeEndian.PutUint32(b[4:], 7)
	binary.NativeEndian.PutUint16(b[8:], uint16(state))
	return b
}

func TestParseNeighborRefuses(t *testing.T) {
	dst, mac := attrBytes(unix.NDA_DST, 10, 0, 0, 1), attrBytes(unix.NDA_LLADDR, 2, 0, 0, 0, 0, 1)
	good := cat(ndmsg(unix.AF_INET, 0, Stale), dst, mac)
	if i, n, ok := parseNeighbor(good); !ok || i != 7 || n != (Neighbor{addr("10.0.0.1"), [6]byte{2, 0, 0, 0, 0, 1}, Stale}) {
		t.Fatalf("%d %v %v", i, n, ok)
	}
	for what, b := range map[string][]byte{
		"nothing":          nil,
		"a short header":   good[:11],
		"no address":       cat(ndmsg(unix.AF_INET, 0, Stale), mac),
		"a bridge's entry": cat(ndmsg(unix.AF_BRIDGE, 0, Stale), dst, mac),
		"another family":   cat(ndmsg(unix.AF_INET6, 0, Stale), dst, mac),
		"a proxy":          cat(ndmsg(unix.AF_INET, unix.NTF_PROXY, Stale), dst, mac),
		"a group":          cat(ndmsg(unix.AF_INET, 0, NoARP), attrBytes(unix.NDA_DST, 224, 0, 0, 1), mac),
		"a long MAC":       cat(ndmsg(unix.AF_INET, 0, Stale), dst, attrBytes(unix.NDA_LLADDR, 1, 2, 3, 4, 5, 6, 7, 8)),
		"a short address":  cat(ndmsg(unix.AF_INET, 0, Stale), attrBytes(unix.NDA_DST, 10, 0, 0), mac),
	} {
		if _, n, ok := parseNeighbor(b); ok {
			t.Errorf("%s was taken: %v", what, n)
		}
	}
}

func TestParseLinkRefusesOtherFamilies(t *testing.T) {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = unix.AF_BRIDGE
	if _, _, ok := parseLink(b); ok {
		t.Error("a bridge's message about its port was taken for one about the link")
	}
	if _, _, ok := parseLink(b[:10]); ok {
		t.Error("a short message was taken")
	}
}

func TestParseAddressOfPointToPoint(t *testing.T) {
	head := []byte{unix.AF_INET, 24, 0, 0, 7, 0, 0, 0}
	binary.NativeEndian.PutUint32(head[4:], 7)
	b := cat(head, attrBytes(unix.IFA_ADDRESS, 10, 0, 0, 2), attrBytes(unix.IFA_LOCAL, 10, 9, 9, 1))
	if _, a, ok := parseAddress(b); !ok || a.prefix != prefix("10.9.9.1/32") {
		t.Errorf("%v, %v: the prefix is the peer's", a.prefix, ok)
	}
	head[1] = 33
	if _, a, ok := parseAddress(cat(head, attrBytes(unix.IFA_LOCAL, 10, 9, 9, 1))); ok {
		t.Errorf("%v was taken", a.prefix)
	}
}

// rtmsg is the head of a route in table main.
func rtmsg(family, dstLen, srcLen, dscp, typ byte, flags uint32) []byte {
	b := []byte{family, dstLen, srcLen, dscp, unix.RT_TABLE_MAIN, 0, 0, typ, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(b[8:], flags)
	return b
}

func oif(index uint32) []byte { return attrBytes(unix.RTA_OIF, u32bytes(index)...) }

// nexthopBytes is a struct rtnexthop with attributes.
func nexthopBytes(flags byte, index uint32, attrs ...[]byte) []byte {
	a := cat(attrs...)
	b := binary.NativeEndian.AppendUint16(nil, uint16(8+len(a)))
	b = append(b, flags, 0)
	return append(binary.NativeEndian.AppendUint32(b, index), a...)
}

func TestParseRoute(t *testing.T) {
	dst, gw := attrBytes(unix.RTA_DST, 10, 1, 2, 0), attrBytes(unix.RTA_GATEWAY, 10, 0, 0, 1)
	gw2 := attrBytes(unix.RTA_GATEWAY, 10, 0, 0, 2)
	encap := attrBytes(unix.RTA_ENCAP, 1, 2, 3, 4)
	several := func(hops ...[]byte) []byte { return attrBytes(unix.RTA_MULTIPATH, cat(hops...)...) }
	const u = unix.RTN_UNICAST
	for what, c := range map[string]struct {
		b       []byte
		verdict verdict // noRoute: not taken
		gateway string
	}{
		"plain":                {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, 0), dst, gw, oif(7)), unicast, "10.0.0.1"},
		"of another interface": {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, 0), dst, gw, oif(8)), noRoute, ""},
		"dead":                 {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, unix.RTNH_F_DEAD), dst, gw, oif(7)), noRoute, ""},
		"cached":               {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, unix.RTM_F_CLONED), dst, gw, oif(7)), noRoute, ""},
		"of a DSCP":            {cat(rtmsg(unix.AF_INET, 24, 0, 8, u, 0), dst, gw, oif(7)), noRoute, ""},
		"of a source":          {cat(rtmsg(unix.AF_INET, 24, 8, 0, u, 0), dst, gw, oif(7)), noRoute, ""},
		"encapsulated":         {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, 0), dst, gw, oif(7), encap), reject, "10.0.0.1"},
		"too long":             {cat(rtmsg(unix.AF_INET, 33, 0, 0, u, 0), dst, gw, oif(7)), noRoute, ""},
		"another family":       {cat(rtmsg(unix.AF_INET6, 24, 0, 0, u, 0), dst, gw, oif(7)), noRoute, ""},
		"no family":            {cat(rtmsg(unix.AF_MPLS, 24, 0, 0, u, 0), dst, gw, oif(7)), noRoute, ""},
		"a group's":            {cat(rtmsg(unix.AF_INET, 24, 0, 0, unix.RTN_MULTICAST, 0), dst, oif(7)), noRoute, ""},
		"short":                {rtmsg(unix.AF_INET, 24, 0, 0, u, 0)[:11], noRoute, ""},
		"by way of IPv6": {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, 0), dst, oif(7),
			attrBytes(unix.RTA_VIA, append([]byte{unix.AF_INET6, 0}, addr("fe80::1").AsSlice()...)...)), unicast, "fe80::1"},
		"the first of ours": {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, 0), dst,
			several(nexthopBytes(0, 8, gw), nexthopBytes(unix.RTNH_F_DEAD, 7, gw), nexthopBytes(0, 7, gw2), nexthopBytes(0, 7, gw))), unicast, "10.0.0.2"},
		"none of ours": {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, 0), dst, several(nexthopBytes(0, 8, gw))), noRoute, ""},
		"cut off":      {cat(rtmsg(unix.AF_INET, 24, 0, 0, u, 0), dst, several(nexthopBytes(0, 7, gw)[:9])), noRoute, ""},
		"throw":        {cat(rtmsg(unix.AF_INET, 24, 0, 0, unix.RTN_THROW, 0), dst), throw, ""},
		"broadcast":    {cat(rtmsg(unix.AF_INET, 32, 0, 0, unix.RTN_BROADCAST, 0), dst, oif(7)), broadcast, ""},
		"on another":   {cat(rtmsg(unix.AF_INET, 32, 0, 0, unix.RTN_BROADCAST, 0), dst, oif(8)), noRoute, ""},
		"local":        {cat(rtmsg(unix.AF_INET, 32, 0, 0, unix.RTN_LOCAL, 0), dst, oif(8)), local, ""},
	} {
		r, ok := parseRoute(c.b, 7)
		if ok != (c.verdict != noRoute) || ok && r.hop.verdict != c.verdict {
			t.Errorf("%s: %+v, %v", what, r, ok)
		}
		var want netip.Addr
		if c.gateway != "" {
			want = addr(c.gateway)
		}
		if ok && r.hop.gateway != want {
			t.Errorf("%s: gateway %v, want %v", what, r.hop.gateway, want)
		}
	}
}

func TestForeignRule(t *testing.T) {
	rule := func(table, action byte, priority uint32, more ...[]byte) []byte {
		return cat([]byte{unix.AF_INET, 0, 0, 0, table, 0, 0, action, 0, 0, 0, 0},
			attrBytes(unix.FRA_PRIORITY, u32bytes(priority)...), cat(more...))
	}
	for what, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"local":            {rule(255, 1, 0, attrBytes(unix.FRA_TABLE, u32bytes(255)...), attrBytes(unix.FRA_SUPPRESS_PREFIXLEN, 255, 255, 255, 255)), false},
		"main":             {rule(254, 1, 32766, attrBytes(unix.FRA_PROTOCOL, 2)), false},
		"default":          {rule(253, 1, 32767), false},
		"another table":    {rule(100, 1, 32766), true},
		"another priority": {rule(254, 1, 5), true},
		"a mark":           {rule(254, 1, 32766, attrBytes(unix.FRA_FWMARK, u32bytes(1)...)), true},
		"suppressing":      {rule(254, 1, 32766, attrBytes(unix.FRA_SUPPRESS_PREFIXLEN, u32bytes(0)...)), true},
		"prohibiting":      {rule(254, 8, 32766), true},
		"too short":        {[]byte{2, 0, 0}, false},
	} {
		if got := foreignRule(c.b); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// FuzzParse: whatever bytes come in, nothing panics, and what is taken is sound.
func FuzzParse(f *testing.F) {
	f.Add(cat(ndmsg(unix.AF_INET, 0, Stale), attrBytes(unix.NDA_DST, 10, 0, 0, 1)))
	f.Add(cat(rtmsg(unix.AF_INET, 24, 0, 0, unix.RTN_UNICAST, 0), attrBytes(unix.RTA_MULTIPATH, nexthopBytes(0, 7, oif(7))...)))
	f.Add(cat([]byte{unix.AF_INET, 24, 0, 0, 7, 0, 0, 0}, attrBytes(unix.IFA_LOCAL, 10, 0, 0, 1)))
	f.Add(cat([]byte{28, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 12)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; ; {
			m, next, ok := nextMessage(rest)
			if !ok {
				break
			}
			if len(next) >= len(rest) {
				t.Fatal("no progress")
			}
			_ = m.errno()
			rest = next
		}
		if _, n, ok := parseNeighbor(b); ok && (!n.Addr.IsValid() || n.Addr.Is4In6() && b[0] == unix.AF_INET) {
			t.Errorf("neighbor %v", n)
		}
		if _, a, ok := parseAddress(b); ok && !a.prefix.IsValid() {
			t.Errorf("address %v", a.prefix)
		}
		if r, ok := parseRoute(b, 7); ok {
			if r.prefix != r.prefix.Masked() || !r.prefix.IsValid() || r.hop.verdict == noRoute {
				t.Errorf("route %+v", r)
			}
			var fb fibBuilder
			fb.add(r.prefix, r.metric, r.rank, r.hop)
			if _, ok := fb.build().lookup(keyOf(r.prefix.Addr())); !ok {
				t.Errorf("route %+v is not found", r)
			}
		}
		parseLink(b)
		foreignRule(b)
	})
}
