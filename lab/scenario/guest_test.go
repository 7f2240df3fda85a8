//go:build linux

package scenario

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/lab"
	"github.com/zctap/zctap/lab/gvnic"
)

const module = "github.com/zctap/zctap/"

// TestLabPackages runs tests of packages that need a newer kernel than the
// host's, or a NIC, in a guest: those named TestLab..., of which none may skip.
func TestLabPackages(t *testing.T) {
	for _, p := range []struct {
		pkg string
		env []string
		nic bool
	}{
		{pkg: "internal/uring"},
		{pkg: "internal/uring/uringtest"},
		{pkg: "internal/nic", nic: true, env: []string{"ZCTAP_LAB_NIC=eth0"}},
		{pkg: "internal/engine/kernel"},
		{pkg: "", nic: true, env: []string{"ZCTAP_LAB_NIC=eth0", "ZCTAP_LAB_PEER=" + senderNetns}},
	} {
		t.Run("zctap/"+p.pkg, func(t *testing.T) {
			r := newRig(t, gvnic.Config{})
			program, err := lab.BuildTest(t.Context(), t.TempDir(), strings.TrimSuffix(module+p.pkg, "/"))
			if err != nil {
				t.Fatal(err)
			}
			inside := "/usr/local/bin/" + filepath.Base(program)
			r.machine.Files = append(r.machine.Files, lab.File{Path: inside, Source: program, Program: true})
			job := r.job
			if !p.nic {
				r.machine.Devices, r.machine.Modules, job.Interfaces = nil, nil, nil
			}
			r.machine.Modules = append(r.machine.Modules, "tun", "veth")
			r.machine.Cmdline = append(r.machine.Cmdline, "hugepages=16")
			job.Timeout = 6 * time.Minute
			job.Steps = []lab.Step{{
				Args: []string{inside, "-test.v", "-test.run", "^TestLab", "-test.timeout", "5m"},
				Env:  append(p.env, "ZCTAP_LAB=1"),
			}}
			res, err := lab.Run(t.Context(), r.machine, job)
			if err != nil {
				if res != nil {
					t.Logf("%s", res.Steps[0].Stdout)
				}
				t.Fatal(err)
			}
			out := string(res.Steps[0].Stdout)
			passed, skipped := strings.Count(out, "\n--- PASS"), strings.Count(out, "--- SKIP")
			if passed == 0 || skipped > 0 {
				t.Errorf("%d tests passed and %d were skipped\n%s", passed, skipped, out)
			}
			t.Logf("%d tests passed on Linux %s", passed, res.Release)
		})
	}
}
