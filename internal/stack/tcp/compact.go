package tcp

import "github.com/zctap/zctap/internal/buf"

// copyBreak is the payload in bytes up to which a frag is copied to where others
// are, when buffers are scarce. A segment of one byte pins a whole buffer
// otherwise, and the region is used up long before the window is.
const copyBreak = 256

// compactor is the buffer that a connection's tiny payloads are copied into: each
// piece is a frag of its own, with its own reference.
type compactor struct {
	buffer uint16
	open   bool  // buffer is ours: we hold a reference to it
	idle   bool  // nothing was copied since the hold timer's last round
	used   int32 // bytes of it
}

// take makes f the connection's: it charges its buffer, or copies it if it is
// tiny and buffers are scarce.
func (c *Conn) take(f buf.Frag) buf.Frag {
	n := f.Len()
	if n <= copyBreak && c.scarce() {
		if p, ok := c.compact(f); ok {
			c.estimate(uint64(n), 0)
			return p
		}
	}
	c.sh.Pool.Charge(f.Buffer(), c.account)
	c.estimate(uint64(n), 1)
	return f
}

// scarce reports whether tiny payloads are worth a copy: a quarter of the
// buffers is left, or the connection has used half of its share.
func (c *Conn) scarce() bool {
	free := c.sh.Pool.Free()
	return free < c.sh.Pool.Region().Count()/4 || c.account.Held() > c.share(free)/2
}

// compact copies f behind the payloads before it and drops its reference; ok is
// false, and f as it was, if there is no buffer to copy to.
func (c *Conn) compact(f buf.Frag) (piece buf.Frag, ok bool) {
	p, pool, n := &c.pack, c.sh.Pool, f.Len()
	if p.open && int(p.used)+n > pool.Region().BufferSize() {
		c.closePack()
	}
	if !p.open {
		if pool.Alloc(c.sh.one[:]) == 0 {
			return f, false
		}
		*p = compactor{buffer: c.sh.one[0], open: true}
		c.calm = false // Output watches it
		pool.Charge(p.buffer, c.account)
		c.estimate(0, 1)
	}
	piece = pool.Frag(p.buffer, int(p.used), n).AsCopied()
	if pool.Get(piece) != nil {
		// As many pieces as can be counted: the next one gets a new buffer.
		c.closePack()
		return f, false
	}
	copy(pool.Region().View(piece), pool.Region().View(f))
	p.used += int32(n)
	p.idle = false
	pool.Put(f.Buffer())
	c.sh.Stats.Compactions++
	return piece, true
}

// closePack ends the open buffer: what was copied there keeps it.
func (c *Conn) closePack() {
	if c.pack.open {
		c.sh.Pool.Put(c.pack.buffer)
		c.pack = compactor{}
	}
}

// closeIdlePack ends it if nothing came for a round of the hold timer, so that a
// connection that fell silent does not keep a buffer that everyone is done with.
func (c *Conn) closeIdlePack() {
	if c.pack.idle {
		c.closePack()
	}
	c.pack.idle = c.pack.open
}
