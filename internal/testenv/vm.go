package testenv

import (
	"os"
	"testing"
)

// VM is the environment variable that asks for the tests in virtual machines:
// set to "1" by `make lab`, which CI runs too.
const VM = "ZCTAP_VM"

// NeedVM skips a test that starts virtual machines unless that is asked for:
// such tests take minutes, and fetch a kernel first. The tier of CI that is
// about them asks for it; in the others they would run again.
func NeedVM(t testing.TB) {
	t.Helper()
	if os.Getenv(VM) != "1" {
		t.Skip("starts a virtual machine: run it by `make lab`")
	}
}
