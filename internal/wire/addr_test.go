package wire

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestWords: the words are those of the array, which serves as well; and with this Go the fast
// way is taken.
func TestWords(t *testing.T) {
	if !wordsFirst {
		t.Error("an address does not begin with its words any more: each use of one waits for a copy")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var b [16]byte
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		for _, a := range []netip.Addr{netip.AddrFrom16(b), netip.AddrFrom16(b).WithZone("eth9"), netip.AddrFrom4([4]byte(b[:]))} {
			hi, lo := words(a)
			if h, l := wordsOfArray(a); hi != h || lo != l {
				t.Fatalf("%v: words %x %x, array %x %x", a, hi, lo, h, l)
			}
			e := netip.AddrPortFrom(a, 80)
			if h, l := endWords(&e); hi != h || lo != l {
				t.Errorf("%v: words %x %x, of an end %x %x", a, hi, lo, h, l)
			}
			was := wordsFirst
			wordsFirst = false
			if h, l := words(a); hi != h || lo != l {
				t.Errorf("%v: words %x %x, without looking into it %x %x", a, hi, lo, h, l)
			}
			if h, l := endWords(&e); hi != h || lo != l {
				t.Errorf("%v: words %x %x, of an end without looking into it %x %x", a, hi, lo, h, l)
			}
			wordsFirst = was
		}
	}
}
