package pcap

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// Config says how a wire is recorded.
type Config struct {
	// Pool is the one that the decorated driver receives into. Required.
	Pool *buf.Pool
	// Snaplen is how many bytes of each frame are recorded at most, up to
	// 262144. 0: that, which is all of any frame.
	Snaplen int
	// Epoch is what time it was at the zero mono.Time, to which the times are
	// added that Poll and Send are called with: for a clock on the wall,
	// time.Now().Add(-time.Duration(mono.Now())). From 1970, which is also what
	// the zero Epoch means, to 2106.
	Epoch time.Time
}

// A Driver is another driver whose frames are recorded.
type Driver struct {
	inner  driver.Driver
	region *buf.Region
	out    writer
}

var _ driver.Driver = (*Driver)(nil)

// New records inner's frames to w, beginning with the file's header. The
// decorated driver belongs to the new one, and is closed with it; w stays the
// caller's, to be closed after the driver. Errors: EINVAL says what is wrong
// with c, and those of w.
func New(inner driver.Driver, w io.Writer, c Config) (*Driver, error) {
	if c.Snaplen == 0 {
		c.Snaplen = maxSnaplen
	}
	if c.Epoch.IsZero() {
		c.Epoch = time.Unix(0, 0)
	}
	switch {
	case c.Pool == nil:
		return nil, invalid("no pool that the driver receives into")
	case w == nil:
		return nil, invalid("no writer")
	case c.Snaplen < 1 || c.Snaplen > maxSnaplen:
		return nil, invalid("snaplen of %d bytes is not from 1 to %d", c.Snaplen, maxSnaplen)
	case c.Epoch.Unix() < 0 || c.Epoch.Unix() > math.MaxUint32:
		return nil, invalid("%v can't be expressed in the file", c.Epoch)
	}
	link, err := linkType(inner.Caps().LinkHeader)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		inner: inner, region: c.Pool.Region(),
		out: writer{w: w, epoch: c.Epoch.UnixNano(), snaplen: c.Snaplen},
	}
	d.out.pending = appendFileHeader(nil, uint32(c.Snaplen), link)
	if d.out.flush(0); d.out.err != nil {
		return nil, fmt.Errorf("pcap: write the file's header: %w", d.out.err)
	}
	return d, nil
}

// Poll receives frames from the decorated driver, and records them as they are
// now.
func (d *Driver) Poll(now mono.Time, b *driver.Batch) error {
	err := d.inner.Poll(now, b)
	for i := range b.Frames {
		f := &b.Frames[i]
		r := d.out.begin(now, f.Len)
		r.add(f.Head)
		for _, g := range f.Frags {
			r.add(d.region.View(g))
		}
		d.out.flush(flushBytes)
	}
	d.out.flush(0)
	return err
}

// Send sends on the decorated driver, and records the frames that it took,
// those among them that the wire refused, too.
func (d *Driver) Send(now mono.Time, frames []driver.TxFrame) (int, error) {
	n, err := d.inner.Send(now, frames)
	for i := range frames[:n] {
		f := &frames[i]
		r := d.out.begin(now, f.Len())
		r.add(f.Head)
		r.add(f.Payload[0])
		r.add(f.Payload[1])
		d.out.flush(flushBytes)
	}
	d.out.flush(0)
	return n, err
}

// Err is the error of the writer that ended the recording; nil while it goes
// on. Like Counts it is for the goroutine that the driver belongs to.
func (d *Driver) Err() error { return d.out.err }

// Counts is what was recorded so far.
func (d *Driver) Counts() Counts { return d.out.counts }

// Caps is the decorated driver's.
func (d *Driver) Caps() driver.Caps { return d.inner.Caps() }

// Wait waits as the decorated driver does.
func (d *Driver) Wait(until mono.Time) error { return d.inner.Wait(until) }

// Wake wakes the decorated driver.
func (d *Driver) Wake() { d.inner.Wake() }

// Stats adds the decorated driver's counters to s.
func (d *Driver) Stats(s *driver.Stats) { d.inner.Stats(s) }

// Close closes the decorated driver. All that was recorded has been written.
func (d *Driver) Close() error { return d.inner.Close() }
