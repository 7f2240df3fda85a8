package bundle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// cloud is how the releases of Debian's kernels end that are made for virtual
// machines: small, and with the drivers of the clouds' NICs.
const cloud = "cloud-amd64"

// kernelPackage is the package that always depends on the newest kernel.
const kernelPackage = "linux-image-" + cloud

// A kernel is one that the mirror has as a whole.
type kernel struct {
	release  string
	newest   bool
	packages []string // names
}

// isKernelPackage reports whether name is of a package that is, or tells of, a
// kernel for virtual machines.
func isKernelPackage(name string) bool {
	return strings.HasPrefix(name, "linux-") && strings.HasSuffix(name, "-"+cloud)
}

// resolveKernel chooses a kernel among those of lists, which are stanzas of
// package lists: the newest that fits what was asked for, see Open.
//
// How a kernel is cut into packages has changed over time: there is
// linux-image-RELEASE, which holds everything, or depends on packages of the
// same release (linux-binary-, linux-modules-, linux-base-) that do. An archive
// has kernels that some of them are missing of.
func resolveKernel(lists []stanza, asked string) (kernel, error) {
	depends := make(map[string][]string) // by package name
	for _, s := range lists {
		// Versions of the same package are taken together: a kernel's version
		// is in its packages' names.
		name := s["package"]
		depends[name] = append(depends[name], dependencies(s["depends"])...)
	}
	complete := make(map[string]kernel) // by release
	for name := range depends {
		release, ok := strings.CutPrefix(name, "linux-image-")
		if !ok || !strings.HasSuffix(release, "-"+cloud) {
			continue
		}
		if packages, ok := kernelPackages(depends, name, release); ok {
			complete[release] = kernel{release: release, packages: packages}
		}
	}
	newest := newestKernel(slices.Collect(maps.Keys(complete)), func(release string) bool {
		return slices.Contains(depends[kernelPackage], "linux-image-"+release)
	})
	chosen := newest
	if asked != "" {
		chosen = newestKernel(slices.Collect(maps.Keys(complete)), func(release string) bool {
			return matchesKernel(release, asked)
		})
	}
	k, ok := complete[chosen]
	if !ok {
		if asked == "" {
			asked = "of the package " + kernelPackage
		}
		releases := slices.SortedFunc(maps.Keys(complete), compareVersions)
		return kernel{}, fmt.Errorf("lab: kernel %s: %w: the mirror has %s", asked, ErrNoKernel, orNone(releases))
	}
	k.newest = chosen == newest
	return k, nil
}

// newestKernel returns the highest of the releases that fit; "" for none.
func newestKernel(releases []string, fits func(release string) bool) string {
	releases = slices.DeleteFunc(releases, func(r string) bool { return !fits(r) })
	if len(releases) == 0 {
		return ""
	}
	return slices.MaxFunc(releases, compareVersions)
}

// kernelPackages returns the package name and all those of the same release that
// it depends on, and whether none is missing.
func kernelPackages(depends map[string][]string, name, release string) ([]string, bool) {
	found := []string{name}
	for i := 0; i < len(found); i++ { // found grows
		for _, d := range depends[found[i]] {
			if !strings.HasPrefix(d, "linux-") || !strings.HasSuffix(d, "-"+release) || slices.Contains(found, d) {
				continue
			}
			if _, ok := depends[d]; !ok {
				return nil, false
			}
			found = append(found, d)
		}
	}
	slices.Sort(found)
	return found, true
}

// dependencies returns the names in a field of the form
// "a (>= 1), b | c, d:any".
func dependencies(field string) []string {
	var names []string
	for d := range strings.FieldsFuncSeq(field, func(r rune) bool { return r == ',' || r == '|' }) {
		d = strings.TrimSpace(d)
		if i := strings.IndexAny(d, " \t\n(:["); i >= 0 {
			d = d[:i]
		}
		if d != "" {
			names = append(names, d)
		}
	}
	return names
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
