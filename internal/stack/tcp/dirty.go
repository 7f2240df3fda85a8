package tcp

// dirtyList links the connections that have something to put out or to publish,
// each once, however many segments of a batch were theirs.
type dirtyList struct{ first, last *Conn }

// touch has c looked at by Output: something of it has changed.
func (c *Conn) touch() {
	c.calm = false
	c.enlist()
}

// enlist puts c into its stack's dirty list, if it is not there already.
func (c *Conn) enlist() {
	if c.dirty {
		return
	}
	c.dirty = true
	l := &c.sh.dirty
	if l.last == nil {
		l.first = c
	} else {
		l.last.nextDirty = c
	}
	l.last = c
}

// NextDirty takes the connection that became dirty first out of the list, for
// Output, which ends its batch; nil if none is left.
func (sh *Shared) NextDirty() *Conn {
	c := sh.dirty.first
	if c == nil {
		return nil
	}
	if sh.dirty.first = c.nextDirty; sh.dirty.first == nil {
		sh.dirty.last = nil
	}
	c.nextDirty, c.dirty, c.admission = nil, false, unjudged
	return c
}
