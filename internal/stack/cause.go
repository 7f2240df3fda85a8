package stack

import (
	"github.com/zctap/zctap/internal/wire"
)

// A cause is why a frame is dropped: one of wire's, or one of ours.
type cause uint8

const (
	accepted = cause(wire.OK) // not dropped
	needMore = cause(wire.NeedMore)
	fragment = cause(wire.Fragment) // not dropped for that
)

// What the stack itself drops frames for.
const (
	notIP           = cause(wire.NumCauses) + iota // an EtherType that is neither IPv4 nor IPv6
	tagged                                         // a VLAN's frame: another interface's
	notOurs                                        // an address that is not ours
	martian                                        // a source that cannot be on this wire
	unknownProtocol                                // none of TCP, UDP, ICMP
	noConnection                                   // TCP that belongs to no connection and no listener
	noSocket                                       // UDP for which there is no socket
	noBuffer                                       // no buffer for payload that lies in the head
	socketFull                                     // a UDP socket holds as much as it may
	mergedUDP                                      // datagrams put together to one: their boundaries are lost
	icmpIgnored                                    // ICMP without a meaning for us
	icmpNoFlow                                     // an ICMP error about no flow of ours
	icmpStale                                      // an ICMP error about nothing that is under way, or that says nothing new
	causes                                         // how many there are
)

var causeNames = [...]string{
	notIP:           "not-ip",
	tagged:          "vlan",
	notOurs:         "not-ours",
	martian:         "martian",
	unknownProtocol: "unknown-protocol",
	noConnection:    "no-connection",
	noSocket:        "no-socket",
	noBuffer:        "no-buffer",
	socketFull:      "socket-full",
	mergedUDP:       "merged-udp",
	icmpIgnored:     "icmp-ignored",
	icmpNoFlow:      "icmp-no-flow",
	icmpStale:       "icmp-stale",
}

// String is the name under which the cause is counted.
func (c cause) String() string {
	if int(c) < wire.NumCauses {
		return wire.Cause(c).String()
	}
	return causeNames[c]
}
