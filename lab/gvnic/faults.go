//go:build linux

package gvnic

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Faults is how the device misbehaves. The zero Faults is a sound device.
//
// Probabilities are for each received packet, as the driver will see it: one
// that RSC has put together counts once. They are drawn from a generator that
// SetFaults seeds, so that the same packets meet the same fate.
type Faults struct {
	Drop      float64 `json:"drop,omitempty"`      // lost
	Duplicate float64 `json:"duplicate,omitempty"` // comes twice
	Reorder   float64 `json:"reorder,omitempty"`   // comes after its successor, or 10 ms later

	// Corrupt and CorruptBad change one byte of payload. With the first the
	// device still says that the checksum is right; with the second that it is
	// wrong, which it is.
	Corrupt    float64 `json:"corrupt,omitempty"`
	CorruptBad float64 `json:"corrupt_bad,omitempty"`

	// NoSplit: headers and payload go to the data buffers together.
	NoSplit bool `json:"nosplit,omitempty"`
	// Starve: the device consumes no receive buffers for so long, from
	// SetFaults on; negative: until the next SetFaults.
	Starve Duration `json:"starve,omitempty"`
	// Late: transmit completions are written that much later.
	Late Duration `json:"late,omitempty"`
	// LinkDown: the link is down until the next SetFaults. Flap: for so long, from when the
	// device, with a guest there, gets to it.
	LinkDown bool     `json:"link_down,omitempty"`
	Flap     Duration `json:"flap,omitempty"`
	// Reset: the device asks the driver, once, to reset it.
	Reset bool `json:"reset,omitempty"`
	// Seed of the random numbers.
	Seed uint64 `json:"seed,omitempty"`
}

// A Duration is a time.Duration that is text in JSON, as "1.5s".
type Duration time.Duration

// MarshalText writes d as time.Duration's String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText is the counterpart of MarshalText.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return invalid("duration %q", b)
	}
	*d = Duration(v)
	return nil
}

// maxLate bounds how long completions may be kept back; gve gives up on its
// transmit queue after 5 s (the kernel's watchdog).
const maxLate = 10 * time.Second

// check says what is wrong with f.
func (f *Faults) check() error {
	for _, p := range []struct {
		name  string
		value float64
	}{
		{"drop", f.Drop}, {"duplicate", f.Duplicate}, {"reorder", f.Reorder},
		{"corrupt", f.Corrupt}, {"corruptbad", f.CorruptBad},
	} {
		if !(p.value >= 0 && p.value <= 1) { // false for NaN, too
			return invalid("fault %s: probability %v is not from 0 to 1", p.name, p.value)
		}
	}
	if f.Late < 0 || time.Duration(f.Late) > maxLate {
		return invalid("fault late: %v is not from 0 to %v", time.Duration(f.Late), maxLate)
	}
	if f.Flap < 0 {
		return invalid("fault flap: %v", time.Duration(f.Flap))
	}
	return nil
}

// ParseFaults reads faults as a command line has them: a list of name=value or
// name, separated by commas. Names are drop, duplicate (or dup), reorder,
// corrupt, corruptbad with a probability; nosplit, linkdown, reset; late, flap
// and starve with a duration, the last also without: for ever; and seed. Errors
// are EINVAL and name the part that is wrong.
func ParseFaults(s string) (Faults, error) {
	var f Faults
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, has := strings.Cut(part, "=")
		if err := f.set(name, value, has); err != nil {
			return Faults{}, err
		}
	}
	return f, f.check()
}

// set sets the fault name to value; has tells that there is one.
func (f *Faults) set(name, value string, has bool) error {
	var err error
	flag := func(v *bool) {
		*v = true
		if has {
			*v, err = strconv.ParseBool(value)
		}
	}
	number := func(v *float64) { *v, err = strconv.ParseFloat(value, 64) }
	duration := func(v *Duration) { err = v.UnmarshalText([]byte(value)) }
	switch name {
	case "drop":
		number(&f.Drop)
	case "duplicate", "dup":
		number(&f.Duplicate)
	case "reorder":
		number(&f.Reorder)
	case "corrupt":
		number(&f.Corrupt)
	case "corruptbad":
		number(&f.CorruptBad)
	case "nosplit":
		flag(&f.NoSplit)
	case "starve":
		f.Starve = -1
		if has {
			duration(&f.Starve)
		}
	case "late":
		duration(&f.Late)
	case "linkdown":
		flag(&f.LinkDown)
	case "flap":
		duration(&f.Flap)
	case "reset":
		flag(&f.Reset)
	case "seed":
		f.Seed, err = strconv.ParseUint(value, 0, 64)
	default:
		return invalid("unknown fault %q: drop, duplicate, reorder, corrupt, corruptbad, nosplit, starve, late, linkdown, flap, reset, seed are known", name)
	}
	if err != nil {
		return fmt.Errorf("fault %s: %w", name, invalid("value %q", value))
	}
	return nil
}

// String is f in the form that ParseFaults reads; empty for the zero Faults.
func (f Faults) String() string {
	var parts []string
	add := func(on bool, format string, args ...any) {
		if on {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(f.Drop != 0, "drop=%v", f.Drop)
	add(f.Duplicate != 0, "duplicate=%v", f.Duplicate)
	add(f.Reorder != 0, "reorder=%v", f.Reorder)
	add(f.Corrupt != 0, "corrupt=%v", f.Corrupt)
	add(f.CorruptBad != 0, "corruptbad=%v", f.CorruptBad)
	add(f.NoSplit, "nosplit")
	add(f.Starve < 0, "starve")
	add(f.Starve > 0, "starve=%v", time.Duration(f.Starve))
	add(f.Late != 0, "late=%v", time.Duration(f.Late))
	add(f.LinkDown, "linkdown")
	add(f.Flap != 0, "flap=%v", time.Duration(f.Flap))
	add(f.Reset, "reset")
	add(f.Seed != 0, "seed=%d", f.Seed)
	return strings.Join(parts, ",")
}
