package zctap_test

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/buf"
)

// zcrxNoDevice is a Config of 64 buffers for engine ZCRX without a device.
func zcrxNoDevice(change func(*zctap.ZCRXConfig)) zctap.Config {
	z := &zctap.ZCRXConfig{NoDevice: true}
	change(z)
	return zctap.Config{Engine: zctap.ZCRX, Buffers: 64, ZCRX: z}
}

// A wrong Config is refused with the reason, and leaves nothing behind.
func TestOpenRefuses(t *testing.T) {
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 64*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	readOnly, err := unix.Mmap(-1, 0, 64*page, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(readOnly)
	tun := &zctap.TUN{Name: "zctap-with-a-long-name", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}
	for _, c := range []struct {
		name   string
		config zctap.Config
		is     error
		says   string
	}{
		{"an unknown engine", zctap.Config{Engine: "warp"}, syscall.EINVAL, "auto and zcrx, user, copy"},
		{"an unknown congestion control", zctap.Config{Engine: zctap.Copy, Congestion: "vegas"}, syscall.EINVAL, "cubic and reno"},
		{"zcrx by name", zctap.Config{Engine: zctap.ZCRX}, zctap.ErrNotSupported, "engine zcrx: not supported: no interface is named"},
		{"zcrx on a device without queues", zctap.Config{Engine: zctap.ZCRX, Interface: "lo"}, zctap.ErrNotSupported, "zctap: open lo: engine zcrx: ifq: lo: nic: lo: "},
		{"zcrx on a queue of it", zctap.Config{Engine: zctap.ZCRX, Interface: "lo", RxQueue: 3}, zctap.ErrNotSupported, "zctap: open lo/3: engine zcrx: ifq: lo queue 3: nic: lo: "},
		{"a DMA buffer that is not mapped", zctap.Config{Engine: zctap.ZCRX, Interface: "lo", ZCRX: &zctap.ZCRXConfig{DMABuf: 3}},
			syscall.EINVAL, "needs Config.Memory"},
		{"a DMA buffer without a device", zctap.Config{Engine: zctap.ZCRX, Memory: mem, ZCRX: &zctap.ZCRXConfig{DMABuf: 3, NoDevice: true}},
			syscall.EINVAL, "NoDevice exclude each other"},
		{"buffers of the NIC's of an odd size", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.DeviceBufferSize = 5000 }), syscall.EINVAL, "buffers of 5000 bytes"},
		{"areas that are more than buffers", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.Areas = 1000 }), syscall.EINVAL, "1000 areas"},
		{"a reserve of all", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.Reserve = 64 }), syscall.EINVAL, "none for the NIC"},
		{"user without a device", zctap.Config{Engine: zctap.User}, zctap.ErrNotSupported, "Config.TUN"},
		{"user on a NIC", zctap.Config{Engine: zctap.User, Interface: "eth9"}, syscall.ENODEV, "eth9"},
		{"a TUN without addresses", zctap.Config{Engine: zctap.User, TUN: &zctap.TUN{Name: "x"}}, syscall.EINVAL, "Addresses"},
		{"a TUN with a bad name", zctap.Config{Engine: zctap.User, TUN: tun}, nil, "zctap-with-a-long-name"},
		{"no device node", zctap.Config{Engine: zctap.User, TUN: &zctap.TUN{
			Name: "x", Device: "/nonexistent", Addresses: tun.Addresses}}, os.ErrNotExist, "/nonexistent"},
		{"another device node", zctap.Config{Engine: zctap.User, TUN: &zctap.TUN{
			Name: "x", Device: "/dev/null", Addresses: tun.Addresses}}, syscall.ENOTTY, "is not the kernel's TUN device"},
		{"too many buffers", zctap.Config{Engine: zctap.Copy, Buffers: 65537}, syscall.EINVAL, "65536"},
		{"a negative number of buffers", zctap.Config{Engine: zctap.Copy, Buffers: -1}, syscall.EINVAL, "Config.Buffers -1"},
		{"an odd buffer size", zctap.Config{Engine: zctap.Copy, BufferSize: 5000}, syscall.EINVAL, "5000"},
		{"memory that is not aligned", zctap.Config{Engine: zctap.Copy, Memory: mem[1 : 1+32*page]}, syscall.EINVAL, "aligned"},
		{"memory of half a buffer", zctap.Config{Engine: zctap.Copy, Memory: mem[:page+page/2]}, syscall.EINVAL, "whole number"},
		{"memory that can't be written", zctap.Config{Engine: zctap.Copy, Memory: readOnly}, syscall.EFAULT, "writable"},
		{"a negative queue", zctap.Config{Engine: zctap.Copy, RxQueue: -1}, syscall.EINVAL, "RxQueue -1"},
		{"negative memory to send from", zctap.Config{Engine: zctap.Copy, SendMemory: -1}, syscall.EINVAL, "SendMemory -1"},
		{"queue out of range", zctap.Config{Engine: zctap.Copy, RxQueue: 1 << 16}, syscall.EINVAL, "65535"},
		{"no memory", zctap.Config{Engine: zctap.Copy, Memory: []byte{}}, syscall.EINVAL, "room for 0 buffers"},
		{"other buffers than the memory's", zctap.Config{Engine: zctap.Copy, Memory: mem, Buffers: 5}, syscall.EINVAL, "leave Buffers 0"},
		{"a negative bound", zctap.Config{Engine: zctap.Copy, MaxHeld: -1}, syscall.EINVAL, "MaxHeld -1"},
		{"a negative time-out", zctap.Config{Engine: zctap.Copy, CloseTimeout: -1}, syscall.EINVAL, "CloseTimeout -1ns"},
		{"two devices", zctap.Config{Engine: zctap.User, Interface: "lo", TUN: &zctap.TUN{Name: "x", Addresses: tun.Addresses}}, syscall.EINVAL, "exclude each other"},
		{"a negative MTU", zctap.Config{Engine: zctap.User, TUN: &zctap.TUN{Name: "x", Addresses: tun.Addresses, MTU: -1}}, syscall.EINVAL, "MTU -1"},
		{"an address that is none", zctap.Config{Engine: zctap.User, TUN: &zctap.TUN{Name: "x", Addresses: make([]netip.Prefix, 1)}}, syscall.EINVAL, "10.88.0.2/24"},
		{"an unknown mode", zctap.Config{Engine: zctap.User, Interface: "lo", XDP: &zctap.XDPConfig{Mode: "native"}}, syscall.EINVAL, `Config.XDP.Mode "native"`},
		{"a queue twice", zctap.Config{Engine: zctap.User, Interface: "lo", XDP: &zctap.XDPConfig{Queues: []int{1, 1}}}, syscall.EINVAL, "queue 1 is listed twice"},
		{"too many rings", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.Rings = 33 }), syscall.EINVAL, "Rings 33"},
		{"a negative reserve", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.Reserve = -1 }), syscall.EINVAL, "Reserve -1"},
		{"negative buffers of the NIC's", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.DeviceBufferSize = -1 }), syscall.EINVAL, "DeviceBufferSize -1"},
		{"a negative number of areas", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.Areas = -1 }), syscall.EINVAL, "Areas -1"},
		{"a negative descriptor", zcrxNoDevice(func(z *zctap.ZCRXConfig) { z.DMABuf = -1 }), syscall.EINVAL, "DMABuf -1"},
	} {
		regions := buf.LiveRegions()
		q, err := zctap.Open(c.config)
		if err == nil {
			q.Close()
			t.Errorf("%s: opened", c.name)
			continue
		}
		var oe *zctap.OpError
		if !errors.As(err, &oe) || oe.Op != "open" || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := buf.LiveRegions(); n != regions {
			t.Errorf("%s: %d regions left", c.name, n-regions)
		}
	}
	// What was refused can be used still.
	q, err := zctap.Open(zctap.Config{Engine: zctap.Copy, Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	if &q.Region()[0] != &mem[0] || len(q.Region()) != len(mem) {
		t.Error("the region is not the caller's memory")
	}
	if _, err := zctap.Open(zctap.Config{Engine: zctap.Copy, Memory: mem}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("memory of another queue: %v, want EEXIST", err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// Auto falls back, and says why for each engine that it passed over, in order.
func TestAutoSaysWhy(t *testing.T) {
	q, err := zctap.Open(zctap.Config{Buffers: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var passed []string
	for _, r := range q.Why() {
		passed = append(passed, r.Engine)
		if r.Err == nil || !strings.HasPrefix(r.String(), r.Engine+": ") {
			t.Errorf("no reason against %s: %v", r.Engine, r)
		}
	}
	if q.Engine() != zctap.Copy || !slices.Equal(passed, []string{zctap.ZCRX, zctap.User}) {
		t.Errorf("engine %s, passed over %v", q.Engine(), passed)
	}
}

// TestAutoRefuses: to Auto a wrong Config is a mistake, and no obstacle that it could fall
// back from.
func TestAutoRefuses(t *testing.T) {
	for _, c := range []zctap.Config{
		{Buffers: -1},
		{BufferSize: 5000},
		{Memory: make([]byte, 100)},
		{MaxHeld: -1},
		{TUN: &zctap.TUN{}},
		{XDP: &zctap.XDPConfig{Mode: "native"}},
		{ZCRX: &zctap.ZCRXConfig{Rings: 99}},
		{ZCRX: &zctap.ZCRXConfig{DMABuf: 5}},
		{ZCRX: &zctap.ZCRXConfig{NoDevice: true}, Interface: "lo"},
	} {
		q, err := zctap.Open(c)
		if err == nil {
			t.Errorf("%+v: opened %s", c, q.Engine())
			q.Close()
			continue
		}
		if !errors.Is(err, syscall.EINVAL) || errors.Is(err, zctap.ErrNotSupported) || !strings.HasPrefix(strings.Replace(err.Error(), "open lo:", "open:", 1), "zctap: open: Config.") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestPairNames: which device the configs of OpenPair name, and by which engine, does not matter.
func TestPairNames(t *testing.T) {
	c := zctap.Config{Engine: zctap.ZCRX, Interface: "zctap-none", TUN: &zctap.TUN{}, ZCRX: &zctap.ZCRXConfig{NoDevice: true}, Buffers: 64}
	a, b, err := zctap.OpenPair(c, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// TestAutoNoInterface: where there is no such interface Auto does not listen on all the others
// instead, by engine Copy.
func TestAutoNoInterface(t *testing.T) {
	q, err := zctap.Open(zctap.Config{Interface: "zctap-none", Buffers: 1024})
	if err == nil {
		q.Close()
		t.Fatalf("opened %s", q.Engine())
	}
	wantError(t, "Open", err, syscall.ENODEV, "open zctap-none: ", "no interface zctap-none", "ip link")
}

// Releases of one queue's iovs on a closed one, and the region's end with them,
// are in the conformance suite; here only that Close is once.
func TestCloseTwice(t *testing.T) {
	q, err := zctap.Open(zctap.Config{Engine: zctap.Copy, Buffers: 64})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err == nil {
		t.Error("second Close succeeded")
	}
	if _, err := q.Listen("tcp", ":0"); err == nil {
		t.Error("Listen on a closed queue")
	}
	if _, err := q.Dial("tcp", "127.0.0.1:1"); err == nil {
		t.Error("Dial on a closed queue")
	}
}
