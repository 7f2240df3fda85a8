package pcap

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver/mem"
	"github.com/zctap/zctap/internal/testenv"
)

// TestTcpdump has another program read a recording: the timestamps, what the
// frames are, that their checksums hold, and how they were cut off.
func TestTcpdump(t *testing.T) {
	tcpdump := testenv.NeedCommand(t, "tcpdump")
	for _, link := range []int{0, 14} {
		path := filepath.Join(t.TempDir(), "recording.pcap")
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		r := newRig(t, out, Config{Snaplen: 200, Epoch: time.Unix(1_700_000_000, 0)}, mem.Config{LinkHeader: link})
		a, _ := udp(src4, dst4, link, 100)
		b, _ := udp(src6, dst6, link, 100)
		c, _ := udp(src4, dst4, link, 1000)
		send(t, r.tap, a)
		send(t, r.peer, b, c)
		r.poll(t, 1_000_000_007, 2, nil)

		cmd := exec.Command(tcpdump, "-r", path, "-n", "-tt", "-vv", "--time-stamp-precision=nano")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		text := stdout.String()
		for _, want := range []string{
			"1700000000.000000000 IP ",
			"192.0.2.1.4321 > 192.0.2.2.5678: [udp sum ok] UDP, length 100",
			"1700000001.000000007 IP6 ",
			"2001:db8::1.4321 > 2001:db8::2.5678: [udp sum ok] UDP, length 100",
			"192.0.2.1.4321 > 192.0.2.2.5678: UDP, length 1000",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("link header of %d bytes: tcpdump does not say %q but\n%s", link, want, text)
			}
		}
		if s := stderr.String(); strings.Contains(s, "truncated") || strings.Contains(s, "bad") {
			t.Errorf("tcpdump complains: %s", s)
		}
	}
}
