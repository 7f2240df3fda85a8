package zctap_test

import (
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
)

func TestConformanceCopy(t *testing.T) {
	enginetest.Run(t, enginetest.Setup{Open: openCopy, Copies: true, Interface: "lo", Merges: true, Refusals: true})
}

func TestConformanceUserMem(t *testing.T) {
	enginetest.Run(t, enginetest.Setup{Open: openMem(pairA4, pairB4), Refusals: true})
}

func TestConformanceUserMemIPv6(t *testing.T) {
	enginetest.Run(t, enginetest.Setup{Open: openMem(pairA6, pairB6), Conns: 100, Refusals: true})
}

func TestNSConformanceUserTUN(t *testing.T) {
	ns := newNS(t)
	enginetest.Run(t, enginetest.Setup{Open: openTUN(ns, tunOurs4.Addr(), tunHost4.Addr()), Break: deletesLink(ns, "zctap0"), Merges: true, Refusals: true})
}

func TestNSConformanceUserTUNIPv6(t *testing.T) {
	ns := newNS(t)
	enginetest.Run(t, enginetest.Setup{Open: openTUN(ns, tunOurs6.Addr(), tunHost6.Addr()), Conns: 100, Break: deletesLink(ns, "zctap0"), Handled: true, Merges: true, Refusals: true})
}

func TestNSConformanceUserXDP(t *testing.T) {
	ours, theirs := newVeth(t, 1500)
	enginetest.Run(t, enginetest.Setup{Open: openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: zctap.XDPCopy}), Break: deletesLink(ours, "veth0"), Refusals: true})
}

func TestNSConformanceUserXDPIPv6(t *testing.T) {
	ours, theirs := newVeth(t, 1500)
	enginetest.Run(t, enginetest.Setup{Open: openXDP(ours, theirs, vethOurs6, vethPeer6, zctap.XDPConfig{}), Conns: 100, Break: deletesLink(ours, "veth0"), Handled: true, Refusals: true})
}

func TestNSConformanceUserXDPGeneric(t *testing.T) {
	ours, theirs := newVeth(t, 1500)
	enginetest.Run(t, enginetest.Setup{Open: openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: zctap.XDPGeneric}), Conns: 100, NoSegments: true, Refusals: true})
}

func TestNSConformanceUserXDPJumbo(t *testing.T) {
	ours, theirs := newVeth(t, 9000)
	enginetest.Run(t, enginetest.Setup{Open: openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: zctap.XDPCopy}), Conns: 100, Refusals: true})
}

func TestNSConformanceUserXDPJumboGeneric(t *testing.T) {
	ours, theirs := newVeth(t, 9000)
	enginetest.Run(t, enginetest.Setup{Open: openXDP(ours, theirs, vethOurs4, vethPeer4, zctap.XDPConfig{Mode: zctap.XDPGeneric}), Conns: 100, NoSegments: true, Refusals: true})
}
