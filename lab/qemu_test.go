//go:build linux

package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/lab/vfiouser"
)

func TestArgs(t *testing.T) {
	args := func(m Machine, devices ...string) string {
		m, err := m.check()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(m.args(launch{"K", "I", devices, 2_000_000}), " ")
	}
	const cmdline = "-append console=ttyS0 loglevel=7 panic=-1 oops=panic no_timer_check tsc=reliable rcupdate.rcu_cpu_stall_timeout=120 sysctl.kernel.watchdog_thresh=60 zctap_lab=init"
	const clock = " tsc_early_khz=2000000"
	const rest = " -chardev stdio,id=console,signal=off -serial chardev:console -device virtio-serial-pci -chardev socket,id=port,fd=3 -device virtserialport,chardev=port,name=zctap.lab"
	const begin = "-no-user-config -nodefaults -display none -no-reboot "
	cases := []struct{ name, got, want string }{
		{"the zero value", args(Machine{}),
			begin + "-m 768M -smp 1 -machine q35 -cpu max -accel tcg -kernel K -initrd I " + cmdline + clock + rest},
		{"more of all", args(Machine{CPUs: 3, Memory: 1 << 30, Accel: "auto", Cmdline: []string{"hugepages=4", "quiet"}}),
			begin + "-m 1024M -smp 3 -machine q35 -cpu max -accel kvm -accel tcg -kernel K -initrd I " + cmdline + clock + " hugepages=4 quiet" + rest},
		{"devices", args(Machine{Accel: "kvm"}, "/S0", `/S"1`),
			begin + "-m 768M -smp 1 -object memory-backend-memfd,id=mem,size=768M,share=on -machine q35,memory-backend=mem -cpu max -accel kvm -kernel K -initrd I " + cmdline + clock + rest +
				` -device {"addr":"0x10","driver":"vfio-user-pci","id":"dev0","socket":{"path":"/S0","type":"unix"}}` +
				` -device {"addr":"0x11","driver":"vfio-user-pci","id":"dev1","socket":{"path":"/S\"1","type":"unix"}}`},
		{"deterministic", args(Machine{Deterministic: true}),
			begin + "-m 768M -smp 1 -icount shift=0,sleep=off -seed 1 -rtc base=2022-10-18T00:00:00,clock=vm -machine q35 -cpu max,-rdrand,-rdseed -accel tcg,thread=single -kernel K -initrd I " +
				cmdline + " nokaslr norandmaps" + strings.Replace(rest, "virtio-serial-pci", "virtio-serial-pci,ioeventfd=off", 1)},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, c.got, c.want)
		}
	}
}

func TestMachineCheck(t *testing.T) {
	for name, m := range map[string]Machine{
		"CPUs is -1":               {CPUs: -1},
		"CPUs is 65":               {CPUs: 65},
		"Memory is 1":              {Memory: 1},
		"Memory is":                {Memory: MinMemory + 1},
		"Accel":                    {Accel: "hax"},
		"BootTimeout":              {BootTimeout: -1},
		"Deterministic":            {Deterministic: true, CPUs: 2},
		"Devices are 9":            {Devices: make([]vfiouser.Device, maxDevices+1)},
		"Devices has a nil":        {Devices: make([]vfiouser.Device, 1)},
		`"x" is not an absolute`:   {Files: []File{{Path: "x"}}},
		`"/a/../b" is not`:         {Files: []File{{Path: "/a/../b"}}},
		"would be covered":         {Files: []File{{Path: "/tmp/x"}}},
		"a program without":        {Files: []File{{Path: "/x", Program: true}}},
		"has a source and data":    {Files: []File{{Path: "/x", Source: "y", Data: []byte{1}}}},
		"only permissions":         {Files: []File{{Path: "/x", Mode: fs.ModeSetuid}}},
		"characters that the kern": {Cmdline: []string{"a\nb"}},
	} {
		if _, err := m.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJobCheck(t *testing.T) {
	step := []string{"x"}
	for name, j := range map[string]Job{
		"Steps are 1001":       {Steps: make([]Step, maxSteps+1)},
		"negative":             {Timeout: -1},
		"no Args":              {Steps: []Step{{}}},
		"zero byte":            {Steps: []Step{{Args: []string{"a\x00"}}}},
		"in the background":    {Steps: []Step{{Args: step, Ready: "r"}}},
		"negative Timeout":     {Steps: []Step{{Args: step, Timeout: -1}}},
		"no name for":          {Steps: []Step{{Args: step, Netns: "../x"}}},
		`"out/*" is not`:       {Collect: []string{"out/*"}},
		`"/[" is not`:          {Collect: []string{"/["}},
		"address":              {Interfaces: []Interface{{MAC: "zz"}}},
		"negative Index":       {Interfaces: []Interface{{Index: -1}}},
		"more than 15 bytes":   {Interfaces: []Interface{{Name: "0123456789abcdef"}}},
		"destination is not":   {Interfaces: []Interface{{Routes: []Route{{}}}}},
		"Namespaces: \"a/b\"":  {Namespaces: []string{"a/b"}},
		"Namespaces: \"..\" i": {Interfaces: []Interface{{Netns: ".."}}},
	} {
		if _, _, err := j.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g, names, err := (&Job{
		Namespaces: []string{"a"}, Interfaces: []Interface{{Netns: "b"}},
		Steps: []Step{{Args: []string{"/bin/prog"}, Netns: "c"}, {Name: "named", Args: step, Dir: "/"}},
	}).check()
	if err != nil || !slices.Equal(names, []string{"prog", "named"}) || !slices.Equal(g.Namespaces, []string{"a", "b", "c"}) ||
		g.Steps[0].Dir != "/tmp" || g.Steps[1].Dir != "/" || g.MaxFiles != DefaultMaxFiles {
		t.Errorf("%+v, %v, %v", g, names, err)
	}
}

func TestTempDir(t *testing.T) {
	base := t.TempDir()
	mine, remove, err := makeTempDir(base)
	if err != nil {
		t.Fatal(err)
	}
	// Those of a process that was killed, early and late; and one that is not ours.
	old := time.Now().Add(-2 * staleAge)
	for _, dir := range []string{"zctap-lab-1", "zctap-lab-2", "zctap-lab"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "zctap-lab-2", lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(base, "zctap-lab-1"), filepath.Join(base, "zctap-lab-2"), mine} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	young := filepath.Join(base, "zctap-lab-3")
	if err := os.Mkdir(young, 0o700); err != nil {
		t.Fatal(err)
	}
	sweep(base)
	left, err := filepath.Glob(filepath.Join(base, "*"))
	if want := []string{filepath.Join(base, "zctap-lab"), young, mine}; err != nil || len(left) != len(want) || !slices.ContainsFunc(left, func(s string) bool { return s == mine }) {
		t.Errorf("%v is left, want %v; %v", left, want, err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mine); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the machine's own folder: %v", err)
	}
	dir, remove, err := makeTempDir("/" + strings.Repeat("long/", 30))
	if err != nil || len(dir) > maxSocketDir {
		t.Fatalf("%s, %v", dir, err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
}
