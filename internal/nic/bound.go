//go:build linux

package nic

import "fmt"

// NAPI returns the id of the NAPI instance that polls the queue, 0 if the
// driver does not tell. A driver that makes its queues anew may change it.
func (a *Applied) NAPI() (uint32, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dev == nil {
		return 0, a.errUndone()
	}
	q, err := a.dev.queue(a.queue)
	if err != nil {
		return 0, fmt.Errorf("nic: %s queue %d: %w", a.iface, a.queue, err)
	}
	return q.NAPI, nil
}

// Stats returns the queue's counters: see [ReadQueueStats]. Unlike that it may be
// called from any thread.
func (a *Applied) Stats() (QueueStats, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dev == nil {
		return QueueStats{}, a.errUndone()
	}
	s, err := a.dev.queueStats(a.queue)
	if err != nil {
		return s, fmt.Errorf("nic: %s queue %d: %w", a.iface, a.queue, err)
	}
	return s, nil
}

// WaitFree waits until nothing is bound to the queue, five seconds at most: see
// [WaitQueueFree]. Unlike that it may be called from any thread.
func (a *Applied) WaitFree() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dev == nil {
		return nil
	}
	return waitFree(a.dev, a.iface, a.queue, teardownTime)
}
