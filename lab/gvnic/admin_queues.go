//go:build linux

package gvnic

// Sizes in bytes of descriptors and completions (gve_desc_dqo.h), and of struct
// gve_queue_resources.
const (
	txDescSize  = 16
	txComplSize = 8
	rxDescSize  = 32
	rxComplSize = 32
	queueRes    = 64
)

// rawAddressing in place of the id of a page list says that descriptors hold
// addresses (GVE_RAW_ADDRESSING_QPL_ID).
const rawAddressing = 0xffffffff

// counterBase is where the queues' event counters would be, in other formats.
const counterBase = 64

// checkQueue checks what both kinds of queues have in common.
func (d *Device) checkQueue(id, block, pageList uint32) error {
	switch {
	case d.res.blocks == 0:
		return refuse(failedPrecondition, "queue %d: the device's resources are not set up", id)
	case int64(id) >= int64(d.config.Queues):
		return refuse(outOfRange, "queue %d: the device has %d", id, d.config.Queues)
	case int64(block) >= int64(d.res.blocks):
		return refuse(outOfRange, "queue %d: notification block %d of %d", id, block, d.res.blocks)
	case pageList != rawAddressing:
		return refuse(invalidArgument, "queue %d: page list %#x in a format without", id, pageList)
	}
	return nil
}

// checkRing checks a ring of n entries.
func (d *Device) checkRing(what string, addr uint64, n uint16, entry int) error {
	if !isRing(int(n), d.config.MinRing, d.config.MaxRing) {
		return refuse(invalidArgument, "%s of %d entries: a power of two from %d to %d", what, n, d.config.MinRing, d.config.MaxRing)
	}
	return d.region(what, addr, int(n)*entry, entry)
}

// answerQueue tells the driver the queue's doorbell (struct
// gve_queue_resources).
func (d *Device) answerQueue(addr uint64, doorbell, counter uint32) error {
	if err := d.region("queue resources", addr, queueRes, 4); err != nil {
		return err
	}
	b, err := d.memory(addr, queueRes)
	if err != nil {
		return err
	}
	be.PutUint32(b, doorbell)
	be.PutUint32(b[4:], counter)
	return nil
}

// createTx makes a transmit queue (struct gve_adminq_create_tx_queue).
func (d *Device) createTx(c []byte) error {
	id := be.Uint32(c)
	q := &txQueue{
		id:    int(id),
		ring:  be.Uint64(c[16:]),
		block: int(be.Uint32(c[28:])),
		compl: be.Uint64(c[32:]),
		size:  uint32(be.Uint16(c[40:])),
		csize: uint32(be.Uint16(c[42:])),
		gen:   1,
	}
	if err := d.checkQueue(id, be.Uint32(c[28:]), be.Uint32(c[24:])); err != nil {
		return err
	}
	if d.tx[id] != nil {
		return refuse(alreadyExists, "TX queue %d", id)
	}
	if err := d.checkRing("TX ring", q.ring, uint16(q.size), txDescSize); err != nil {
		return err
	}
	if err := d.checkRing("TX completion ring", q.compl, uint16(q.csize), txComplSize); err != nil {
		return err
	}
	if err := d.answerQueue(be.Uint64(c[8:]), doorbellTx+id, id); err != nil {
		return err
	}
	q.stats = &d.stats.Tx[id]
	q.stats.Created++
	d.tx[id] = q
	d.config.Log.Debug("TX queue", "id", id, "ring", q.size, "completions", q.csize, "block", q.block)
	return nil
}

// createRx makes a receive queue (struct gve_adminq_create_rx_queue).
func (d *Device) createRx(c []byte) error {
	id := be.Uint32(c)
	q := &rxQueue{
		id:      int(id),
		block:   int(be.Uint32(c[12:])),
		compl:   be.Uint64(c[24:]),
		ring:    be.Uint64(c[32:]),
		csize:   uint32(be.Uint16(c[44:])),
		bufSize: int(be.Uint16(c[46:])),
		size:    uint32(be.Uint16(c[48:])),
		rsc:     c[50] != 0,
		hdrSize: int(be.Uint16(c[52:])),
		gen:     1,
	}
	if err := d.checkQueue(id, be.Uint32(c[12:]), be.Uint32(c[40:])); err != nil {
		return err
	}
	switch {
	case d.rx[id] != nil:
		return refuse(alreadyExists, "RX queue %d", id)
	case q.bufSize != 2048 && q.bufSize != d.config.BufferSize:
		return refuse(invalidArgument, "RX queue %d: buffers of %d bytes: 2048 or %d", id, q.bufSize, d.config.BufferSize)
	case q.hdrSize != 0 && q.hdrSize != d.headerBuffer():
		return refuse(invalidArgument, "RX queue %d: header buffers of %d bytes: 0 or %d", id, q.hdrSize, d.headerBuffer())
	case q.csize < q.size:
		// Each buffer makes one completion, so the driver can't be overrun.
		return refuse(invalidArgument, "RX queue %d: %d completions for %d buffers", id, q.csize, q.size)
	}
	if err := d.checkRing("RX completion ring", q.compl, uint16(q.csize), rxComplSize); err != nil {
		return err
	}
	if err := d.checkRing("RX buffer ring", q.ring, uint16(q.size), rxDescSize); err != nil {
		return err
	}
	if err := d.answerQueue(be.Uint64(c[16:]), doorbellRx+id, counterBase+id); err != nil {
		return err
	}
	q.stats = &d.stats.Rx[id]
	q.stats.Created++
	d.payloads[id].over = true
	q.pages = &d.payloads[id]
	d.rx[id] = q
	d.config.Log.Debug("RX queue", "id", id, "ring", q.size, "completions", q.csize, "buffer", q.bufSize,
		"header", q.hdrSize, "rsc", q.rsc, "block", q.block)
	return nil
}

// destroy ends the queue that the command names.
func (d *Device) destroy(c []byte, end func(id int) bool) error {
	id := be.Uint32(c)
	if int64(id) >= int64(d.config.Queues) || !end(int(id)) {
		return refuse(notFound, "queue %d", id)
	}
	return nil
}

// destroyTx ends a transmit queue, and reports whether there was one. Frames
// that it fetched and has not sent are lost.
func (d *Device) destroyTx(id int) bool {
	q := d.tx[id]
	if q == nil {
		return false
	}
	d.tx[id] = nil
	d.config.Log.Debug("TX queue destroyed", "id", id)
	return true
}

// destroyRx ends a receive queue, and reports whether there was one. Frames
// that wait for buffers are lost. The pages it wrote to stay on record.
func (d *Device) destroyRx(id int) bool {
	q := d.rx[id]
	if q == nil {
		return false
	}
	q.stats.DropDestroyed += uint64(q.fifo.len())
	d.rx[id] = nil
	d.config.Log.Debug("RX queue destroyed", "id", id, "pages", len(q.pages.set))
	return true
}
