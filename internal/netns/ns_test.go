//go:build linux

package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

func TestNSNew(t *testing.T) {
	a, b := newNS(t), newNS(t)
	home := id(t)
	if ida, idb := idOf(t, a), idOf(t, b); ida == home || idb == home || ida == idb {
		t.Errorf("namespaces %s and %s, made from %s: want three", ida, idb, home)
	}
	var links []net.Interface
	err := a.Do(func() (err error) { links, err = net.Interfaces(); return err })
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 || links[0].Name != "lo" || links[0].Flags&net.FlagUp == 0 {
		t.Errorf("a new namespace has %+v, want lo, up", links)
	}
	if now := id(t); now != home {
		t.Errorf("New left the caller in %s, want %s", now, home)
	}
}

func TestNSClosed(t *testing.T) {
	n := newNS(t)
	n.Close()
	err := n.Do(func() error { t.Error("entered a closed namespace"); return nil })
	if !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Do after Close: %v, want fs.ErrClosed", err)
	}
}

// TestNSDo ends a function inside a namespace in every way there is. Each must
// reach the caller, and none may leave a thread behind in the namespace.
func TestNSDo(t *testing.T) {
	n := newNS(t)
	home := id(t)
	errMine := errors.New("mine")

	t.Run("return", func(t *testing.T) {
		if err := n.Do(func() error { return nil }); err != nil {
			t.Errorf("Do = %v, want nil", err)
		}
		if err := n.Do(func() error { return errMine }); err != errMine {
			t.Errorf("Do = %v, want the function's own error", err)
		}
	})
	t.Run("panic", func(t *testing.T) {
		defer func() {
			s, _ := recover().(string)
			if !strings.Contains(s, "mine") || !strings.Contains(s, "TestNSDo") {
				t.Errorf("recovered %q, want the value and where it came from", s)
			}
		}()
		n.Do(func() error { panic(errMine) })
		t.Error("Do returned")
	})
	t.Run("Goexit", func(t *testing.T) {
		returned := false
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			n.Do(func() error { runtime.Goexit(); return nil })
			returned = true
		}()
		<-ended
		if returned {
			t.Error("Do returned")
		}
	})
	t.Run("nested", func(t *testing.T) {
		inner := newNS(t)
		err := n.Do(func() error {
			if got := idOf(t, inner); got == id(t) {
				t.Errorf("inside the inner namespace: %s, as in the outer", got)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})

	for _, at := range threadIDs(t, 32) {
		if at != home {
			t.Errorf("a thread was left in %s, want %s", at, home)
		}
	}
}

// threadIDs returns the namespace of each of n threads, all different ones.
func threadIDs(t *testing.T, n int) []string {
	ids := make([]string, n)
	var all, done sync.WaitGroup
	all.Add(n)
	for i := range ids {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ids[i] = id(t)
			all.Done()
			all.Wait() // none gives its thread to the next
		})
	}
	done.Wait()
	return ids
}

// TestNSDoDiscardsStrandedThread takes from a thread the capability that it
// needs to go home.
func TestNSDoDiscardsStrandedThread(t *testing.T) {
	n := newNS(t)
	var tid int
	err := n.Do(func() error {
		tid = unix.Gettid()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		return unix.Capset(&header, &none[0]) // of this thread only
	})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %d, in the wrong namespace, lives on", tid)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestNSNewUnprivileged makes sure that an ordinary user is told what to do.
func TestNSNewUnprivileged(t *testing.T) {
	testenv.NeedRoot(t)
	out, err := nobody(helper(self(), "new")).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "CAP_SYS_ADMIN") {
		t.Errorf("an ordinary user's New says %q, want a refusal that names CAP_SYS_ADMIN", out)
	}
}
