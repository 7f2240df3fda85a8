//go:build linux

package gvnic

import "time"

// Connect, Deliver and Ready are the device's side of the wire.

// Connect sets whom the device sends to.
func (d *Device) Connect(peer End) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peer = peer
}

// Deliver hands the device a frame from the wire: see End.
func (d *Device) Deliver(f Frame) bool {
	if !d.in.put(f) {
		return false
	}
	nudge(d.wake)
	return true
}

// Ready tells the device that the wire has room again.
func (d *Device) Ready() {
	d.ready.Store(true)
	nudge(d.wake)
}

// work is the device's goroutine: it does what no access of the driver's sets
// off.
func (d *Device) work() {
	defer close(d.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-d.wake:
		case <-timer.C:
		}
		timer.Reset(d.step())
	}
}

// idle is how long the worker sleeps when nothing is due.
const idle = time.Hour

// step does what is to do, and returns after what time there is something due.
func (d *Device) step() (sleep time.Duration) {
	frames, refused := d.in.take(d.batch[:0])
	ready := d.ready.Swap(false)
	d.mu.Lock()
	bus := d.bus
	d.mu.Unlock()

	did := false
	if bus != nil {
		// An error is the guest's end: Detach follows, or has been.
		_ = bus.Do(func() error {
			d.mu.Lock()
			defer d.mu.Unlock()
			if did = d.bus == bus; did {
				sleep = d.run(frames, ready, time.Now())
			}
			return nil
		})
	}
	if !did {
		d.mu.Lock()
		d.stats.DropNoDriver += uint64(len(frames))
		d.mu.Unlock()
		sleep = idle
	}
	clear(frames) // for the collector
	d.batch = frames[:0]
	if refused {
		d.peerReady()
	}
	return sleep
}

// peerReady tells the peer that there is room on the wire.
func (d *Device) peerReady() {
	d.mu.Lock()
	peer := d.peer
	d.mu.Unlock()
	if peer != nil {
		peer.Ready()
	}
}

// run is step with the guest there, and all locks held.
func (d *Device) run(frames []Frame, ready bool, now time.Time) time.Duration {
	d.inject.begin(now)
	d.tellDriver(now)
	for _, f := range frames {
		d.receive(f, now)
	}
	if j := &d.inject; j.held != nil && !now.Before(j.until) {
		d.release()
	}
	for _, q := range d.rx {
		if q != nil {
			q.drain(d, now)
		}
	}
	for _, q := range d.tx {
		if q != nil {
			q.writeLate(d, now)
			if ready {
				q.run(d)
			}
		}
	}
	d.writeReport(now)
	return d.due(now).Sub(now)
}

// tellDriver signals the management interrupt if there is news in the device
// status.
func (d *Device) tellDriver(now time.Time) {
	up := d.linkUp(now)
	news := d.wantReset && !d.askedReset
	if up != d.linkSeen {
		d.linkSeen = up
		d.stats.LinkChanges++
		d.config.Log.Debug("link", "up", up)
		news = true
	}
	if news && d.res.blocks > 0 { // a driver that is yet to come looks by itself
		d.askedReset = d.wantReset
		d.notifyManagement()
	}
}

// due is when there is something to do next.
func (d *Device) due(now time.Time) time.Time {
	at := now.Add(idle)
	earlier := func(t time.Time) {
		if t.After(now) && t.Before(at) {
			at = t
		}
	}
	earlier(d.inject.starve)
	earlier(d.inject.flap)
	if d.inject.held != nil {
		earlier(d.inject.until)
	}
	if d.report.size > 0 {
		earlier(d.report.due)
	}
	for _, q := range d.tx {
		if q != nil && len(q.late) > 0 {
			earlier(q.late[0].due)
		}
	}
	return at
}
