package ip

import (
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// TestErrno: what an ICMP error means, as ip(7) and icmp(7) have it for Linux, and whether it will go
// away by itself (RFC 1122 section 4.2.3.9: networks and hosts that are not reached may be later).
func TestErrno(t *testing.T) {
	unreachable := func(code uint8) wire.ICMP { return wire.ICMP{Kind: wire.ICMPUnreachable, Code: code} }
	for _, tt := range []struct {
		name string
		m    wire.ICMP
		ipv6 bool
		want syscall.Errno
		hard bool
	}{
		{"network", unreachable(0), false, syscall.ENETUNREACH, false},
		{"host", unreachable(1), false, syscall.EHOSTUNREACH, false},
		{"protocol", unreachable(2), false, syscall.ENOPROTOOPT, true},
		{"port", unreachable(3), false, syscall.ECONNREFUSED, true},
		{"source route failed", unreachable(5), false, syscall.EOPNOTSUPP, false},
		{"network unknown", unreachable(6), false, syscall.EHOSTUNREACH, true},
		{"host unknown", unreachable(7), false, syscall.EHOSTDOWN, true},
		{"network prohibited", unreachable(9), false, syscall.EHOSTUNREACH, true},
		{"host prohibited", unreachable(10), false, syscall.EHOSTUNREACH, true},
		{"network, of this service", unreachable(11), false, syscall.ENETUNREACH, false},
		{"host, of this service", unreachable(12), false, syscall.EHOSTUNREACH, false},
		{"communication prohibited", unreachable(13), false, syscall.EHOSTUNREACH, true},
		{"no route", unreachable(0), true, syscall.ENETUNREACH, false},
		{"prohibited", unreachable(1), true, syscall.EACCES, true},
		{"beyond scope", unreachable(2), true, syscall.EHOSTUNREACH, false},
		{"address", unreachable(3), true, syscall.EHOSTUNREACH, false},
		{"port, IPv6", unreachable(4), true, syscall.ECONNREFUSED, true},
		{"policy", unreachable(5), true, syscall.EACCES, true},
		{"reject route", unreachable(6), true, syscall.EACCES, true},
		{"too big", wire.ICMP{Kind: wire.ICMPPacketTooBig}, false, syscall.EMSGSIZE, false},
		{"time exceeded", wire.ICMP{Kind: wire.ICMPTimeExceeded}, true, syscall.EHOSTUNREACH, false},
		{"parameter problem", wire.ICMP{Kind: wire.ICMPParameterProblem}, false, syscall.EPROTO, true},
	} {
		if got, hard := Errno(&tt.m, tt.ipv6); got != tt.want || hard != tt.hard {
			t.Errorf("%s: %v, hard %v, want %v, %v", tt.name, got, hard, tt.want, tt.hard)
		}
	}
}
