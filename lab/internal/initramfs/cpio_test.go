package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// A record is an entry as readArchive finds it.
type record struct {
	Header
	Inode, Links, UID, GID, MTime uint64
	Content                       string
}

// readArchive reads an archive, and is as strict as the kernel and more:
// everything has to be where the format has it, and all padding zero.
func readArchive(data []byte) ([]record, error) {
	var records []record
	for pos := 0; ; {
		take := func(n int) (string, error) {
			if n < 0 || len(data)-pos < n {
				return "", fmt.Errorf("at %d: %d bytes, want %d more", pos, len(data)-pos, n)
			}
			pos += n
			return string(data[pos-n : pos]), nil
		}
		align := func() error {
			zeros, err := take(-pos & 3)
			if err == nil && strings.Trim(zeros, "\x00") != "" {
				err = fmt.Errorf("at %d: padding %q", pos, zeros)
			}
			return err
		}
		magic, err := take(6)
		if err != nil {
			return nil, err
		}
		if magic != "070701" {
			return nil, fmt.Errorf("at %d: magic %q", pos, magic)
		}
		var f [13]uint64
		for i := range f {
			digits, err := take(8)
			if err != nil {
				return nil, err
			}
			if f[i], err = strconv.ParseUint(digits, 16, 32); err != nil {
				return nil, err
			}
		}
		name, err := take(int(f[11]))
		if err == nil {
			err = align()
		}
		if err != nil {
			return nil, err
		}
		name, zero := strings.CutSuffix(name, "\x00")
		if !zero || strings.Contains(name, "\x00") {
			return nil, fmt.Errorf("at %d: name %q", pos, name)
		}
		content, err := take(int(f[6]))
		if err == nil {
			err = align()
		}
		if err != nil {
			return nil, err
		}
		if f[7] != 0 || f[8] != 0 || f[12] != 0 {
			return nil, fmt.Errorf("at %d: device %d:%d, checksum %d", pos, f[7], f[8], f[12])
		}
		if name == trailer {
			if rest := data[pos:]; len(rest) > 0 {
				return nil, fmt.Errorf("%d bytes after the end", len(rest))
			}
			return records, nil
		}
		records = append(records, record{
			Header: Header{Name: name, Mode: uint32(f[1]), Size: int64(f[6]), Major: uint32(f[9]), Minor: uint32(f[10])},
			Inode:  f[0], UID: f[2], GID: f[3], Links: f[4], MTime: f[5], Content: content,
		})
	}
}

// examples are entries with names, contents and numbers of all lengths.
func examples() []record {
	examples := []record{
		{Header: Header{Name: "dev", Mode: ModeDir | 0o755}},
		{Header: Header{Name: "dev/console", Mode: ModeChar | 0o600, Major: 5, Minor: 1}},
		{Header: Header{Name: "dev/vda", Mode: ModeBlock | 0o660, Major: 254, Minor: math.MaxUint32}},
		{Header: Header{Name: "fifo", Mode: ModeFIFO | 0o4777}},
		{Header: Header{Name: "link", Mode: ModeSymlink | 0o777}, Content: "../a target with spaces\n"},
		{Header: Header{Name: "a\nb \tc\x01\xff'\"\\%s", Mode: ModeRegular | 0o600}, Content: "odd"},
		{Header: Header{Name: "ünïcödé/日本", Mode: ModeRegular | 0o600}},
		{Header: Header{Name: strings.Repeat("n", pathMax-1), Mode: ModeRegular}, Content: "long"},
		{Header: Header{Name: "longest link", Mode: ModeSymlink}, Content: strings.Repeat("t", pathMax-1)},
	}
	for n := range 9 {
		name := "file" + strings.Repeat("x", n)
		examples = append(examples, record{Header: Header{Name: name, Mode: ModeRegular | 0o644}, Content: strings.Repeat("\x00", n)})
	}
	for i := range examples {
		examples[i].Size = int64(len(examples[i].Content))
		examples[i].Inode, examples[i].Links = uint64(i+1), 1
		if examples[i].Mode&ModeType == ModeDir {
			examples[i].Links = 2
		}
	}
	return examples
}

func writeArchive(t testing.TB, records []record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, r := range records {
		if err := w.WriteHeader(r.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, r.Content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestWriterBytes has the format as the kernel's buffer-format.rst says it,
// spelled out: a reader written beside the writer may share its mistakes.
func TestWriterBytes(t *testing.T) {
	got := writeArchive(t, []record{
		{Header: Header{Name: "dev/tty", Mode: ModeChar | 0o620, Major: 5, Minor: 0x1f}},
		{Header: Header{Name: "f", Mode: ModeRegular | 0o644, Size: 5}, Content: "hello"},
		{Header: Header{Name: "dir", Mode: ModeDir | 0o755}},
	})
	want := strings.Join([]string{
		// magic, ino, mode, uid, gid, nlink, mtime
		"070701", "00000001", "00002190", "00000000", "00000000", "00000001", "00000000",
		// filesize, maj, min, rmaj, rmin, namesize, chksum, name
		"00000000", "00000000", "00000000", "00000005", "0000001F", "00000008", "00000000", "dev/tty\x00", "\x00\x00",

		"070701", "00000002", "000081A4", "00000000", "00000000", "00000001", "00000000",
		"00000005", "00000000", "00000000", "00000000", "00000000", "00000002", "00000000", "f\x00", "hello\x00\x00\x00",

		"070701", "00000003", "000041ED", "00000000", "00000000", "00000002", "00000000",
		"00000000", "00000000", "00000000", "00000000", "00000000", "00000004", "00000000", "dir\x00", "\x00\x00",

		"070701", "00000000", "00000000", "00000000", "00000000", "00000001", "00000000",
		"00000000", "00000000", "00000000", "00000000", "00000000", "0000000B", "00000000", "TRAILER!!!\x00", "\x00\x00\x00",
	}, "")
	if string(got) != want {
		t.Errorf("wrote\n%q\nwant\n%q", got, want)
	}
}

func TestWriter(t *testing.T) {
	want := examples()
	data := writeArchive(t, want)
	got, err := readArchive(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back:\n%+v\nwritten:\n%+v", got, want)
	}
	if len(data)%4 != 0 {
		t.Errorf("%d bytes: another archive could not follow", len(data))
	}
}

// TestOtherReaders has the programs of this machine that know the format, if
// there are any, list what was written. The kernel's reader is the lab's.
func TestOtherReaders(t *testing.T) {
	var names []string
	records := slices.DeleteFunc(examples(), func(r record) bool {
		// They print control characters and the like in their own ways.
		odd := strings.ContainsFunc(r.Name, func(c rune) bool { return c < ' ' || c == '\\' || c == utf8.RuneError })
		return odd || len(r.Name) > 255 || r.Size > 255
	})
	for _, r := range records {
		names = append(names, r.Name)
	}
	data := writeArchive(t, records)
	for _, reader := range [][]string{{"cpio", "-it", "--quiet"}, {"busybox", "cpio", "-t"}, {"bsdtar", "-tf", "-"}} {
		if _, err := exec.LookPath(reader[0]); err != nil {
			t.Logf("%s is not on this machine", reader[0])
			continue
		}
		cmd := exec.Command(reader[0], reader[1:]...)
		cmd.Stdin, cmd.Env = bytes.NewReader(data), append(os.Environ(), "LC_ALL=C.UTF-8")
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%v: %v", reader, err)
		}
		if got := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, names) {
			t.Errorf("%v lists %q, want %q", reader, got, names)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	tests := []struct {
		name string
		h    Header
		want error
	}{
		{"no name", Header{Mode: ModeDir}, ErrName},
		{"a name with a zero", Header{Name: "a\x00b"}, ErrName},
		{"a long name", Header{Name: strings.Repeat("n", pathMax)}, ErrName},
		{"the name of the end", Header{Name: "TRAILER!!!"}, ErrName},
		{"no target", Header{Name: "l", Mode: ModeSymlink}, ErrName},
		{"a long target", Header{Name: "l", Mode: ModeSymlink, Size: pathMax}, ErrName},
		{"4 GiB", Header{Name: "f", Mode: ModeRegular, Size: 1 << 32}, ErrTooLarge},
		{"less than nothing", Header{Name: "f", Mode: ModeRegular, Size: -1}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			w := NewWriter(&b)
			err := w.WriteHeader(test.h)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if again := w.Close(); again != err {
				t.Errorf("then Close says %v", again)
			}
			if b.Len() > 0 {
				t.Errorf("%q was written", b.String())
			}
		})
	}
	if err := NewWriter(io.Discard).WriteHeader(Header{Name: "f", Mode: ModeRegular, Size: math.MaxUint32}); err != nil {
		t.Errorf("a byte less than 4 GiB: %v", err)
	}
}

func TestWriterContent(t *testing.T) {
	header := Header{Name: "f", Mode: ModeRegular, Size: 5}
	t.Run("missing", func(t *testing.T) {
		w := NewWriter(io.Discard)
		w.WriteHeader(header)
		w.Write([]byte("four"))
		if err := w.WriteHeader(header); err == nil {
			t.Error("no error from WriteHeader")
		}
		if err := w.Close(); err == nil {
			t.Error("no error from Close")
		}
	})
	t.Run("too much", func(t *testing.T) {
		var b bytes.Buffer
		w := NewWriter(&b)
		w.WriteHeader(header)
		if n, err := w.Write([]byte("sixsix")); n != 5 || err == nil {
			t.Errorf("%d, %v", n, err)
		}
		if strings.Contains(b.String(), "sixsix") {
			t.Error("it was written")
		}
	})
	t.Run("without a header", func(t *testing.T) {
		if n, err := NewWriter(io.Discard).Write([]byte("x")); n != 0 || err == nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	t.Run("after the end", func(t *testing.T) {
		w := NewWriter(io.Discard)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(header); err == nil {
			t.Error("no error from WriteHeader")
		}
		if err := w.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
}

// brokenWriter fails after some bytes.
type brokenWriter struct{ left int }

var errBroken = errors.New("broken")

func (b *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > b.left {
		n := b.left
		b.left = 0
		return n, errBroken
	}
	b.left -= len(p)
	return len(p), nil
}

// TestWriterBroken has the writer below fail at every byte.
func TestWriterBroken(t *testing.T) {
	records := examples()[:6]
	size := len(writeArchive(t, records))
	for at := range size {
		w := NewWriter(&brokenWriter{left: at})
		for _, r := range records {
			w.WriteHeader(r.Header)
			io.WriteString(w, r.Content)
		}
		if err := w.Close(); !errors.Is(err, errBroken) {
			t.Fatalf("broken after %d of %d bytes: %v", at, size, err)
		}
	}
}

// FuzzWriter writes what it is told, which either is refused or comes back.
func FuzzWriter(f *testing.F) {
	f.Add("init", uint32(ModeRegular|0o755), "content", uint32(0), uint32(0))
	f.Add("dev/null", uint32(ModeChar), "", uint32(1), uint32(3))
	f.Add("l", uint32(ModeSymlink), "t\x00", uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, name string, mode uint32, content string, major, minor uint32) {
		h := Header{Name: name, Mode: mode, Size: int64(len(content)), Major: major, Minor: minor}
		var b bytes.Buffer
		w := NewWriter(&b)
		if err := w.WriteHeader(h); err != nil {
			if b.Len() > 0 {
				t.Errorf("refused, but %q written", b.String())
			}
			return
		}
		io.WriteString(w, content)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := readArchive(b.Bytes())
		if err != nil || len(got) != 1 || got[0].Header != h || got[0].Content != content {
			t.Errorf("wrote %+v %q, read %+v, %v", h, content, got, err)
		}
	})
}
