package owned

import (
	"testing"

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// TestStore: it stores, and in builds that check it notices that somebody else did, too.
func TestStore(t *testing.T) {
	var w atomic.Uint64
	w.Store(7)
	Store(&w, 7, 8)
	if v := w.Load(); v != 8 {
		t.Fatalf("stored %d", v)
	}
	if !Checked {
		return
	}
	defer func() {
		if recover() == nil {
			t.Fatal("a word that has changed was stored to")
		}
		if v := w.Load(); v != 8 {
			t.Fatalf("stored %d", v)
		}
	}()
	Store(&w, 7, 9)
}
