package ifq

import "sync"

// table is the queues in use in this process. (That no other process uses them
// is for the device to know.)
var table = queueTable{used: map[tableKey]*Queue{}}

type tableKey struct {
	namespace uint64
	device    string
	queue     int
}

type queueTable struct {
	mu   sync.Mutex
	used map[tableKey]*Queue
}

// claim enters q, or reports that its queue is taken.
func (t *queueTable) claim(q *Queue) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used[q.key] != nil {
		return false
	}
	t.used[q.key] = q
	return true
}

// release takes q out.
func (t *queueTable) release(q *Queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used[q.key] == q {
		delete(t.used, q.key)
	}
}
