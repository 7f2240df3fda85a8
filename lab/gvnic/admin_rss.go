//go:build linux

package gvnic

// configureRSS sets the hash key and table; what has size 0 stays as it is
// (struct gve_adminq_configure_rss).
func (d *Device) configureRSS(c []byte) error {
	types, alg := be.Uint16(c), c[2]
	keySize, tableSize := be.Uint16(c[4:]), be.Uint16(c[6:])
	r := d.rss
	switch {
	case alg != 0 && alg != rssToeplitz:
		return refuse(unimplemented, "RSS hash function %d", alg)
	case types&^hashAll != 0:
		return refuse(invalidArgument, "RSS hash types %#x", types)
	case keySize != 0 && keySize != rssKeySize:
		return refuse(invalidArgument, "RSS key of %d bytes, not %d", keySize, rssKeySize)
	case tableSize != 0 && tableSize != rssTableSize:
		return refuse(invalidArgument, "RSS table of %d entries, not %d", tableSize, rssTableSize)
	}
	if types != 0 {
		r.types = types
	}
	if keySize != 0 {
		b, err := d.memory(be.Uint64(c[8:]), rssKeySize)
		if err != nil {
			return err
		}
		copy(r.key[:], b)
	}
	if tableSize != 0 {
		b, err := d.memory(be.Uint64(c[16:]), rssTableSize*4)
		if err != nil {
			return err
		}
		for i := range r.table {
			q := be.Uint32(b[4*i:])
			if int64(q) >= int64(d.config.Queues) {
				return refuse(outOfRange, "RSS table entry %d: queue %d, the device has %d", i, q, d.config.Queues)
			}
			r.table[i] = q
		}
	}
	d.rss = r
	return nil
}

// rssAnswer is the length in bytes of the answer to QUERY_RSS: struct
// gve_query_rss_descriptor, key, table.
const rssAnswer = 8 + rssKeySize + 4*rssTableSize

// queryRSS tells the configuration (struct gve_adminq_query_rss).
func (d *Device) queryRSS(c []byte) error {
	b, err := d.place(be.Uint64(c[8:]), be.Uint64(c), rssAnswer)
	if err != nil {
		return err
	}
	be.PutUint32(b, rssAnswer)
	be.PutUint16(b[4:], d.rss.types)
	b[6], b[7] = rssToeplitz, 0
	copy(b[8:], d.rss.key[:])
	for i, q := range d.rss.table {
		be.PutUint32(b[8+rssKeySize+4*i:], q)
	}
	return nil
}
