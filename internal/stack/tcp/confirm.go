package tcp

import "github.com/zctap/zctap/internal/mono"

// confirm tells that the peer hears us (RFC 4861 section 7.3.1): it has acknowledged
// something new, or has gone on to data that it would not have sent without our
// ACKs. What comes again or out of order proves nothing.
//
// It is called for segments, and passes on one a second, by the number of which a
// connection remembers when that was. That 256 s later the number is the same costs
// a second.
func (c *Conn) confirm(now mono.Time) {
	if second := uint8(now >> 30); second != c.confirmed && c.sh.Confirm != nil {
		c.confirmed = second
		c.sh.Confirm(c.tuple.Remote.Addr())
	}
}
