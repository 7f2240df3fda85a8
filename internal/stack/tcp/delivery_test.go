package tcp

import "testing"

// RFC 2883 section 4: what the first block has to be for a DSACK.
func TestDSACKReceived(t *testing.T) {
	for _, tt := range []struct {
		name   string
		blocks []int
		dsack  bool
		bad    bool
	}{
		{"before the acknowledgment", []int{0, 2}, true, false},
		{"just before it", []int{3, 4}, true, false},
		{"across it", []int{3, 5}, false, true},
		{"beyond it", []int{5, 6}, false, false},
		{"in the second block", []int{6, 7, 5, 8}, true, false},
		{"all of the second block", []int{5, 8, 5, 8}, true, false},
		{"not all in the second block", []int{7, 9, 5, 8}, false, false},
		{"in the third block", []int{9, 10, 5, 6, 8, 10}, false, false},
		{"long ago", []int{-10000, -9999}, false, true},
		{"inverted", []int{2, 0}, false, true},
		{"only the first block", []int{5, 6, 0, 2}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sendingOver(t, 10, 10, false)
			s.advance(testRTT)
			s.sack(4, tt.blocks...)
			if got := s.sh.Recovery.DuplicatesReported == 1; got != tt.dsack {
				t.Errorf("DSACK %v", got)
			}
			if got := s.sh.Recovery.BadBlocks == 1; got != tt.bad {
				t.Errorf("bad %v", got)
			}
			if (s.c.rack.mult > 1) != tt.dsack {
				t.Errorf("reordering window times %d", s.c.rack.mult)
			}
		})
	}
}

// An ACK that was overtaken by a later one tells nothing wrong: its blocks are not
// counted as bad, and what is news of them counts.
func TestOvertakenAck(t *testing.T) {
	s := sendingOver(t, 10, 10, false)
	s.advance(testRTT)
	s.sack(4)
	s.sack(2, 3, 4, 6, 7)
	if s.sh.Recovery.BadBlocks != 0 || s.c.board.sacked != testMSS {
		t.Errorf("%+v, %d bytes SACKed", s.sh.Recovery, s.c.board.sacked)
	}
}
