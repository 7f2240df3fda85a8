package shring

import (
	"runtime"
	"sync"
	"testing"
)

// TestConcurrent runs both sides at once over heap memory, with entries written plainly: under -race it proves that
// the two index words alone order the entries, and without it that none is lost, doubled or torn.
func TestConcurrent(t *testing.T) {
	const total = 200_000
	for name, start := range map[string]uint32{"from zero": 0, "over the wrap": 1<<32 - total/2} {
		t.Run(name, func(t *testing.T) {
			p, c, _ := ends(t, 64, start)
			type entry struct{ a, b uint64 }
			slots := make([]entry, p.Size())

			var wg sync.WaitGroup
			wg.Go(func() {
				for sent := uint64(0); sent < total; {
					at, got := p.Reserve(min(7, uint32(total-sent)))
					for i := range got {
						slots[(at+i)&p.Mask()] = entry{sent, ^sent}
						sent++
					}
					p.Submit(got)
					if got == 0 {
						runtime.Gosched()
					}
				}
			})
			var wrong, received uint64
			wg.Go(func() {
				for received < total {
					at, got := c.Peek(5)
					for i := range got {
						if slots[(at+i)&c.Mask()] != (entry{received, ^received}) {
							wrong++
						}
						received++
					}
					c.Release(got)
					if got == 0 {
						runtime.Gosched()
					}
				}
			})
			wg.Wait()
			if wrong != 0 || received != total {
				t.Errorf("%d entries received, %d of them wrong; want %d and 0", received, wrong, total)
			}
			if p.Corruptions() != 0 || c.Corruptions() != 0 {
				t.Errorf("a correct peer was refused: %v, %v", p.Err(), c.Err())
			}
			if p.InFlight() != 0 {
				t.Errorf("%d entries left", p.InFlight())
			}
		})
	}
}
