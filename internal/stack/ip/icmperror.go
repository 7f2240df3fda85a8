package ip

import (
	"syscall"

	"github.com/zctap/zctap/internal/wire"
)

// Codes of "destination unreachable" that are told apart (RFC 792, RFC 1122 section
// 3.2.2.1, RFC 1812 section 5.2.7.1; RFC 4443 section 3.1).
const (
	unreach4Net, unreach4Host, unreach4Protocol, unreach4Port = 0, 1, 2, 3
	unreach4SourceRoute, unreach4HostUnknown                  = 5, 7
	unreach4NetTOS, unreach4HostTOS                           = 11, 12

	unreach6NoRoute, unreach6Scope, unreach6Address, unreach6Port = 0, 2, 3, 4
)

// Errno is the error that an ICMP error stands for, as Linux has it (ip(7)). hard
// tells that it is about what was asked for, and will not go away by itself (RFC
// 1122 section 4.2.3.9): who has no other way to find out is told at once.
func Errno(m *wire.ICMP, ipv6 bool) (errno syscall.Errno, hard bool) {
	switch m.Kind {
	case wire.ICMPPacketTooBig:
		return syscall.EMSGSIZE, false
	case wire.ICMPTimeExceeded:
		return syscall.EHOSTUNREACH, false
	case wire.ICMPParameterProblem:
		return syscall.EPROTO, true
	}
	if ipv6 {
		switch m.Code {
		case unreach6NoRoute:
			return syscall.ENETUNREACH, false
		case unreach6Scope, unreach6Address:
			return syscall.EHOSTUNREACH, false
		case unreach6Port:
			return syscall.ECONNREFUSED, true
		}
		return syscall.EACCES, true // policies
	}
	switch m.Code {
	case unreach4Net, unreach4NetTOS:
		return syscall.ENETUNREACH, false
	case unreach4Host, unreach4HostTOS:
		return syscall.EHOSTUNREACH, false
	case unreach4Protocol:
		return syscall.ENOPROTOOPT, true
	case unreach4Port:
		return syscall.ECONNREFUSED, true
	case unreach4SourceRoute:
		return syscall.EOPNOTSUPP, false
	case unreach4HostUnknown:
		return syscall.EHOSTDOWN, true
	}
	return syscall.EHOSTUNREACH, true // unknown, isolated, prohibited
}
