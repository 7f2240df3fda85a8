//go:build invariants

package tcp

// A lookCount counts the records that were looked at: TestAckLooks and others hold it against what
// has changed.
type lookCount struct{ n uint64 }

func (l *lookCount) count() { l.n++ }
