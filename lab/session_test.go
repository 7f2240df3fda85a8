//go:build linux

package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/zctap/zctap/lab/internal/guest"
)

// A script is frames that a guest sends, put together by hand.
type script struct{ bytes.Buffer }

func (s *script) add(kind guest.Kind, id uint16, payload string) *script {
	head := []byte{byte(kind), 0}
	head = binary.LittleEndian.AppendUint16(head, id)
	s.Write(binary.LittleEndian.AppendUint32(head, uint32(len(payload))))
	s.WriteString(payload)
	return s
}

func hello() *script { return new(script).add(guest.KindHello, 0, `{"Version":1,"Release":"7.3"}`) }

// startJob returns a session with one job, whose number and whose first step's are 1.
func startJob(t testing.TB, j *Job) (*session, *job) {
	t.Helper()
	s := newSession(t.Context(), io.Discard)
	g, names, err := j.check()
	if err != nil {
		t.Fatal(err)
	}
	running, err := s.register(j, g, names)
	if err != nil {
		t.Fatal(err)
	}
	return s, running
}

func TestSession(t *testing.T) {
	var streamed bytes.Buffer
	j := &Job{Steps: []Step{{Args: []string{"a"}}, {Args: []string{"b"}, Stdout: &streamed}, {Args: []string{"c"}}}, MaxFiles: 5}
	s, running := startJob(t, j)
	in := hello().
		add(guest.KindStarted, 1, "").add(guest.KindStdout, 1, "x").add(guest.KindStderr, 1, "y").add(guest.KindStdout, 1, "z").
		add(guest.KindExit, 1, `{"Code":7,"User":5}`).
		add(guest.KindStarted, 2, "").add(guest.KindStdout, 2, "streamed").add(guest.KindExit, 2, `{"Signal":9,"Error":"\u001b[2J"}`).
		add(guest.KindFile, 1, `{"Path":"/out/f","Mode":2496,"Size":3}`).add(guest.KindFileData, 1, "ab").add(guest.KindFileData, 1, "c").
		add(guest.KindFile, 1, `{"Path":"/out/g","Size":0}`).
		add(guest.KindDone, 1, `{"Error":"not all"}`)
	if err := s.serve(in); err != nil {
		t.Fatal(err)
	}
	<-running.over
	if h := <-s.ready; h.Release != "7.3" {
		t.Errorf("hello %+v", h)
	}
	if running.err == nil || !strings.Contains(running.err.Error(), "not all") {
		t.Errorf("error %v", running.err)
	}
	a, b, c := running.steps[0].res, running.steps[1].res, running.steps[2].res
	if string(a.Stdout) != "xz" || string(a.Stderr) != "y" || a.ExitCode != 7 || a.User != 5 || !a.Started {
		t.Errorf("a: %+v", a)
	}
	if len(b.Stdout) != 0 || streamed.String() != "streamed" || b.Signal != 9 || b.Error != "?[2J" {
		t.Errorf("b: %+v, streamed %q", b, &streamed)
	}
	if c.Started {
		t.Errorf("c: %+v", c)
	}
	if len(running.files) != 2 || string(running.files[0].Data) != "abc" || running.files[0].Mode != 0o700 {
		t.Errorf("files: %+v", running.files)
	}
	if _, err := s.register(j, &guest.Job{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a job after the end: %v", err)
	}
}

// TestSessionEnds: a guest that goes away ends its jobs, whatever it was at.
func TestSessionEnds(t *testing.T) {
	for name, in := range map[string]*script{
		"at once":       {},
		"after hello":   hello(),
		"in a frame":    {*bytes.NewBuffer(hello().Bytes()[:11])},
		"in a step":     hello().add(guest.KindStarted, 1, ""),
		"after a step":  hello().add(guest.KindStarted, 1, "").add(guest.KindExit, 1, `{}`),
		"within a file": hello().add(guest.KindFile, 1, `{"Size":10}`),
	} {
		s, running := startJob(t, &Job{Steps: []Step{{Args: []string{"a"}}}})
		if err := s.serve(in); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-running.over:
		default:
			t.Errorf("%s: the job goes on", name)
		}
		if !errors.Is(running.err, errGone) {
			t.Errorf("%s: the job's error is %v", name, running.err)
		}
	}
}

// TestSessionRefuses: what a guest can't have to say ends it.
func TestSessionRefuses(t *testing.T) {
	event := `{"Name":"x"}`
	events := hello()
	for i := range guest.MaxEvents + 1 {
		events.add(guest.KindEvent, uint16(i), event)
	}
	files := hello()
	for range maxCollected + 1 {
		files.add(guest.KindFile, 1, `{}`)
	}
	cases := []struct {
		name string
		in   *script
		is   error
	}{
		{"no hello", new(script).add(guest.KindStarted, 1, ""), ErrProtocol},
		{"two hellos", hello().add(guest.KindHello, 0, `{"Version":1}`), ErrProtocol},
		{"another version", new(script).add(guest.KindHello, 0, `{"Version":2}`), ErrProtocol},
		{"hello is no JSON", new(script).add(guest.KindHello, 0, `"`), ErrProtocol},
		{"fatal", new(script).add(guest.KindFatal, 0, "no modules"), ErrGuest},
		{"no such step", hello().add(guest.KindStdout, 2, "x"), ErrProtocol},
		{"step 0", hello().add(guest.KindStdout, 0, "x"), ErrProtocol},
		{"no such job", hello().add(guest.KindDone, 2, "{}"), ErrProtocol},
		{"started twice", hello().add(guest.KindStarted, 1, "").add(guest.KindStarted, 1, ""), ErrProtocol},
		{"output after the exit", hello().add(guest.KindExit, 1, "{}").add(guest.KindStdout, 1, "x"), ErrProtocol},
		{"exit twice", hello().add(guest.KindExit, 1, "{}").add(guest.KindExit, 1, "{}"), ErrProtocol},
		{"exit is no JSON", hello().add(guest.KindExit, 1, "[]"), ErrProtocol},
		{"window of 3 bytes", hello().add(guest.KindWindow, 1, "xxx"), ErrProtocol},
		{"data without a file", hello().add(guest.KindFileData, 1, "x"), ErrProtocol},
		{"more data than the file has", hello().add(guest.KindFile, 1, `{"Size":1}`).add(guest.KindFileData, 1, "xx"), ErrProtocol},
		{"no data", hello().add(guest.KindFile, 1, `{"Size":1}`).add(guest.KindFileData, 1, ""), ErrProtocol},
		{"a file within a file", hello().add(guest.KindFile, 1, `{"Size":1}`).add(guest.KindFile, 1, `{"Size":1}`), ErrProtocol},
		{"negative size", hello().add(guest.KindFile, 1, `{"Size":-1}`), ErrProtocol},
		{"too large a file", hello().add(guest.KindFile, 1, `{"Size":101}`), ErrProtocol},
		{"too many files", files, ErrProtocol},
		{"done within a file", hello().add(guest.KindFile, 1, `{"Size":1}`).add(guest.KindDone, 1, "{}"), ErrProtocol},
		{"done within a step", hello().add(guest.KindStarted, 1, "").add(guest.KindDone, 1, "{}"), ErrProtocol},
		{"done twice", hello().add(guest.KindDone, 1, "{}").add(guest.KindDone, 1, "{}"), ErrProtocol},
		{"too many events", events, ErrProtocol},
		{"one event twice", hello().add(guest.KindEvent, 1, event).add(guest.KindEvent, 1, event), ErrProtocol},
		{"a runner's frame", hello().add(guest.KindReply, 1, "{}"), ErrProtocol},
	}
	for _, c := range cases {
		// Events wait for as long as the frames are read.
		wait := make(chan struct{})
		s, running := startJob(t, &Job{Steps: []Step{{Args: []string{"a"}}}, MaxFiles: 100, OnEvent: func(context.Context, Event) ([]byte, error) {
			<-wait
			return nil, nil
		}})
		if err := s.serve(c.in); !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %v", c.name, err, c.is)
		}
		close(wait)
		s.wg.Wait()
		<-running.over
	}
}

// TestOutputIsBounded: a guest that floods fills no more than was promised.
func TestOutputIsBounded(t *testing.T) {
	s, running := startJob(t, &Job{Steps: []Step{{Args: []string{"a"}}}})
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(hello().Bytes())
		frame := new(script).add(guest.KindStderr, 1, strings.Repeat("x", guest.MaxChunk)).Bytes()
		for range MaxOutput/guest.MaxChunk + 100 {
			_, _ = w.Write(frame)
		}
		w.Close()
	}()
	if err := s.serve(r); err != nil {
		t.Fatal(err)
	}
	if res := running.steps[0].res; len(res.Stderr) != MaxOutput || !res.Truncated {
		t.Errorf("%d bytes kept, truncated %v", len(res.Stderr), res.Truncated)
	}
}

// TestCredit: no more standard input is sent than the guest has room for.
func TestCredit(t *testing.T) {
	var c credit
	c.init()
	c.add(guest.StdinWindow)
	c.spend(int(c.wait()) - 5)
	if room := c.wait(); room != 5 {
		t.Errorf("room for %d, want 5", room)
	}
	c.add(1 << 40)
	if room := c.wait(); room != guest.StdinWindow {
		t.Errorf("room for %d after a claim that can't be", room)
	}
	c.spend(guest.StdinWindow)
	done := make(chan int64)
	go func() { done <- c.wait() }()
	c.close()
	if room := <-done; room != 0 {
		t.Errorf("room for %d after the end", room)
	}
}

func FuzzSession(f *testing.F) {
	f.Add(hello().add(guest.KindStarted, 1, "").add(guest.KindStdout, 1, "x").add(guest.KindWindow, 1, "\xff\xff\xff\xff").add(guest.KindExit, 1, `{"Code":7}`).Bytes())
	f.Add(hello().add(guest.KindEvent, 1, `{"Name":"x","Step":1,"Data":"YQ=="}`).add(guest.KindFile, 1, `{"Path":"/f","Size":1}`).add(guest.KindFileData, 1, "x").add(guest.KindDone, 1, "{}").Bytes())
	f.Add(new(script).add(guest.KindFatal, 0, "\x1b[31m").Bytes())
	f.Fuzz(func(t *testing.T, stream []byte) {
		j := &Job{Steps: []Step{{Args: []string{"a"}}, {Args: []string{"b"}}}, MaxFiles: 1 << 10, OnEvent: func(_ context.Context, e Event) ([]byte, error) { return e.Data, nil }}
		s, running := startJob(t, j)
		err := s.serve(bytes.NewReader(stream))
		if err != nil && !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrGuest) {
			t.Errorf("error %v", err)
		}
		s.wg.Wait()
		<-running.over
		var total int64
		for _, f := range running.files {
			total += int64(len(f.Data))
		}
		if total > j.MaxFiles {
			t.Errorf("%d bytes of files", total)
		}
	})
}
