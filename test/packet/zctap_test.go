package packet

import (
	"fmt"
	"testing"
)

// TestScripts runs all scripts against our stack, also those that only the engine fails.
func TestScripts(t *testing.T) {
	scripts := append(load(t, "scripts"), load(t, knownOfEngine)...)
	for _, s := range scripts {
		t.Run(title(s), func(t *testing.T) {
			for _, family := range s.Config.Families {
				t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) {
					failure, _, leak := runOn(s, family, NewZctap)
					if failure != nil {
						t.Error(failure)
					}
					if leak != nil {
						t.Error(leak)
					}
				})
			}
		})
	}
}
