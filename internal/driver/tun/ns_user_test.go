//go:build linux

package tun

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// deviceEnv is the path of a TUN device file. Its presence makes this program
// the unprivileged process of TestNSUnprivileged.
const deviceEnv = "ZCTAP_TUN_TEST_DEVICE"

func TestMain(m *testing.M) {
	device := os.Getenv(deviceEnv)
	if device == "" {
		testenv.Main(m)
	}
	as := asUser
	if os.Geteuid() == 0 {
		as = asRootOfNamespace
	}
	if err := as(device); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestNSUnprivileged: an ordinary user is refused, and in a user namespace of
// their own is not, where the device file lets them.
func TestNSUnprivileged(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	testenv.NeedUserNS(t)
	dir := testenv.PublicDir(t) // of device files as udev makes them
	for name, mode := range map[string]uint32{"tun": 0o666, "closed": 0o600} {
		file := filepath.Join(dir, name)
		if err := unix.Mknod(file, unix.S_IFCHR|mode, int(unix.Mkdev(10, 200))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, os.FileMode(mode)); err != nil { // what the umask took
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), deviceEnv+"="+filepath.Join(dir, "tun"), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte("received hello")) {
		t.Errorf("the unprivileged process: %v\n%s", err, out)
	}
}

// asUser is what an ordinary user sees, who then starts this program as root of
// a user namespace.
func asUser(device string) error {
	for _, tt := range []struct {
		device, says string
		want         unix.Errno
	}{
		{device, "CAP_NET_ADMIN", unix.EPERM},
		{filepath.Join(filepath.Dir(device), "closed"), "chmod", unix.EACCES},
	} {
		d, err := Open(Config{Device: tt.device})
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			return fmt.Errorf("Open %s as an ordinary user: %v, %w; want %v that says %q", tt.device, d, err, tt.want, tt.says)
		}
	}
	cmd := netns.ReexecUser()
	cmd.Env = os.Environ()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := netns.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// asRootOfNamespace receives a datagram on a TUN interface and prints it.
func asRootOfNamespace(device string) error {
	r, err := buf.NewRegion(buf.RegionConfig{Buffers: 17})
	if err != nil {
		return err
	}
	d, err := Open(Config{Device: device, Pool: buf.NewPool(r)})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := netns.ConfigureLink(d.Name(), []netip.Prefix{netip.PrefixFrom(kernel4, 24)}, 0); err != nil {
		return err
	}
	conn, err := net.Dial("udp", netip.AddrPortFrom(ours4, 7).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	b := driver.NewBatch(1, 17)
	for limit := mono.Now().Add(patience); mono.Now().Before(limit); {
		if err := errors.Join(d.Wait(limit), d.Poll(0, b)); err != nil {
			return err
		}
		for i := range b.Frames {
			if got := contents(d.rx.pool, &b.Frames[i]); bytes.HasSuffix(got, []byte("hello")) {
				fmt.Printf("received %s", got[len(got)-5:])
				return nil
			}
		}
		put(d, b)
	}
	return errors.New("the datagram does not arrive")
}
