package wire

// continueVectors looks at headers in three blocks of vectorLen bytes, which overlap where
// the headers are shorter than that: the first, the last, and one between them. Together
// they are all of headers of these lengths.
const maxContinueVectors = 3 * vectorLen

// vectorsFit reports whether the headers have a length that continueVectors takes.
func (c *Continuation) vectorsFit() bool {
	return c.l4-c.ip >= IPv4HeaderLen && len(c.head) >= c.l4+TCPHeaderLen &&
		len(c.head) <= maxContinueVectors && c.ip <= EthernetHeaderLen
}

// mask has a bit for each that a packet must have in common with the first: what lies
// at the same place of c.head. It is as long at least.
func (c *Continuation) mask() []byte {
	if c.l4-c.ip == IPv4HeaderLen {
		return mask4[EthernetHeaderLen-c.ip:]
	}
	return mask6[EthernetHeaderLen-c.ip:]
}

// A continueMask is the mask of an Ethernet, IP and TCP header with any options.
type continueMask [EthernetHeaderLen + maxContinueVectors]byte

var mask4, mask6 = newContinueMask(IPv4HeaderLen), newContinueMask(IPv6HeaderLen)

func newContinueMask(ipHeader int) (m continueMask) {
	for i := range m {
		m[i] = 0xff
	}
	ip := m[EthernetHeaderLen:]
	if ipHeader == IPv4HeaderLen {
		clear(ip[4:6])   // identification
		clear(ip[10:12]) // checksum
	}
	tcp := ip[ipHeader:]
	clear(tcp[4:8]) // sequence number
	tcp[flagsOffset] = ^byte(PSH)
	clear(tcp[16:18]) // checksum
	return m
}
