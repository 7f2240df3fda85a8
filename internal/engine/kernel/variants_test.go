//go:build linux

package kernel

import (
	"errors"
	"os"
	"runtime"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// A variant is a way in which an engine can run.
type variant struct {
	name   string
	o      Options
	plain  bool
	mapped bool               // the region has to be memory that the kernel can pin
	copies bool               // all payload counts as copied
	fake   *uringtest.Options // not nil: on a kernel that the tests play
}

var readvVariant = variant{name: "readv", o: Options{Backend: BackendReadv}, copies: true}

// variants are the ways that this kernel allows.
func variants() []variant {
	if onlyNoDevice {
		return []variant{noDeviceVariant("zcrx-nodev", ZCRXOptions{}), noDeviceVariant("zcrx-nodev-rings", ZCRXOptions{Rings: 2})}
	}
	all := []variant{
		readvVariant,
		{name: "uring", o: Options{Backend: BackendURing}, copies: true},
		{name: "uring-plain", o: Options{Backend: BackendURing}, plain: true, copies: true},
		fakeVariant("zcrx-fake", ZCRXOptions{NoDevice: true}, uringtest.Options{}),
		fakeVariant("zcrx-fake-nic", ZCRXOptions{Interface: 1, Queue: 1, Mixed: true}, uringtest.Options{Device: true, Chunk: 1448}),
		fakeVariant("zcrx-fake-nic-rings", ZCRXOptions{Interface: 1, Queue: 1, Rings: 3}, uringtest.Options{Device: true, Chunk: 1448}),
	}
	if inLab() || noDeviceWorks() == nil {
		plain := noDeviceVariant("zcrx-nodev-plain", ZCRXOptions{Mixed: true, RefillMemory: true})
		plain.plain = true
		all = append(all, noDeviceVariant("zcrx-nodev", ZCRXOptions{}), plain)
	}
	return all
}

// onlyNoDevice restricts variants to the kernel's own zcrx.
var onlyNoDevice bool

func noDeviceWorks() error {
	runtime.LockOSThread() // as the loop does
	defer runtime.UnlockOSThread()
	return errors.Join(uring.Have(uring.ZCRX), uring.Have(uring.ZCRXNoDevice))
}

func noDeviceVariant(name string, z ZCRXOptions) variant {
	z.NoDevice = true
	return variant{name: name, o: Options{Backend: BackendZCRX, ZCRX: z}, mapped: true, copies: true}
}

func fakeVariant(name string, z ZCRXOptions, k uringtest.Options) variant {
	return variant{name: name, o: Options{Backend: BackendZCRX, ZCRX: z}, copies: z.NoDevice, fake: &k}
}

// play makes the kernel of a fake variant, which checks at the test's end that
// nothing was given back that should not have been.
func (w *world) play(o *Options) {
	open := uringtest.Opener(*w.fake)
	o.ZCRX.Ring = func(entries uint32, p uring.Params) (uring.Instance, error) {
		i, err := open(entries, p)
		if err == nil {
			w.kernels = append(w.kernels, i.(*uringtest.Kernel))
		}
		return i, err
	}
	w.Cleanup(func() {
		for _, k := range w.kernels {
			if c := k.Counts(); c.Bogus != 0 {
				w.Errorf("%d wrong entries of the refill ring: %+v", c.Bogus, c)
			}
		}
	})
}

// asleep reports whether nothing is to be done.
func (w *world) asleep() bool {
	for _, l := range w.loops {
		if !l.asleep.Load() {
			return false
		}
	}
	return true
}

// inLab reports whether the tests run in the lab's virtual machine, whose kernel
// can do all of zcrx.
func inLab() bool { return os.Getenv("ZCTAP_LAB") == "1" }

// isZCRX reports whether w runs on the zcrx backend.
func (w *world) isZCRX() bool { return w.o.Backend == BackendZCRX }

// received is the bytes that came in.
func (w *world) received() uint64 {
	s := w.stats()
	return s.CopiedBytes + s.ZeroCopyBytes
}

// share is how much of the area a single connection gets that keeps what it
// receives. The second bound is wide: what is on its way is known in bytes, not
// in buffers.
func (w *world) share(maxHeld int) (least, most int) {
	lent := w.pool.Lent()
	n := max((lent-max(lent/16, 1))/5, min(firstGrant, lent/16), 1)
	if maxHeld > 0 {
		n = min(n, maxHeld)
	}
	return max(n/2, 1), n + n/4 + firstGrant
}

// held is how many buffers c keeps, if it is the only stream that keeps some.
func (w *world) held(c engine.Conn) int {
	return c.(*conn).account.Held() + w.pool.Lent() - w.pool.FreeLent()
}
