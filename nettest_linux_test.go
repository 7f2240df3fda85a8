package zctap_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
)

// testConn runs the standard conformance suite of a net.Conn between a queue's
// connection and its peer's.
func testConn(t *testing.T, open func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer)) {
	q, peer := open(t, zctap.Config{})
	defer func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if n := q.Leaked(); n != 0 {
			t.Errorf("%d buffers leaked", n)
		}
	}()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		ln, err := q.Listen("tcp", ":0")
		if err != nil {
			return nil, nil, nil, err
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if c2, err = peer.Dial("tcp", net.JoinHostPort(peer.Host(), port)); err != nil {
			return nil, nil, nil, err
		}
		ln.SetDeadline(time.Now().Add(30 * time.Second))
		if c1, err = ln.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestNetConnCopy(t *testing.T)    { testConn(t, openCopy) }
func TestNetConnUserMem(t *testing.T) { testConn(t, openMem(pairA4, pairB4)) }
func TestNSNetConnUserTUN(t *testing.T) {
	testConn(t, openTUN(newNS(t), tunOurs4.Addr(), tunHost4.Addr()))
}
