//go:build linux

package gvnic

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseFaults(t *testing.T) {
	for s, want := range map[string]Faults{
		"":                    {},
		" , ":                 {},
		"drop=0.01":           {Drop: 0.01},
		"dup=1, reorder=.5":   {Duplicate: 1, Reorder: 0.5},
		"duplicate=0.25":      {Duplicate: 0.25},
		"corrupt=1e-3":        {Corrupt: 0.001},
		"corruptbad=1":        {CorruptBad: 1},
		"nosplit,starve":      {NoSplit: true, Starve: -1},
		"starve=2s,late=5ms":  {Starve: Duration(2 * time.Second), Late: Duration(5 * time.Millisecond)},
		"nosplit=false":       {},
		"linkdown,flap=100ms": {LinkDown: true, Flap: Duration(100 * time.Millisecond)},
		"reset,seed=0x10":     {Reset: true, Seed: 16},
	} {
		got, err := ParseFaults(s)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", s, got, err, want)
		}
		if again, err := ParseFaults(got.String()); err != nil || again != got {
			t.Errorf("%q: as text %q, which is %+v, %v", s, got.String(), again, err)
		}
		b, err := json.Marshal(got)
		var back Faults
		if err != nil || json.Unmarshal(b, &back) != nil || back != got {
			t.Errorf("%q: in JSON %s, %v, which is %+v", s, b, err, back)
		}
	}
	for _, s := range []string{
		"drop", "drop=", "drop=1.5", "drop=-1", "drop=NaN", "drop=x", "starve=x", "late=1m", "late=-1s", "flap=-1s",
		"nosplit=maybe", "seed=-1", "what", "what=1", "reset=7", "corrupt=2", "corruptbad=-0.1", "reorder=9", "dup=9",
	} {
		got, err := ParseFaults(s)
		name, _, _ := strings.Cut(s, "=")
		if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), strings.TrimSuffix(name, "licate")) && name != "dup" {
			t.Errorf("%q: %+v, %v; want EINVAL that names it", s, got, err)
		}
	}
}
