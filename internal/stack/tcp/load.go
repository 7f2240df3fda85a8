package tcp

// Load reads a word of each cache line that a segment in order will need, so that
// these are on their way. The result means nothing.
func (c *Conn) Load() uint64 {
	return uint64(c.tuple.Local.Port()) + uint64(c.TimerIndex) + uint64(c.acks.unacked) + uint64(c.snd.una) + uint64(c.rcv.full) + uint64(c.keep.heard)
}

// LoadQueue is Load for what lies behind pointers, which Load has loaded.
func (c *Conn) LoadQueue() uint64 {
	if c.Recv == nil {
		return 0
	}
	return c.Recv.Load() + uint64(c.account.Held())
}
