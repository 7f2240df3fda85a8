package zctap_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
	"github.com/zctap/zctap/internal/testenv"
)

// serveHashes serves net/http over q: the answer to a PUT is the SHA-256 of its
// body, to a GET of /N the pattern's first N bytes.
func serveHashes(t *testing.T, q *zctap.Queue) (port string) {
	ln, err := q.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	body := pattern.New(1) // to make it takes as long as hundreds of requests
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			var n int64
			fmt.Sscanf(r.URL.Path, "/%d", &n)
			io.Copy(w, body.Reader(n))
			return
		}
		h := sha256.New()
		io.Copy(h, r.Body)
		fmt.Fprintf(w, "%x", h.Sum(nil))
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close()
		}
		<-done
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if n := q.Leaked(); n != 0 {
			t.Errorf("%d buffers leaked", n)
		}
	})
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

const httpBody = 5<<20 + 17

func httpWant() string {
	h := sha256.New()
	io.Copy(h, pattern.New(1).Reader(httpBody))
	return fmt.Sprintf("%x", h.Sum(nil))
}

// testHTTP is net/http on both ends: zctap's listener serves, a client dials
// over the peer.
func testHTTP(t *testing.T, open func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer)) {
	q, peer := open(t, zctap.Config{})
	url := "http://" + net.JoinHostPort(peer.Host(), serveHashes(t, q))
	tr := &http.Transport{DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
		return peer.Dial(network, addr)
	}}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: time.Minute}
	for range 3 {
		req, err := http.NewRequest(http.MethodPut, url, pattern.New(1).Reader(httpBody))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(sum) != httpWant() || err != nil {
			t.Fatalf("PUT: %q, %v", sum, err)
		}
		if resp, err = client.Get(fmt.Sprintf("%s/%d", url, httpBody)); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if len(b) != httpBody || pattern.New(1).Mismatches(b, 0) != 0 || err != nil {
			t.Fatalf("GET: %d bytes, %v", len(b), err)
		}
	}
}

func TestHTTPCopy(t *testing.T)    { testHTTP(t, openCopy) }
func TestHTTPUserMem(t *testing.T) { testHTTP(t, openMem(pairA4, pairB4)) }
func TestNSHTTPUserTUN(t *testing.T) {
	testHTTP(t, openTUN(newNS(t), tunOurs4.Addr(), tunHost4.Addr()))
}

// A real curl, over the Linux kernel's TCP, uploads to and downloads from
// net/http over zctap.
func TestNSCurl(t *testing.T) {
	ns := newNS(t)
	q, _ := openTUN(ns, tunOurs4.Addr(), tunHost4.Addr())(t, zctap.Config{})
	port := serveHashes(t, q)
	for _, own := range []netip.Prefix{tunOurs4, tunOurs6} {
		testCurl(t, ns, "http://"+net.JoinHostPort(own.Addr().String(), port))
	}
}

// testCurl runs curl in ns against the server of serveHashes at url.
func testCurl(t *testing.T, ns *netns.NS, url string) {
	curl := testenv.NeedCommand(t, "curl")
	dir := t.TempDir()
	up, down := filepath.Join(dir, "up"), filepath.Join(dir, "down")
	body := make([]byte, httpBody)
	pattern.New(1).Fill(body, 0)
	if err := os.WriteFile(up, body, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(curl, append([]string{"--silent", "--show-error", "--fail", "--max-time", "60"}, args...)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := ns.Run(cmd); err != nil {
			t.Fatalf("curl %v: %v: %s", args, err, errs.String())
		}
		return out.String()
	}
	if sum := run("--upload-file", up, url+"/"); sum != httpWant() {
		t.Errorf("curl's upload has the hash %s", sum)
	}
	run("--output", down, fmt.Sprintf("%s/%d", url, httpBody))
	if b, err := os.ReadFile(down); err != nil || !bytes.Equal(b, body) {
		t.Errorf("curl downloaded %d bytes, %v", len(b), err)
	}
}
