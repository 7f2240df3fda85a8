//go:build linux

package bundle

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// moduleFile returns an ELF file with the section .modinfo, as a module has it.
func moduleFile(info ...string) string {
	const names = "\x00.modinfo\x00.shstrtab\x00"
	modinfo := strings.Join(info, "\x00") + "\x00"
	const header = 64 // bytes of elf.Header64, and of each elf.Section64
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: header,
		Shoff: uint64(header + len(names) + len(modinfo)), Shentsize: header, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	b.WriteString(names + modinfo)
	binary.Write(&b, binary.LittleEndian, []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: header + uint64(len(names)), Size: uint64(len(modinfo))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: header, Size: uint64(len(names))},
	})
	return b.String()
}

func compressed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func TestModules(t *testing.T) {
	const dir = "modules/kernel/drivers/"
	b := &Bundle{release: "7.3.4-c", kernel: writeFiles(t, map[string]string{
		"modules/modules.builtin": "kernel/drivers/built-in.ko\nkernel/lib/crc.ko\n",
		dir + "plain.ko":          moduleFile("license=GPL", "depends=", "name=plain"),
		dir + "net/top-most.ko":   moduleFile("depends=left,right_one,crc"),
		dir + "left.ko.gz":        compressed(moduleFile("depends=low")),
		dir + "right-one.ko":      moduleFile("depends=left,low"),
		dir + "low.ko":            moduleFile("description=depends=nothing"),
		dir + "ring-a.ko":         moduleFile("depends=ring_b"),
		dir + "ring-b.ko":         moduleFile("depends=ring-a"),
		dir + "lacks.ko":          moduleFile("depends=plain,missing"),
		dir + "none.ko":           "no module",
		dir + "odd.ko.zst":        "",
		dir + "README":            "",
	})}
	tests := []struct {
		asked, want string
		err         error
	}{
		{"", "", nil},
		{"plain", "plain", nil},
		{"plain plain", "plain", nil},
		{"top_most", "low left right_one top_most", nil},
		{"top-most plain right-one", "low left right_one top_most plain", nil},
		{"built_in plain", "plain", nil},
		{"built-in", "", nil},
		{"ring_a", "ring_b ring_a", nil},
		{"gone", "", ErrNoModule},
		{"lacks", "", ErrNoModule},
		{"README", "", ErrNoModule},
		{"odd", "", errors.ErrUnsupported},
	}
	for _, test := range tests {
		t.Run(test.asked, func(t *testing.T) {
			modules, err := b.Modules(context.Background(), strings.Fields(test.asked)...)
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			var names []string
			for _, m := range modules {
				names = append(names, m.Name)
				if !strings.HasPrefix(string(m.Data), elf.ELFMAG) {
					t.Errorf("%s is %.10q", m.Name, m.Data)
				}
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if _, err := b.Modules(context.Background(), "none"); err == nil || !strings.Contains(err.Error(), "none.ko") {
		t.Errorf("a file that is no module: %v", err)
	}
	empty := &Bundle{kernel: t.TempDir()}
	if _, err := empty.Modules(context.Background(), "plain"); err == nil {
		t.Error("no error without modules")
	}
}

// FuzzModuleDepends reads anything as a module.
func FuzzModuleDepends(f *testing.F) {
	f.Add([]byte(moduleFile("depends=a,b")))
	f.Add([]byte(moduleFile()))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := moduleDepends(data)
		for _, name := range names {
			if name == "" || strings.ContainsAny(name, ",\x00") || err != nil {
				t.Errorf("depends on %q, %v", name, err)
			}
		}
	})
}
