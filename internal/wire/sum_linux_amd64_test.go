package wire

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// If vectors were not found, nothing but the time would tell.
func TestSumVectorsFound(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^flags\s*:.* avx2( |$)`).Match(info) &&
		!strings.Contains(os.Getenv("GODEBUG"), "cpu.avx2=off")
	if vectors != want {
		t.Errorf("vectors are used: %v, the kernel has them: %v", vectors, want)
	}
}
