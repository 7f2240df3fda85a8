package wire

// Seq is a TCP sequence number. Sequence numbers wrap at 2^32, so that an order
// exists only between numbers less than 2^31 apart (RFC 9293 section 3.4): use the
// methods, never < and >.
type Seq uint32

// Add returns the sequence number n bytes after s.
func (s Seq) Add(n uint32) Seq { return s + Seq(n) }

// Sub returns the signed distance in bytes from t to s: positive if s is later.
func (s Seq) Sub(t Seq) int32 { return int32(s - t) }

// LessThan reports whether s comes before t.
func (s Seq) LessThan(t Seq) bool { return int32(s-t) < 0 }

// LessEq reports whether s comes before t or equals it.
func (s Seq) LessEq(t Seq) bool { return int32(s-t) <= 0 }

// InWindow reports whether s is one of the size numbers from start on. A window
// of size zero holds nothing.
func (s Seq) InWindow(start Seq, size uint32) bool { return uint32(s-start) < size }
