//go:build linux

package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxEventLine is the longest line on the event socket: MaxEventData in JSON.
const maxEventLine = 2 * MaxEventData

// Signal tells the runner that name has happened, with data (MaxEventData
// bytes at most), and returns its answer when it has been dealt with there.
func Signal(ctx context.Context, name string, data []byte) ([]byte, error) {
	if len(data) > MaxEventData {
		return nil, fmt.Errorf("event %s: %d bytes of data, %d at most", name, len(data), MaxEventData)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", EventSocket)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w (is this the guest of a lab?)", name, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var reply Reply
	err = json.NewEncoder(c).Encode(Event{Name: name, Data: data})
	if err == nil {
		err = readLine(c, &reply)
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("event %s: %w", name, context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("event %s: no answer: %w", name, err)
	case reply.Error != "":
		return nil, fmt.Errorf("event %s: %w", name, errors.New(reply.Error))
	}
	return reply.Data, nil
}

// readLine reads one line of JSON.
func readLine(r io.Reader, message any) error {
	line, err := bufio.NewReader(io.LimitReader(r, maxEventLine)).ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, message)
}

// eventMain is the event command: its arguments are the event's name and data,
// it prints the answer.
func eventMain(args []string) int {
	if len(args) < 1 || len(args) > 2 {
		fmt.Fprintf(os.Stderr, "usage: %s NAME [DATA]\n", EventCommand)
		return 2
	}
	var data []byte
	if len(args) > 1 {
		data = []byte(args[1])
	}
	answer, err := Signal(context.Background(), args[0], data)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", EventCommand, err)
		return 1
	}
	if len(answer) > 0 {
		fmt.Printf("%s\n", answer)
	}
	return 0
}

// events is the agent's end of the event socket.
type events struct {
	out     *Writer
	ready   func(step uint16, name string)
	slots   chan struct{} // as many as may wait for the runner
	mu      sync.Mutex
	next    uint16
	waiting map[uint16]chan Reply
}

// serveEvents opens the event socket, and calls ready for each event after
// the runner has answered it.
func serveEvents(out *Writer, ready func(step uint16, name string)) (*events, error) {
	l, err := net.Listen("unix", EventSocket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(EventSocket, 0o777); err != nil { // a step may have given up being root
		return nil, err
	}
	e := &events{
		out: out, ready: ready,
		slots: make(chan struct{}, MaxEvents), waiting: make(map[uint16]chan Reply),
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				say("event socket: %v", err)
				return
			}
			e.slots <- struct{}{}
			go func() {
				defer func() { <-e.slots }()
				defer c.Close()
				if err := e.serve(c.(*net.UnixConn)); err != nil {
					say("event: %v", err)
				}
			}()
		}
	}()
	return e, nil
}

// serve passes one event on and its answer back.
func (e *events) serve(c *net.UnixConn) error {
	step := peerStep(c)
	var ev Event
	if err := readLine(c, &ev); err != nil {
		return err
	}
	ev.Step = step
	id, answer := e.register()
	if err := e.out.Message(KindEvent, id, ev); err != nil {
		return err
	}
	reply := <-answer
	if reply.Error == "" {
		e.ready(step, ev.Name)
	}
	return json.NewEncoder(c).Encode(reply)
}

func (e *events) register() (uint16, chan Reply) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.next++; e.next == 0 || e.waiting[e.next] != nil; e.next++ {
	}
	answer := make(chan Reply, 1)
	e.waiting[e.next] = answer
	return e.next, answer
}

// answer is called with what the runner says to event id.
func (e *events) answer(id uint16, r Reply) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if answer := e.waiting[id]; answer != nil {
		answer <- r
		delete(e.waiting, id)
	}
}

// peerStep returns the step of which the process at the other end of a
// connection is part, and 0 if that is not known: the agent starts each step
// in a control group named after its number.
func peerStep(c *net.UnixConn) uint16 {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	if err != nil || pid == 0 {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return 0
	}
	return stepOfCgroup(string(text))
}

// stepOfCgroup reads /proc/PID/cgroup, which has the one line "0::/lab/7" for
// a process of step 7, and more behind that if it is in a group of its own.
func stepOfCgroup(text string) uint16 {
	for line := range strings.Lines(text) {
		below, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"+path.Base(cgroupDir)+"/")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(below, "/")
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			return uint16(n)
		}
	}
	return 0
}
