//go:build linux

package kernel

import "testing"

// rationed is a backend with so many buffers, of which each paused socket may take as many as each
// says. Once it goes on nothing is left to it, as if other threads had taken all meanwhile.
type rationed struct {
	backend
	buffers, each int
	asked, went   int
}

func (r *rationed) ready() int      { return r.buffers }
func (r *rationed) hungry() bool    { return true }
func (r *rationed) collect()        {}
func (r *rationed) receive(*socket) { r.went++ }

func (r *rationed) credit(s *socket) int {
	r.asked++
	if s.paused {
		return r.each
	}
	return -r.buffers
}

// Of those that are paused as many go on as there are buffers for, those first that wait
// longest; and it is asked once what each may take, which is not for nothing (zcrx.credit).
func TestResumedAsThereAreBuffers(t *testing.T) {
	for _, tc := range []struct {
		each  int // what each may take
		rests []int
	}{
		{1, []int{4, 1, 0}}, // 3 go on in the first round
		{2, []int{5, 3, 1, 0}},
		{100, []int{6, 5, 4, 3, 2, 1, 0}},
		{0, []int{7}}, // all are looked at
	} {
		r := &rationed{buffers: 3, each: tc.each}
		cfg := newConfig(t, 1)
		l := newLoop(cfg, tuning{perCall: 64, messages: 1, perMsg: 1, tails: 1})
		l.back = r
		var all [7]socket
		for i := range all {
			all[i].paused = true
			l.paused = append(l.paused, &all[i])
		}
		for round, rest := range tc.rests {
			l.resumePaused()
			if r.went != len(all)-rest || len(l.paused) != rest || rest > 0 && l.paused[0] != &all[r.went] {
				t.Fatalf("each may take %d, round %d: %d went on, %d are paused, want %d", tc.each, round, r.went, len(l.paused), rest)
			}
			if want := rest > 0 && tc.each > 0; l.lookAgain != want {
				t.Errorf("each may take %d, round %d: look again is %v", tc.each, round, l.lookAgain)
			}
		}
		if r.asked != len(all) {
			t.Errorf("each may take %d: asked %d times", tc.each, r.asked)
		}
	}
}
