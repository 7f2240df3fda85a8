package sim

import (
	"io"
	"strings"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
)

// TestFaults has one host do something wrong, of each kind that Run is to see.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		fault      func(*faulty)
	}{
		{"none", "", func(*faulty) {}},
		{"a byte is changed", "wrong: 1 bytes of the", func(f *faulty) { f.flip = true }},
		{"a byte is missing", "wrong: ", func(f *faulty) { f.skip = true }},
		{"a view is overwritten", "in a view that was not given back", func(f *faulty) { f.scribble = true }},
		{"a buffer leaks", "buffers are left", func(f *faulty) { f.leak = true }},
		{"a buffer is freed twice", "panic: buf: Put", func(f *faulty) { f.twice = true }},
		{"it panics", "panic: out of luck", func(f *faulty) { f.panics = true }},
		{"it falls silent", "nothing will ever happen again", func(f *faulty) { f.deaf = true }},
		{"it says that all is over too soon", "end after ", func(f *faulty) { f.early = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := quiet()
			_, err := Run(sc, func(i int, s Settings, p *buf.Pool, d driver.Driver) (Host, error) {
				h, err := NewLocal(s, p, d)
				if i == 0 || err != nil {
					return h, err
				}
				f := &faulty{Local: h}
				tt.fault(f)
				return f, nil
			})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// quiet is a scenario with nothing wrong, in which host 1 receives.
func quiet() *Scenario {
	s := Settings{Buffers: 256, MTU: 1500}
	return &Scenario{Hosts: [2]Settings{s, s}, Flows: []Plan{{
		Kind: Transfer, Bytes: [2]int64{100_000, 1000}, Write: [2]int{10_000, 10_000}, Read: [2]int{20_000, 20_000},
		Keep: [2]float64{0, 0.9},
	}}}
}

// faulty is a host that does something wrong.
type faulty struct {
	*Local
	flip, skip, scribble, leak, twice, panics, deaf, early bool

	rounds int
}

func (f *faulty) Round(now mono.Time) (bool, error) {
	f.rounds++
	switch {
	case f.panics && f.rounds == 5:
		panic("out of luck")
	case f.deaf && f.rounds > 5:
		return false, nil
	case (f.leak || f.twice) && f.rounds == 5:
		var id [1]uint16
		f.Pool.Alloc(id[:])
		if f.twice {
			f.Pool.Put(id[0])
			f.Pool.Put(id[0])
		}
	}
	return f.Local.Round(now)
}

func (f *faulty) Next() mono.Time {
	if f.deaf {
		return 0
	}
	return f.Local.Next()
}

func (f *faulty) Listen(port uint16, accept func(Conn)) error {
	return f.Local.Listen(port, func(c Conn) { accept(&faultyConn{Conn: c, f: f}) })
}

type faultyConn struct {
	Conn
	f    *faulty
	last []byte
	far  bool
}

func (c *faultyConn) Read(limit int, keep bool, verify Verify) (int, error) {
	n, err := c.Conn.Read(limit, keep, func(off int64, b []byte) error {
		c.last = b
		if off > 50_000 {
			c.far = true
			switch {
			case c.f.flip:
				b = append([]byte(nil), b...)
				b[len(b)-1]++
			case c.f.skip:
				b = b[1:]
			}
		}
		return verify(off, b)
	})
	if c.f.early && c.far {
		err = io.EOF
	}
	return n, err
}

func (c *faultyConn) Release(verify Verify) error {
	if c.f.scribble && c.last != nil {
		c.last[0]++
	}
	return c.Conn.Release(verify)
}
