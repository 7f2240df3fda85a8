//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// modeEnv is the mode that roleAttach attaches in.
const modeEnv = "ZCTAP_STEER_TEST_MODE"

// roleAttach attaches to veth0 with a listener and a socket, prints the ids of
// program and maps, and waits to be killed.
func roleAttach() error {
	mode, err := strconv.Atoi(os.Getenv(modeEnv))
	if err != nil {
		return err
	}
	ifi, err := net.InterfaceByName("veth0")
	if err != nil {
		return err
	}
	p, err := Load(Options{})
	if err != nil {
		return err
	}
	if _, err := p.Attach(ifi.Index, Mode(mode)); err != nil {
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
	if err := errors.Join(p.SetSocket(0, x.fd), p.AddListener(UDP, claim.Addr())); err != nil {
		return err
	}
	info, err := p.prog.Info()
	if err != nil {
		return err
	}
	id, _ := info.ID()
	line := fmt.Sprint(id)
	for _, m := range []*ebpf.Map{p.sockets, p.listeners, p.flows, p.counters} {
		info, err := m.Info()
		if err != nil {
			return err
		}
		id, _ := info.ID()
		line += fmt.Sprint(" ", id)
	}
	return waitAfter(line)
}

// TestNSKill: a process that is killed, at once or while frames come in, leaves no
// program, no map, no claim, and an interface that works.
func TestNSKill(t *testing.T) {
	inModes(t, func(t *testing.T, mode Mode) {
		w := newWire(t, 0)
		from := udp(t, w.peer, netip.AddrPort{})
		for round := range 10 {
			cmd := role("attach", modeEnv+"="+itoa(int(mode)))
			ids := strings.Fields(startRole(t, w.ours, cmd)())
			if len(ids) != 5 {
				t.Fatalf("the process says %q", ids)
			}
			if got := w.attached(t); got.mode != mode || itoa(int(got.program)) != ids[0] {
				t.Fatalf("attached: %+v, want program %s", got, ids[0])
			}
			for range round * 20 {
				sendTo(t, from, port(our4, 7000), []byte("on the way"))
			}
			must(t, cmd.Process.Kill())
			cmd.Wait()
			eventually(t, "the program detached", func() bool { return w.attached(t) == attachment{} })
			eventually(t, "program and maps gone", func() bool { return !anyExists(t, ids) })
			w.ping(t, our4)
			kernel := udp(t, w.ours, port(our4, 7000)) // its claim is gone
			sendTo(t, from, port(our4, 7000), []byte("afterwards"))
			if got := receiveFrom(t, kernel); string(got) != "afterwards" {
				t.Errorf("the kernel's socket received %q", got)
			}
			kernel.Close()
		}
	})
}

// anyExists reports whether the program (first) or a map of these ids is there.
func anyExists(t testing.TB, ids []string) bool {
	t.Helper()
	for i, s := range ids {
		id, err := strconv.Atoi(s)
		must(t, err)
		if i == 0 {
			if p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id)); err == nil {
				p.Close()
				return true
			}
			continue
		}
		if m, err := ebpf.NewMapFromID(ebpf.MapID(id)); err == nil {
			m.Close()
			return true
		}
	}
	return false
}
