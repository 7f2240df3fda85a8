package ifq

import (
	"errors"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// TestNSSameName: devices of the same name in two network namespaces are two devices.
func TestNSSameName(t *testing.T) {
	testenv.NeedRoot(t)
	unchanged(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var there *Queue
	in := func() (err error) {
		there, err = Register(&card{name: "eth0"}, &Args{Region: heap})
		return err
	}
	here := register(t, &card{name: "eth0"}, &Args{Region: heap})
	if err := ns.Do(in); err != nil {
		t.Fatal(err)
	}
	q := there
	if err := ns.Do(in); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("again in the other namespace: %v", err)
	}
	if _, err := Register(&card{name: "eth0"}, &Args{Region: heap}); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("again in the first: %v", err)
	}
	closeQueue(t, q) // from outside, as a queue may be
	closeQueue(t, here)
	if err := ns.Do(in); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	closeQueue(t, there)
}
