package buf

import (
	"sync/atomic"
	"testing"
)

// TestStoreOwned: it stores, and in builds that check it notices that somebody else
// did, too.
func TestStoreOwned(t *testing.T) {
	var w atomic.Uint64
	w.Store(7 << 32)
	storeOwned(&w, 7<<32, 7<<32|charged|kernelOne)
	if v := w.Load(); v != 7<<32|charged|kernelOne {
		t.Fatalf("stored %#x", v)
	}
	if !ownedChecked {
		return
	}
	defer func() {
		if recover() == nil {
			t.Fatal("a word that has changed was stored to")
		}
		if v := w.Load(); v != 7<<32|charged|kernelOne {
			t.Fatalf("stored %#x", v)
		}
	}()
	storeOwned(&w, 7<<32, 8<<32)
}
