//go:build linux

package gvnic

// Stats are the device's counters since New; resets of the device do not clear
// them.
type Stats struct {
	AdminCommands uint64 `json:"admin_commands"` // executed
	AdminErrors   uint64 `json:"admin_errors"`   // of them, answered with an error
	AdminFaults   uint64 `json:"admin_faults"`   // rings of the admin queue's doorbell that made no sense
	Doorbells     uint64 `json:"doorbells"`      // writes to the doorbell BAR
	BadDoorbells  uint64 `json:"bad_doorbells"`  // of them, to nothing, or a tail that is out of range
	BadRegisters  uint64 `json:"bad_registers"`  // writes to registers that can't be written so
	Interrupts    uint64 `json:"interrupts"`     // signalled, the management vector's included
	Management    uint64 `json:"management"`     // of them, the management vector's
	Held          uint64 `json:"held"`           // events while their interrupt was masked
	DriverResets  uint64 `json:"driver_resets"`  // by the driver, through its status register
	BusResets     uint64 `json:"bus_resets"`     // by the PCI bus
	LinkChanges   uint64 `json:"link_changes"`
	Reports       uint64 `json:"reports"` // of statistics, written to the guest

	// Frames from the wire that reached no queue.
	DropLinkDown  uint64 `json:"drop_link_down"`
	DropNoDriver  uint64 `json:"drop_no_driver"` // no guest, or no queues configured
	DropNoQueue   uint64 `json:"drop_no_queue"`  // steered to a queue that is not there
	DropMalformed uint64 `json:"drop_malformed"` // shorter than an Ethernet header, or a super-frame that can't be cut

	Injected Injected `json:"injected"`

	// Rx and Tx have an element for each queue that the device can have.
	Rx []RxStats `json:"rx"`
	Tx []TxStats `json:"tx"`
}

// Injected counts the faults that came over packets, see Faults.
type Injected struct {
	Dropped    uint64 `json:"dropped"`
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Corrupted  uint64 `json:"corrupted"`
	Unsplit    uint64 `json:"unsplit"`
}

// RxStats are the counters of one receive queue.
type RxStats struct {
	Created uint64 `json:"created"` // how many times the driver made it
	Frames  uint64 `json:"frames"`  // given to the driver; a coalesced packet is one
	Bytes   uint64 `json:"bytes"`
	// PayloadBytes are those written to data buffers behind a header that went
	// to its own buffer.
	PayloadBytes uint64 `json:"payload_bytes"`
	Descriptors  uint64 `json:"descriptors"` // completions, one for each buffer used
	Split        uint64 `json:"split"`       // frames with the header in its own buffer
	Unsplit      uint64 `json:"unsplit"`     // frames without
	Overflow     uint64 `json:"overflow"`    // of them, those with a header longer than its buffer
	Coalesced    uint64 `json:"coalesced"`   // frames that stand for several packets (RSC)
	Segments     uint64 `json:"segments"`    // the packets that those stand for
	Cut          uint64 `json:"cut"`         // super-frames from the wire that the device cut up for this queue
	Shortened    uint64 `json:"shortened"`   // super-frames of which only a part found buffers at once
	BadChecksum  uint64 `json:"bad_checksum"`
	Doorbells    uint64 `json:"doorbells"`

	DropNoBuffers uint64 `json:"drop_no_buffers"` // the queue's memory was full of frames waiting for buffers
	DropTooLong   uint64 `json:"drop_too_long"`   // over the device's MTU
	DropBadBuffer uint64 `json:"drop_bad_buffer"` // a buffer or a ring is not in memory
	DropDestroyed uint64 `json:"drop_destroyed"`  // waited for buffers when the queue went
}

// TxStats are the counters of one transmit queue.
type TxStats struct {
	Created     uint64 `json:"created"`
	Frames      uint64 `json:"frames"` // sent; a super-frame is one
	Bytes       uint64 `json:"bytes"`
	Descriptors uint64 `json:"descriptors"` // fetched
	Super       uint64 `json:"super"`       // frames with segmentation left to the device
	Segments    uint64 `json:"segments"`    // the packets that those stand for
	Checksums   uint64 `json:"checksums"`   // frames with the checksum left to the device
	Completions uint64 `json:"completions"` // of packets and of descriptors
	Doorbells   uint64 `json:"doorbells"`
	Stalls      uint64 `json:"stalls"` // times that the wire was full
	Failed      uint64 `json:"failed"` // times that a ring was out of reach, which ends the queue

	DropNoWire    uint64 `json:"drop_no_wire"` // link down, or no peer
	DropMalformed uint64 `json:"drop_malformed"`
	DropTooLong   uint64 `json:"drop_too_long"`
	DropBadBuffer uint64 `json:"drop_bad_buffer"`
	BadDescriptor uint64 `json:"bad_descriptor"` // of an unknown type
}

// RxTotal is the sum over the receive queues.
func (s Stats) RxTotal() (t RxStats) {
	for i := range s.Rx {
		q := &s.Rx[i]
		t.Created += q.Created
		t.Frames += q.Frames
		t.Bytes += q.Bytes
		t.PayloadBytes += q.PayloadBytes
		t.Descriptors += q.Descriptors
		t.Split += q.Split
		t.Unsplit += q.Unsplit
		t.Overflow += q.Overflow
		t.Coalesced += q.Coalesced
		t.Segments += q.Segments
		t.Cut += q.Cut
		t.Shortened += q.Shortened
		t.BadChecksum += q.BadChecksum
		t.Doorbells += q.Doorbells
		t.DropNoBuffers += q.DropNoBuffers
		t.DropTooLong += q.DropTooLong
		t.DropBadBuffer += q.DropBadBuffer
		t.DropDestroyed += q.DropDestroyed
	}
	return t
}

// TxTotal is the sum over the transmit queues.
func (s Stats) TxTotal() (t TxStats) {
	for i := range s.Tx {
		q := &s.Tx[i]
		t.Created += q.Created
		t.Frames += q.Frames
		t.Bytes += q.Bytes
		t.Descriptors += q.Descriptors
		t.Super += q.Super
		t.Segments += q.Segments
		t.Checksums += q.Checksums
		t.Completions += q.Completions
		t.Doorbells += q.Doorbells
		t.Stalls += q.Stalls
		t.Failed += q.Failed
		t.DropNoWire += q.DropNoWire
		t.DropMalformed += q.DropMalformed
		t.DropTooLong += q.DropTooLong
		t.DropBadBuffer += q.DropBadBuffer
		t.BadDescriptor += q.BadDescriptor
	}
	return t
}
