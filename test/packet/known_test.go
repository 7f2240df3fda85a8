package packet

import (
	"testing"
)

// Scripts that pass on Linux and are known to fail on our side: on the stack, or only
// on the engine, which is above it.
const (
	knownOfStack  = "known/stack"
	knownOfEngine = "known/engine"
)

// TestKnown runs what is known to be wrong, and requires that it still is, so that who
// mends it takes the script from known to scripts.
func TestKnown(t *testing.T) {
	for _, k := range []struct {
		folder    string
		newTarget func(Config, int) (Target, error)
	}{{knownOfStack, NewZctap}, {knownOfEngine, NewEngine}} {
		runAll(t, load(t, k.folder), k.newTarget, func(t *testing.T, o *outcome) {
			if o.err != nil {
				t.Error(o.err)
			}
			if o.failure == nil {
				t.Error("it passes now: move it to scripts, and its mention out of docs/packet-tests.md")
				return
			}
			t.Log(o.failure)
		})
	}
}
