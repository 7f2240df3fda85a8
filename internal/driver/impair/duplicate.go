package impair

import "github.com/zctap/zctap/internal/driver"

// duplicate copies a frame, payload and all, into buffers of the pool: the
// stack charges each buffer to one connection, once, so that two frames can't
// share one. The copy is laid out as the original is, and its payload marked as
// copied. Nil if there are not enough buffers free.
func (d *Driver) duplicate(f *driver.Frame) *held {
	p, need := d.config.Pool, len(f.Frags)
	// Ask first: an allocation that fails begins an episode of exhaustion, of
	// which the application would be told.
	if p.Free() < need {
		return nil
	}
	if len(d.ids) < need {
		d.ids = make([]uint16, need)
	}
	ids := d.ids[:need]
	if got := p.Alloc(ids); got < need {
		for _, id := range ids[:got] {
			p.Put(id)
		}
		return nil
	}
	h := d.hold.take()
	h.keep(f)
	for i, g := range h.frags {
		copy(p.Region().Buffer(ids[i])[g.Offset():], p.Region().View(g))
		h.frags[i] = p.Frag(ids[i], g.Offset(), g.Len()).AsCopied()
	}
	return h
}
