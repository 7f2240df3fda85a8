package shring

import (
	"errors"
	"fmt"
	_ "sync/atomic" // see interleave/atomic

	"github.com/zctap/zctap/internal/interleave/atomic"
)

// ErrCorrupt says that the peer's index has a value that no correct peer can have written.
// errors.Is finds it in what Err, NewProducer and NewConsumer return.
var ErrCorrupt = errors.New("shring: impossible peer index")

// Words are the shared words of one ring. They lie in memory that both sides have mapped; the mapping must
// outlive every Producer and Consumer made on them.
type Words struct {
	// Producer is the free-running index of the next entry to be published. Written by the producer alone.
	Producer *uint32

	// Consumer is the free-running index of the next entry to be read. Written by the consumer alone.
	Consumer *uint32

	// Flags is the ring's flag word, or nil if it has none. Written by the kernel alone.
	Flags *uint32

	// Size is the number of entries: a power of two, at most 1<<31.
	Size uint32
}

// check refuses words on which no ring can run.
func (w Words) check() error {
	switch {
	case w.Producer == nil || w.Consumer == nil:
		return errors.New("shring: a ring needs both its index words")
	case w.Producer == w.Consumer:
		return errors.New("shring: producer and consumer index are the same word")
	case w.Size == 0 || w.Size&(w.Size-1) != 0:
		return fmt.Errorf("shring: size %d is not a power of two", w.Size)
	}
	return nil
}

// load reads both indices and refuses a pair that no ring of this size can be in.
func (w Words) load() (producer, consumer uint32, err error) {
	if err := w.check(); err != nil {
		return 0, 0, err
	}
	producer = atomic.LoadUint32(w.Producer)
	consumer = atomic.LoadUint32(w.Consumer)
	if producer-consumer > w.Size {
		return 0, 0, &CorruptError{Seen: consumer, Low: producer - w.Size, High: producer}
	}
	return producer, consumer, nil
}

// CorruptError describes an index of the peer that was refused. It matches ErrCorrupt.
type CorruptError struct {
	// Seen is the value read from the shared word.
	Seen uint32
	// Low and High bound what the word could have held, both inclusive and modulo 2^32.
	Low, High uint32
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: read %d, possible were %d to %d", ErrCorrupt, e.Seen, e.Low, e.High)
}

// Is makes errors.Is(err, ErrCorrupt) hold.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// faults counts refused indices. The count may be read by any goroutine, the details by the ring's owner only.
type faults struct {
	count atomic.Uint64 // written by the owner of the cursor
	last  CorruptError
}

func (f *faults) refuse(seen, low, high uint32) {
	f.last = CorruptError{Seen: seen, Low: low, High: high}
	f.count.Add(1)
}

// Corruptions returns how many times an impossible index of the peer was read and ignored. Any goroutine may call
// it. A ring that is polled counts one at each poll while the peer's word stays wrong.
func (f *faults) Corruptions() uint64 { return f.count.Load() }

// Err returns the last refused index as a *CorruptError, or nil if there never was one. Only the goroutine that
// owns the cursor may call it.
func (f *faults) Err() error {
	if f.count.Load() == 0 {
		return nil
	}
	last := f.last
	return &last
}
