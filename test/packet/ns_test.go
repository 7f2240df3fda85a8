//go:build linux

package packet

import (
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// TestNSScripts runs all scripts against the kernel, also those that our stack is
// known to fail: it finds scripts that are wrong.
func TestNSScripts(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	scripts := append(load(t, "scripts"), load(t, "known")...)
	runAll(t, scripts, NewLinux, report)
}

// TestNSWrong: a script that is wrong fails against the kernel, too.
func TestNSWrong(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	for name, text := range map[string]string{
		"number":   handshake + "send c 10 -> 10\n> P. 2:12(10) ack 1",
		"too much": handshake + "send c 10 -> 10",
		"missing":  handshake + "> . 1:1(0) ack 1",
		"early":    handshake + "send c 10 -> 10\n> P. 1:11(10) ack 1\n+500ms > P. 1:11(10) ack 1",
		"result":   handshake + "recv c 10 -> EOF",
	} {
		s, err := Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		failure, _, err := runOn(s, 4, NewLinux)
		if failure == nil || err != nil {
			t.Errorf("%s: it passes (%v)", name, err)
		}
	}
}
