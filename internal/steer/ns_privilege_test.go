//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// lackEnv names the capability that a powerless process lacks.
const lackEnv = "ZCTAP_STEER_TEST_LACKS"

// capabilities are those that are needed for everything here.
var capabilities = map[string]uintptr{
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN,
	"CAP_NET_RAW":   unix.CAP_NET_RAW,
	"CAP_BPF":       unix.CAP_BPF,
}

// asNobody has a command run as an ordinary user with capabilities, but for one.
func asNobody(but string) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for name, c := range capabilities {
		if name != but {
			attr.AmbientCaps = append(attr.AmbientCaps, c)
		}
	}
	return attr
}

// TestNSUnprivileged: no root and no CAP_SYS_ADMIN or CAP_PERFMON is needed to load,
// attach, receive, count and claim.
func TestNSUnprivileged(t *testing.T) {
	inModes(t, func(t *testing.T, mode Mode) {
		w := newWire(t, 0)
		cmd := role("unprivileged", modeEnv+"="+itoa(int(mode)))
		cmd.SysProcAttr = asNobody("")
		say := startRole(t, w.ours, cmd)
		if line := say(); line != "ready" {
			t.Fatalf("the process says %q", line)
		}
		from := udp(t, w.peer, port(peer4, 9000))
		sendTo(t, from, port(our4, 7000), []byte("hello"))
		if line := say(); line != "received hello" {
			t.Errorf("the process says %q", line)
		}
		w.ping(t, our4)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process: %v", err)
		}
	})
}

// roleUnprivileged receives a datagram.
func roleUnprivileged() error {
	var mode Mode
	if _, err := fmt.Sscan(os.Getenv(modeEnv), (*uint8)(&mode)); err != nil {
		return err
	}
	if uid := os.Geteuid(); uid == 0 {
		return errors.New("this is root")
	}
	ifi, err := net.InterfaceByName("veth0")
	if err != nil {
		return err
	}
	p, err := Load(Options{})
	if err != nil {
		return err
	}
	l, err := p.Attach(ifi.Index, mode)
	if err != nil {
		return err
	}
	x, err := newXSK(ifi.Index, 0)
	if err != nil {
		return err
	}
	claim, err := Claim(UDP, port(our4, 7000))
	if err != nil {
		return err
	}
	if err := errors.Join(
		p.SetSocket(0, x.fd),
		p.SetPrefixes(hosts("10.1.1.1")),
		p.AddListener(UDP, claim.Addr()),
		p.AddFlow(TCP, port(our4, 7000), port(peer4, 7000)),
		p.RemoveFlow(TCP, port(our4, 7000), port(peer4, 7000)),
	); err != nil {
		return err
	}
	fmt.Println("ready")
	frame, err := x.receive(patience)
	if err != nil {
		return err
	}
	c, err := p.Counters()
	if err != nil {
		return err
	}
	if c[RedirectListener] != 1 {
		return fmt.Errorf("counters: %v", c)
	}
	fmt.Printf("received %s\n", frame[min(42, len(frame)):min(47, len(frame))])
	return errors.Join(l.Close(), p.Close(), claim.Close())
}

// TestNSPowerless: without one of the capabilities the error names it, and says how
// to get it.
func TestNSPowerless(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	w.attach(t, loaded(t, Options{}), Native) // for the conflict that roles come upon
	for _, lacks := range []string{"CAP_BPF", "CAP_NET_ADMIN", ""} {
		cmd := role("powerless", lackEnv+"="+lacks)
		cmd.SysProcAttr = asNobody(lacks)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := w.ours.Run(cmd); err != nil {
			t.Errorf("without %q: %v\n%s", lacks, err, out.String())
		}
	}
}

// rolePowerless looks at errors that only a process with few capabilities gets.
func rolePowerless() error {
	lacks := os.Getenv(lackEnv)
	p, err := Load(Options{})
	if lacks != "" {
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "missing "+lacks+":") || !strings.Contains(err.Error(), "setcap") {
			return fmt.Errorf("Load: %v, %w", p, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	ifi, err := net.InterfaceByName("veth0")
	if err != nil {
		return err
	}
	_, err = p.Attach(ifi.Index, Native)
	var conflict *ConflictError
	if !errors.As(err, &conflict) || conflict.ID == 0 || conflict.Mode != Native || conflict.Kind != KindLink || conflict.PID != 0 ||
		conflict.Name != "" || !strings.Contains(err.Error(), "its name can be seen with CAP_SYS_ADMIN") {
		return fmt.Errorf("Attach beside another program: %+v, %w", conflict, err)
	}
	return p.Close()
}
