//go:build linux

package lab

import (
	"runtime"
	"testing"
	"time"
)

// TestTSCFrequency measures once more, over a longer time.
func TestTSCFrequency(t *testing.T) {
	khz := tscFrequency()
	if runtime.GOARCH != "amd64" {
		if khz != 0 {
			t.Errorf("%d kHz", khz)
		}
		return
	}
	begin, _ := readTSC()
	time.Sleep(200 * time.Millisecond)
	end, _ := readTSC()
	again := float64(end.count-begin.count) / float64(end.at.Sub(begin.at)) * float64(time.Millisecond)
	if ratio := float64(khz) / again; ratio < 0.99 || ratio > 1.01 {
		t.Errorf("%d kHz, and then %.0f", khz, again)
	}
	t.Logf("%d kHz, and then %.0f", khz, again)
}
