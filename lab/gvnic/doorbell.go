//go:build linux

package gvnic

// Where the doorbells are in BAR 2, in words of 4 bytes: one for each
// interrupt, transmit queue and receive queue. The driver is told with the
// queue's resources.
const (
	doorbellTx = 256
	doorbellRx = 512
)

// doorbell rings word i with a value. It reports false if there is nothing, or
// the value makes no sense to what is there.
func (d *Device) doorbell(i int, v uint32) bool {
	switch {
	case i < doorbellTx:
		return d.irqDoorbell(i, v)
	case i < doorbellRx:
		if i -= doorbellTx; i >= len(d.tx) || d.tx[i] == nil {
			return false
		}
		return d.tx[i].doorbell(d, v)
	}
	if i -= doorbellRx; i >= len(d.rx) || d.rx[i] == nil {
		return false
	}
	return d.rx[i].doorbell(d, v)
}
