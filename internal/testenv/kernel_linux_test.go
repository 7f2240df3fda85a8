package testenv

import "testing"

// TestKernelProbes runs each probe for real: none may fail to find an answer,
// and the machines of CI have all that is probed for.
func TestKernelProbes(t *testing.T) {
	ci := CI()
	t.Setenv(Env, "")
	probes := []struct {
		name  string
		probe func(testing.TB)
	}{
		{"TUN", NeedTUN},
		{"user namespaces", NeedUserNS},
		{"io_uring", NeedIOUring},
	}
	for _, p := range probes {
		t.Run(p.name, func(t *testing.T) {
			r := &recorder{TB: t}
			p.probe(r)
			if r.failed != "" {
				t.Errorf("no answer: %s", r.failed)
			}
			if r.skipped != "" && ci {
				t.Errorf("not on a machine of CI: %s", r.skipped)
			}
		})
	}
}
