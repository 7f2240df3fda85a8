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
	if second(now) != c.confirmed {
		c.confirmAgain(now)
	}
}

func (c *Conn) confirmAgain(now mono.Time) {
	c.confirmed = second(now)
	if c.sh.Confirm != nil {
		c.sh.Confirm(c.tuple.Remote.Addr())
	}
}

// second is the number of now's second, or what is nearly one.
func second(now mono.Time) uint8 { return uint8(now >> 30) }
