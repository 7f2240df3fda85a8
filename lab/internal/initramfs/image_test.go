package initramfs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// list returns what is in an image, a line for each entry.
func list(t testing.TB, im *Image) []string {
	t.Helper()
	var b bytes.Buffer
	n, err := im.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Errorf("WriteTo returns %d for %d bytes", n, b.Len())
	}
	records, err := readArchive(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range records {
		if r.UID != 0 || r.GID != 0 || r.MTime != 0 {
			t.Errorf("%s: of %d:%d, changed at %d", r.Name, r.UID, r.GID, r.MTime)
		}
		lines = append(lines, fmt.Sprintf("%s %o %d:%d %q", r.Name, r.Mode, r.Major, r.Minor, r.Content))
	}
	return lines
}

func expect(t testing.TB, im *Image, want ...string) {
	t.Helper()
	got, wanted := strings.Join(list(t, im), "\n"), strings.Join(want, "\n")
	if got != wanted {
		t.Errorf("the image has\n%s\nwant\n%s", got, wanted)
	}
}

// must ends the test with the first of errs.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("from a file"), 0o600))
	var im Image
	must(t,
		im.WriteFile("/init", []byte("run"), 0o755),
		im.Device("dev/console", ModeChar|0o600, 5, 1),
		im.Mkdir("/tmp/", 0o777),
		im.AddFile("//etc/./x/../file", file, 0o640),
		im.Symlink("/init", "sbin/init"),
		im.Mkdir("/", 0o755),
	)
	expect(t, &im,
		`dev 40755 0:0 ""`,
		`dev/console 20600 5:1 ""`,
		`etc 40755 0:0 ""`,
		`etc/file 100640 0:0 "from a file"`,
		`init 100755 0:0 "run"`,
		`sbin 40755 0:0 ""`,
		`sbin/init 120777 0:0 "/init"`,
		`tmp 40777 0:0 ""`,
	)
}

func TestImageEmpty(t *testing.T) { expect(t, new(Image)) }

func TestImageFollowsLinks(t *testing.T) {
	var im Image
	must(t,
		im.Symlink("usr/lib", "lib"),
		im.Symlink("/usr/lib", "lib64"),
		im.Symlink("../../lib64/./deep", "usr/share/link"),
		im.WriteFile("lib/a", nil, 0o644),
		im.WriteFile("lib64/b", nil, 0o644),
		im.WriteFile("usr/share/link/c", nil, 0o644),
		im.WriteFile("usr/lib/a", nil, 0o644), // the same again
	)
	expect(t, &im,
		`lib 120777 0:0 "usr/lib"`,
		`lib64 120777 0:0 "/usr/lib"`,
		`usr 40755 0:0 ""`,
		`usr/lib 40755 0:0 ""`,
		`usr/lib/a 100644 0:0 ""`,
		`usr/lib/b 100644 0:0 ""`,
		`usr/lib/deep 40755 0:0 ""`,
		`usr/lib/deep/c 100644 0:0 ""`,
		`usr/share 40755 0:0 ""`,
		`usr/share/link 120777 0:0 "../../lib64/./deep"`,
	)
}

func TestImageRefuses(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	must(t, os.WriteFile(large, nil, 0o600), os.Truncate(large, 1<<32))
	tests := []struct {
		name string
		add  func(im *Image) error
		want error
	}{
		{"another content", func(im *Image) error { return im.WriteFile("file", []byte("other"), 0o644) }, ErrExists},
		{"another mode", func(im *Image) error { return im.WriteFile("file", []byte("content"), 0o755) }, ErrExists},
		{"another type", func(im *Image) error { return im.Mkdir("file", 0o755) }, ErrExists},
		{"a file for a folder", func(im *Image) error { return im.WriteFile("folder", nil, 0o644) }, ErrExists},
		{"below a file", func(im *Image) error { return im.WriteFile("file/below", nil, 0o644) }, ErrExists},
		{"a ring of links", func(im *Image) error { return im.WriteFile("ring/file", nil, 0o644) }, nil},
		{"the root", func(im *Image) error { return im.WriteFile("/", nil, 0o644) }, ErrName},
		{"the end", func(im *Image) error { return im.WriteFile("TRAILER!!!", nil, 0o644) }, ErrName},
		{"a zero byte", func(im *Image) error { return im.Mkdir("a\x00b/c", 0o755) }, ErrName},
		{"a long name", func(im *Image) error { return im.Mkdir(strings.Repeat("name/", 1000), 0o755) }, ErrName},
		{"no target", func(im *Image) error { return im.Symlink("", "l") }, ErrName},
		{"a file as a device", func(im *Image) error { return im.Device("d", ModeRegular, 1, 3) }, fs.ErrInvalid},
		{"no file", func(im *Image) error { return im.AddFile("f", filepath.Join(dir, "none"), 0o644) }, fs.ErrNotExist},
		{"a folder as a file", func(im *Image) error { return im.AddFile("f", dir, 0o644) }, fs.ErrInvalid},
		{"4 GiB", func(im *Image) error { return im.AddFile("f", large, 0o644) }, ErrTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var im Image
			must(t, im.WriteFile("file", []byte("content"), 0o644), im.Mkdir("folder", 0o700), im.Symlink("ring", "ring"))
			before := list(t, &im)
			err := test.add(&im)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			expect(t, &im, before...)
		})
	}
}

// TestImageFileChanges has a file change between AddFile and WriteTo.
func TestImageFileChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("first"), 0o600))
	var im Image
	must(t, im.AddFile("f", file, 0o644), os.WriteFile(file, []byte("second"), 0o600))
	expect(t, &im, `f 100644 0:0 "second"`)

	must(t, os.Truncate(file, 1<<32))
	if _, err := im.WriteTo(io.Discard); !errors.Is(err, ErrTooLarge) {
		t.Errorf("grown to 4 GiB: %v", err)
	}
	must(t, os.Remove(file))
	if _, err := im.WriteTo(io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}

// TestImageReproducible adds the same in another order, and elsewhere.
func TestImageReproducible(t *testing.T) {
	archive := func(backwards bool) string {
		file := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(file, []byte("content"), 0o600))
		var im Image
		steps := []func() error{
			func() error { return im.AddFile("a/b", file, 0o644) },
			func() error { return im.WriteFile("a-b", nil, 0o644) },
			func() error { return im.Symlink("a", "z") },
			func() error { return im.Mkdir("a", 0o700) },
		}
		for i := range steps {
			if backwards {
				i = len(steps) - 1 - i
			}
			must(t, steps[i]())
		}
		var b bytes.Buffer
		must(t, im.WriteGzip(&b))
		return b.String()
	}
	one, two := archive(false), archive(true)
	if one != two {
		t.Error("the same content in another order makes other bytes")
	}
	z, err := gzip.NewReader(strings.NewReader(one))
	must(t, err)
	data, err := io.ReadAll(z)
	must(t, err)
	records, err := readArchive(data)
	if err != nil || len(records) != 4 {
		t.Errorf("unpacked: %+v, %v", records, err)
	}
}

func TestImageBrokenWriter(t *testing.T) {
	var im Image
	must(t, im.WriteFile("f", make([]byte, 100), 0o644))
	if n, err := im.WriteTo(&brokenWriter{left: 150}); !errors.Is(err, errBroken) || n != 150 {
		t.Errorf("WriteTo: %d, %v", n, err)
	}
	if err := im.WriteGzip(&brokenWriter{left: 10}); !errors.Is(err, errBroken) {
		t.Errorf("WriteGzip: %v", err)
	}
}
