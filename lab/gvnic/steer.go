//go:build linux

package gvnic

// steer finds the queue for a packet: that of the first steering rule that
// matches, else by the hash, else queue 0, for what can't be hashed. The queue
// may not be there; the device has it, though.
func (d *Device) steer(f *rxFrame) int {
	if q, ok := d.flows.lookup(&f.packet); ok {
		return int(q)
	}
	if !f.hashed {
		return 0
	}
	return int(d.rss.table[f.hash%rssTableSize])
}
