package zctap_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

func init() { roles["memlock"] = memlock }

// TestNSZCRXMemlock: that engine zcrx may not pin its memory is known before the NIC is
// touched. Here it can't be prepared, as veth does not split headers, and both are told.
func TestNSZCRXMemlock(t *testing.T) {
	const large = 5 << 20
	const user = 64999 // and nobody else: what all of a user's processes have pinned counts
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &most); err != nil {
		t.Fatal(err)
	}
	if most.Max < large { // an ordinary user may not raise it
		testenv.SkipOrFail(t, "RLIMIT_MEMLOCK is %d bytes at most", most.Max)
	}
	w := newWorld(t, netns.VethOptions{})
	journals, err := os.MkdirTemp("", "zctap-memlock-") // the test's own is not for that user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(journals) })
	if err := os.Chown(journals, user, user); err != nil {
		t.Fatal(err)
	}
	was := w.snapshot()
	for limit, within := range map[uint64]bool{
		2 << 20: false, // of the region's 4 MiB an eighth is not the NIC's
		large:   true,
	} {
		c := w.child("memlock", fmt.Sprint("ZCTAP_TEST_MEMLOCK=", limit), "ZCTAP_TEST_JOURNALS="+journals)
		c.asNobody("CAP_IPC_LOCK")
		c.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
		c.start(w.ours)
		got := c.line()
		c.finish()
		if strings.Contains(got, "zero-copy receive queues") {
			testenv.SkipOrFail(t, "%s", got)
		}
		if !strings.Contains(got, "veth has no ring settings, so no header/data split") {
			t.Errorf("%d bytes to lock: %s; the interface's obstacle is not there", limit, got)
		}
		says := strings.Contains(got, fmt.Sprintf("RLIMIT_MEMLOCK (ulimit -l), now %d KiB", limit>>10)) && strings.Contains(got, "CAP_IPC_LOCK")
		if says == within {
			t.Errorf("%d bytes to lock: %s", limit, got)
		}
		w.unchanged(was)
	}
}

// memlock says why engine zcrx can't be opened.
func memlock() error {
	var n uint64
	if _, err := fmt.Sscan(os.Getenv("ZCTAP_TEST_MEMLOCK"), &n); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		return err
	}
	q, err := zctap.Open(zctap.Config{
		Engine: zctap.ZCRX, Interface: "veth0", Buffers: 1024,
		ZCRX: &zctap.ZCRXConfig{JournalDir: os.Getenv("ZCTAP_TEST_JOURNALS")},
	})
	if err == nil {
		return q.Close()
	}
	fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
	return nil
}
