package bundle

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// kernelLists are stanzas as apt-cache prints them, of an archive as it is: the
// newest kernel in several packages, an older one in one, one of the stable
// release, one that a package is missing of, and one that is newer than the
// newest and not released yet.
const kernelLists = `Package: linux-image-cloud-amd64
Version: 7.3.4-1~bpo13+1
Depends: linux-base-cloud-amd64 (= 7.3.4-1~bpo13+1), linux-image-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), linux-modules-cloud-amd64

Package: linux-image-cloud-amd64
Version: 6.12.107-1
Depends: linux-image-6.12.107+deb13-cloud-amd64 (= 6.12.107-1)

Package: linux-image-7.3.4+deb13-cloud-amd64
Depends: dracut | initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool, linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1)
Description: Linux 7.3 for x86-64 cloud
 Depends: linux-nothing-7.3.4+deb13-cloud-amd64

Package: linux-binary-7.3.4+deb13-cloud-amd64
Depends: linux-modules-7.3.4+deb13-cloud-amd64

Package: linux-modules-7.3.4+deb13-cloud-amd64
Depends: kmod, linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1)

Package: linux-base-7.3.4+deb13-cloud-amd64

Package: linux-image-6.16.3+deb13-cloud-amd64
Depends: kmod, linux-base (>= 4.3~), initramfs-tools

Package: linux-image-6.16.12+deb13-cloud-amd64
Depends: kmod

Package: linux-image-6.12.107+deb13-cloud-amd64
Depends: kmod

Package: linux-image-7.1.7+deb13-cloud-amd64
Depends: linux-binary-7.1.7+deb13-cloud-amd64

Package: linux-binary-7.1.7+deb13-cloud-amd64
Depends: linux-modules-7.1.7+deb13-cloud-amd64

Package: linux-image-7.4.0+deb13-cloud-amd64
`

func TestResolveKernel(t *testing.T) {
	const end = "+deb13-cloud-amd64"
	tests := []struct {
		asked, want string
		newest      bool
		packages    int
	}{
		{"", "7.3.4", true, 4},
		{"7", "7.4.0", false, 1},
		{"7.3", "7.3.4", true, 4},
		{"7.3.4", "7.3.4", true, 4},
		{"7.3.4+deb13", "7.3.4", true, 4},
		{"7.3.4+deb13-cloud-amd64", "7.3.4", true, 4},
		{"6", "6.16.12", false, 1},
		{"6.16", "6.16.12", false, 1},
		{"6.16.", "6.16.12", false, 1},
		{"6.16.3", "6.16.3", false, 1},
		{"6.12", "6.12.107", false, 1}, // that of the stable release, not of the backports
	}
	for _, test := range tests {
		t.Run("asked "+test.asked, func(t *testing.T) {
			k, err := resolveKernel(parseStanzas(kernelLists), test.asked)
			if err != nil {
				t.Fatal(err)
			}
			if k.release != test.want+end || len(k.packages) != test.packages {
				t.Errorf("got %+v", k)
			}
			for _, p := range k.packages {
				if !strings.HasPrefix(p, "linux-") || !strings.HasSuffix(p, "-"+k.release) {
					t.Errorf("package %s", p)
				}
			}
			if k.newest != test.newest {
				t.Errorf("newest: %v", k.newest)
			}
		})
	}
}

func TestResolveKernelFails(t *testing.T) {
	for _, asked := range []string{"5.10", "6.1", "7.1.7", "7.3.40", "x", "cloud", "../7.3.4"} {
		k, err := resolveKernel(parseStanzas(kernelLists), asked)
		if !errors.Is(err, ErrNoKernel) {
			t.Errorf("asked %s: %+v, %v", asked, k, err)
			continue
		}
		if want := "6.12.107+deb13-cloud-amd64, 6.16.3+deb13-cloud-amd64, 6.16.12+deb13-cloud-amd64, 7.3.4+deb13-cloud-amd64, 7.4.0+deb13-cloud-amd64"; !strings.HasSuffix(err.Error(), want) {
			t.Errorf("asked %s: error %q lists others than %s", asked, err, want)
		}
	}
	for _, lists := range []string{"", "Package: linux-image-cloud-amd64\nDepends: linux-image-7.3.4+deb13-cloud-amd64\n"} {
		if _, err := resolveKernel(parseStanzas(lists), ""); !errors.Is(err, ErrNoKernel) {
			t.Errorf("of the lists %q: %v", lists, err)
		}
	}
}

func TestDependencies(t *testing.T) {
	const field = "a, b (>= 1.0~), c:any | d [amd64], e(<< 2),\n f\n ,, |"
	if got, want := dependencies(field), []string{"a", "b", "c", "d", "e", "f"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"", "6", "6.1", "6.1.0", "6.1.2", "6.1.10", "6.9", "6.12.94+deb13", "6.12.107+deb13", "6.12.107+deb14", "7.0", "10"}
	for i, a := range ordered {
		for j, b := range ordered {
			got := compareVersions(a, b)
			if i < j && got >= 0 || i > j && got <= 0 || i == j && got != 0 {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
	if compareVersions("6.01", "6.1") != 0 || compareVersions("6.010", "6.1") <= 0 {
		t.Error("leading zeros count")
	}
}
