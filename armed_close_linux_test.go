package zctap_test

import (
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
)

// TestCloseWhileArmed: Close of an armed connection ends it without a completion, also of
// what had come already, so that what belongs to it can be given up.
func TestCloseWhileArmed(t *testing.T) {
	for name, open := range map[string]func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer){
		"copy": openCopy, "user": openMem(pairA4, pairB4),
	} {
		t.Run(name, func(t *testing.T) {
			q, peer := open(t, zctap.Config{Buffers: 64})
			const closed, other = 1, 2
			for _, data := range []uint64{closed, other} {
				c, theirs := connected(t, q, peer)
				if err := c.Arm(data); err != nil {
					t.Fatal(err)
				}
				if _, err := theirs.Write([]byte("payload")); err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(patience); c.Buffered() == 0; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("nothing came")
					}
				}
				if data == closed {
					if err := c.Close(); err != nil {
						t.Fatal(err)
					}
				}
			}
			cqes := make([]zctap.Completion, 4)
			n, err := q.Wait(cqes)
			if err != nil {
				t.Fatal(err)
			}
			for i := range cqes[:n] {
				if cqes[i].UserData != other {
					t.Errorf("a completion of the closed connection: %+v", cqes[i])
				}
				if _, err := q.Release(cqes[i].Iovs); err != nil {
					t.Error(err)
				}
			}
			if n != 1 {
				t.Errorf("%d completions", n)
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
			if n := q.Leaked(); n != 0 {
				t.Errorf("%d buffers leaked", n)
			}
		})
	}
}
