package zctap_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
	"github.com/zctap/zctap/internal/testenv"
)

// TestNSXDPServes: curl and wrk, over the Linux kernel's TCP at the other end of
// veth, use net/http over zctap.
func TestNSXDPServes(t *testing.T) {
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		for _, mtu := range []int{1500, 9000} {
			t.Run(fmt.Sprint(mode, ", MTU ", mtu), func(t *testing.T) {
				w := newWorld(t, netns.VethOptions{MTU: mtu})
				q := w.open(zctap.XDPConfig{Mode: mode}, 4096)
				port := serveHashes(t, q)
				url := "http://" + net.JoinHostPort(vethOurs4.Addr().String(), port)
				testCurl(t, w.theirs, url)
				testCurl(t, w.theirs, "http://"+net.JoinHostPort(vethOurs6.Addr().String(), port))
				w.wrk(url + "/2000")
				if got, why := q.XDPMode(); got != mode {
					t.Errorf("the mode is %s: %v", got, why)
				}
			})
		}
	}
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkErrors   = regexp.MustCompile(`Socket errors:.*|Non-2xx.*`)
)

// wrk loads a server with many small requests over 16 connections.
func (w *world) wrk(url string) {
	w.Helper()
	out, err := w.output(w.theirs, testenv.NeedCommand(w, "wrk"), "-t1", "-c16", "-d1s", "--timeout", "30s", url)
	if err != nil {
		w.Fatalf("wrk: %v: %s", err, out)
	}
	n := 0
	if m := wrkRequests.FindStringSubmatch(out); m != nil {
		n, _ = strconv.Atoi(m[1])
	}
	if bad := wrkErrors.FindString(out); bad != "" || n == 0 {
		w.Errorf("wrk: %d requests, %s\n%s", n, bad, out)
	}
	w.Logf("wrk: %d requests", n)
}

// TestNSXDPFetches: net/http over zctap fetches from nginx, whose kernel is at the
// other end of veth.
func TestNSXDPFetches(t *testing.T) {
	nginx := testenv.NeedCommand(t, "nginx")
	for _, mode := range []string{zctap.XDPCopy, zctap.XDPGeneric} {
		t.Run(mode, func(t *testing.T) { fetches(newWorld(t, netns.VethOptions{}), nginx, mode) })
	}
}

func fetches(w *world, nginx, mode string) {
	t := w.TB
	dir, err := os.MkdirTemp("", "zctap-nginx") // not one that only we can read
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	body := make([]byte, httpBody)
	pattern.New(1).Fill(body, 0)
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi; sendfile on; tcp_nopush on;
	server { listen 10.89.0.1:8080; root %[1]s; }
}
`, dir)
	for name, b := range map[string][]byte{"nginx.conf": []byte(config), "file": body} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := w.process(exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")))
	server.start(w.theirs)
	w.eventually("nginx listens", func() bool {
		return w.theirs.Do(func() error {
			c, err := net.Dial("tcp", "10.89.0.1:8080")
			if err == nil {
				c.Close()
			}
			return err
		}) == nil
	})
	q := w.open(zctap.XDPConfig{Mode: mode}, 4096)
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return q.DialContext(ctx, network, addr)
	}}
	client := &http.Client{Transport: tr, Timeout: 2 * patience}
	const at = "http://10.89.0.1:8080/"
	for range 3 { // the first of which connects
		resp, err := client.Get(at + "file")
		if err != nil {
			t.Fatalf("%v; nginx says: %s", err, server.errs)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Server"), "nginx") || !bytes.Equal(got, body) || err != nil {
			t.Fatalf("%s from %s, %d bytes, %v", resp.Status, resp.Header.Get("Server"), len(got), err)
		}
	}
	if resp, err := client.Get(at + "missing"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("a missing file: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if s := q.Stats(); s.ZeroCopyBytes < 3*httpBody {
		t.Errorf("%d bytes were received without a copy, of %d", s.ZeroCopyBytes, 3*httpBody)
	}
	tr.CloseIdleConnections()
	w.close(q)
	server.kill()
}
