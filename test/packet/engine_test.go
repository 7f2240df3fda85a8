package packet

import (
	"testing"
	"time"
)

// longest is how long a script may wait that runs in the engine's real time.
const longest = 3 * time.Second

// minEngineScripts keeps suitable from leaving out more than it should.
const minEngineScripts = 250

// TestEngine runs the scripts against the whole of the user engine: what the engine
// adds to the stack, and what its own goroutine and clock change. Left out are scripts
// that need settings which it does not have, and those that take long; and one IP
// version is enough, as the engine does not look at it.
func TestEngine(t *testing.T) {
	var scripts []*Script
	for _, s := range load(t, "scripts") {
		if suitable(s) {
			s.Config.Families = s.Config.Families[:1]
			scripts = append(scripts, s)
		}
	}
	if len(scripts) < minEngineScripts {
		t.Errorf("%d scripts suit the engine, %d did", len(scripts), minEngineScripts)
	}
	runAll(t, scripts, NewEngine, report)
}

func suitable(s *Script) bool {
	if c := s.Config.Zctap; c != (Setup{TimeWait: c.TimeWait, ECN: c.ECN}) {
		return false
	}
	var total time.Duration
	for _, e := range s.Events {
		if e.Where != OnLinux {
			total += e.When.Lo + e.Quiet
		}
	}
	return total <= longest
}
