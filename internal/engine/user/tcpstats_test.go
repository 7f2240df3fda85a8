package user

import (
	"reflect"
	"slices"
	"testing"

	"github.com/zctap/zctap/internal/stack/tcp"
)

// TestEveryCounterIsReported: what TCP counts is in the engine's statistics, under
// a name of its own.
func TestEveryCounterIsReported(t *testing.T) {
	names := map[string]bool{}
	check := func(fields reflect.Value, report func() []counter, elsewhere ...string) {
		for i := range fields.NumField() {
			name := fields.Type().Field(i).Name
			if slices.Contains(elsewhere, name) {
				continue
			}
			fields.Field(i).SetUint(uint64(i + 1))
			found := 0
			for _, c := range report() {
				if c.n != 0 {
					found++
					if names[c.name] {
						t.Errorf("%s: the name %q is taken", name, c.name)
					}
					names[c.name] = true
				}
			}
			if found != 1 {
				t.Errorf("%s is reported %d times", name, found)
			}
			fields.Field(i).SetUint(0)
		}
	}
	var s tcp.Stats
	check(reflect.ValueOf(&s.Drops).Elem(), func() []counter { return tcpDrops(&s.Drops) })
	check(reflect.ValueOf(&s).Elem(), func() []counter { return tcpEvents(&s) },
		"Drops", "ZeroCopyBytes", "CopiedBytes", "SentBytes")
	var r tcp.RecoveryStats
	check(reflect.ValueOf(&r).Elem(), func() []counter { return recoveryEvents(&r) })
}
