//go:build linux

package bundle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// A fakeApt stands for the machine's package tools: scripts in a folder that is
// the whole PATH. The mirror that they pretend to fetch from has one kernel, and
// a package of tools that are scripts, too.
type fakeApt struct {
	t   testing.TB
	dir string // holds bin, debs, and files that the scripts read and write
}

// fakeRelease is the release of the fake mirror's kernel.
const fakeRelease = "7.3.4+deb13-cloud-amd64"

// fakeQEMU is what the fake loader says, whatever it is to load.
const fakeQEMU = "#!/bin/sh\necho 'name \"vfio-user-pci\", bus PCI'\n"

// newFakeApt makes the fake and sets PATH for the rest of the test.
func newFakeApt(t testing.TB) *fakeApt {
	t.Helper()
	f := &fakeApt{t: t, dir: t.TempDir()}
	dpkg := testenv.NeedCommand(t, "dpkg-deb")
	f.write("lists", kernelLists)
	// Each script can be made to do something else first: see f.write.
	const begin = "#!/bin/sh\nexport PATH=/usr/bin:/bin\nD=%s\ncommand=%s\n" +
		"for a; do case $a in Dir::Cache=*) cache=${a#*=};; update|install|pkgnames|show) command=$a;; esac; done\n" +
		"echo $command >> $D/log\n[ -e $D/$command.sh ] && . $D/$command.sh\n"
	scripts := map[string]string{
		"apt-get":   "if [ $command = install ]; then cp $D/debs/*.deb $cache/archives/partial/; mv $cache/archives/partial/*.deb $cache/archives/; fi\n",
		"apt-cache": "if [ $command = pkgnames ]; then sed -n 's/^Package: //p' $D/lists; else cat $D/lists; fi\n",
		"dpkg-deb":  "exec " + dpkg + " \"$@\"\n",
	}
	for name, script := range scripts {
		f.write("bin/"+name, fmt.Sprintf(begin, f.dir, name)+script)
	}
	f.packKernel("vmlinuz")
	f.packTools(fakeQEMU)
	t.Setenv("PATH", filepath.Join(f.dir, "bin"))
	t.Setenv(MirrorEnv, "http://mirror.invalid/debian")
	t.Setenv(KeyringEnv, "")
	return f
}

// write writes a file of the fake's. One called update.sh, install.sh,
// pkgnames.sh, show.sh or dpkg-deb.sh is run by that command first.
func (f *fakeApt) write(name, text string) {
	f.t.Helper()
	file := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		f.t.Fatal(err)
	}
}

// log returns which commands have run.
func (f *fakeApt) log() string {
	text, _ := os.ReadFile(filepath.Join(f.dir, "log"))
	return strings.Join(strings.Fields(string(text)), " ")
}

// packKernel makes the packages of the kernel, one of which has a file called
// name beside the modules.
func (f *fakeApt) packKernel(name string) {
	f.t.Helper()
	for _, p := range []string{"linux-image-", "linux-binary-", "linux-modules-", "linux-base-"} {
		files := map[string]string{}
		if p == "linux-binary-" {
			files["usr/lib/modules/"+fakeRelease+"/"+name] = "kernel"
		}
		f.pack(p+fakeRelease, files)
	}
}

// packTools makes the packages of tools: qemu-system-x86 has all the programs,
// each a script, as is the loader.
func (f *fakeApt) packTools(loaderScript string) {
	f.t.Helper()
	for _, p := range toolPackages {
		files := map[string]string{}
		if p == toolPackages[0] {
			files[loader] = loaderScript
			for _, program := range programs {
				files["usr/bin/"+program] = "#!/bin/sh\n"
			}
		}
		f.pack(p, files)
	}
}

// packed is the packages that were made, by what is in them: all tests have nearly the same.
var packed = map[string][]byte{}

// pack makes a package.
func (f *fakeApt) pack(name string, files map[string]string) {
	f.t.Helper()
	key := fmt.Sprintf("%s %q", name, files)
	if packed[key] == nil {
		packed[key] = f.build(name, files)
	}
	f.write("debs/"+name+"_1%3a2_amd64.deb", string(packed[key]))
}

// build returns the package.
func (f *fakeApt) build(name string, files map[string]string) []byte {
	f.t.Helper()
	files["DEBIAN/control"] = "Package: " + name + "\nVersion: 1:2\nArchitecture: amd64\nMaintainer: x <x@x>\nDescription: x\n"
	tree := writeFiles(f.t, files)
	for file := range files {
		if !strings.HasPrefix(file, "DEBIAN/") {
			if err := os.Chmod(filepath.Join(tree, file), 0o755); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	deb := filepath.Join(f.t.TempDir(), "deb")
	cmd := exec.Command("/usr/bin/env", "PATH=/usr/bin:/bin", "dpkg-deb", "-Znone", "--build", tree, deb)
	if said, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("dpkg-deb: %v: %s", err, said)
	}
	text, err := os.ReadFile(deb)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}
