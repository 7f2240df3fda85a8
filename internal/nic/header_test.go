//go:build linux

package nic

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// includes is the head of a program that knows all that the machine's headers do:
// linux/netdev.h came with Linux 6.3, ethtool_netlink_generated.h with 6.15.
const includes = `
#include <stdio.h>
#include <stddef.h>
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/if_link.h>
#include <net/if.h>
#if __has_include(<linux/netdev.h>)
#include <linux/netdev.h>
#endif
#define OFFSET(type, member) offsetof(struct type, member)
`

// headerValues are numbers that this package and the headers must agree on, by C
// expression. One with an identifier that the headers lack is left out.
var headerValues = map[string]uint64{
	"sizeof(struct ethtool_rxnfc)":          rxnfcLen,
	"OFFSET(ethtool_rxnfc, data)":           rxnfcData,
	"OFFSET(ethtool_rxnfc, fs)":             rxnfcSpec,
	"OFFSET(ethtool_rxnfc, rule_cnt)":       rxnfcRuleCount,
	"OFFSET(ethtool_rxnfc, rss_context)":    rxnfcRuleCount,
	"OFFSET(ethtool_rxnfc, rule_locs)":      rxnfcRuleLocs,
	"OFFSET(ethtool_rxnfc, fs.flow_type)":   specType,
	"OFFSET(ethtool_rxnfc, fs.h_u)":         specValues,
	"OFFSET(ethtool_rxnfc, fs.h_ext)":       specExtra,
	"OFFSET(ethtool_rxnfc, fs.m_u)":         specMasks,
	"OFFSET(ethtool_rxnfc, fs.m_ext)":       specExtraM,
	"OFFSET(ethtool_rxnfc, fs.ring_cookie)": specCookie,
	"OFFSET(ethtool_rxnfc, fs.location)":    specLocation,
	"sizeof(union ethtool_flow_union)":      specUnion,
	"sizeof(struct ethtool_flow_ext)":       specExtraLen,
	"OFFSET(ethtool_tcpip4_spec, ip4dst)":   tcp4Dst,
	"OFFSET(ethtool_tcpip4_spec, pdst)":     tcp4DstPort,
	"OFFSET(ethtool_tcpip6_spec, ip6dst)":   tcp6Dst,
	"OFFSET(ethtool_tcpip6_spec, pdst)":     tcp6DstPort,
	"TCP_V4_FLOW":                           flowTCP4,
	"UDP_V4_FLOW":                           flowUDP4,
	"TCP_V6_FLOW":                           flowTCP6,
	"UDP_V6_FLOW":                           flowUDP6,
	"FLOW_RSS":                              flowRSS,
	"FLOW_RSS | FLOW_EXT | FLOW_MAC_EXT":    flowFlags,
	"RX_CLS_LOC_ANY":                        anyLocation,
	"RX_CLS_LOC_SPECIAL":                    locationSpecial,
	"ETHTOOL_RX_FLOW_SPEC_RING":             cookieRingMask,
	"ETHTOOL_SRXCLSRLINS":                   unix.ETHTOOL_SRXCLSRLINS,
	"sizeof(struct ethtool_rxfh)":           rxfhLen,
	"OFFSET(ethtool_rxfh, rss_context)":     rxfhContext,
	"OFFSET(ethtool_rxfh, indir_size)":      rxfhIndirSize,
	"OFFSET(ethtool_rxfh, key_size)":        rxfhKeySize,
	"OFFSET(ethtool_rxfh, input_xfrm)":      rxfhXfrm,
	"ETH_RXFH_CONTEXT_ALLOC":                rxfhContextAlloc,
	"RXH_XFRM_NO_CHANGE":                    rxfhXfrmNoChange,
	"sizeof(struct ethtool_drvinfo)":        drvinfoLen,
	"OFFSET(ethtool_drvinfo, driver)":       drvinfoDriver,
	"ETHTOOL_TCP_DATA_SPLIT_UNKNOWN":        uint64(SplitUnknown),
	"ETHTOOL_TCP_DATA_SPLIT_DISABLED":       uint64(SplitOff),
	"ETHTOOL_TCP_DATA_SPLIT_ENABLED":        uint64(SplitOn),
	"ETHTOOL_A_RINGS_TCP_DATA_SPLIT":        unix.ETHTOOL_A_RINGS_TCP_DATA_SPLIT,
	"ETHTOOL_A_RINGS_HDS_THRESH":            unix.ETHTOOL_A_RINGS_HDS_THRESH,
	"ETHTOOL_MSG_RSS_GET":                   unix.ETHTOOL_MSG_RSS_GET,
	"ETHTOOL_A_RSS_CONTEXT":                 ethtoolARSSNumber,
	"ETHTOOL_A_RSS_INDIR":                   ethtoolARSSIndir,
	"ETHTOOL_A_RSS_HKEY":                    ethtoolARSSHKey,
	"ETHTOOL_A_RINGS_HEADER":                1,
	"ETHTOOL_A_CHANNELS_HEADER":             1,
	"ETHTOOL_A_FEATURES_HEADER":             1,
	"ETHTOOL_A_RSS_HEADER":                  1,
	"NETDEV_CMD_DEV_GET":                    netdevCmdDevGet,
	"NETDEV_CMD_PAGE_POOL_GET":              netdevCmdPagePoolGet,
	"NETDEV_CMD_QUEUE_GET":                  netdevCmdQueueGet,
	"NETDEV_CMD_QSTATS_GET":                 netdevCmdQStatsGet,
	"NETDEV_A_DEV_IFINDEX":                  netdevADevIfindex,
	"NETDEV_A_DEV_XDP_FEATURES":             netdevADevXDPFeatures,
	"NETDEV_A_DEV_XDP_ZC_MAX_SEGS":          netdevADevXDPZCSegs,
	"NETDEV_XDP_ACT_XSK_ZEROCOPY":           netdevXDPActZeroCopy,
	"NETDEV_A_PAGE_POOL_ID":                 netdevAPagePoolID,
	"NETDEV_A_PAGE_POOL_IFINDEX":            netdevAPagePoolIfindex,
	"NETDEV_A_PAGE_POOL_NAPI_ID":            netdevAPagePoolNAPI,
	"NETDEV_A_PAGE_POOL_INFLIGHT":           netdevAPagePoolInflight,
	"NETDEV_A_PAGE_POOL_INFLIGHT_MEM":       netdevAPagePoolInflightMem,
	"NETDEV_A_PAGE_POOL_DETACH_TIME":        netdevAPagePoolDetachTime,
	"NETDEV_A_PAGE_POOL_DMABUF":             netdevAPagePoolDMABuf,
	"NETDEV_A_PAGE_POOL_IO_URING":           netdevAPagePoolIOUring,
	"NETDEV_A_QUEUE_ID":                     netdevAQueueID,
	"NETDEV_A_QUEUE_IFINDEX":                netdevAQueueIfindex,
	"NETDEV_A_QUEUE_TYPE":                   netdevAQueueType,
	"NETDEV_A_QUEUE_NAPI_ID":                netdevAQueueNAPI,
	"NETDEV_A_QUEUE_DMABUF":                 netdevAQueueDMABuf,
	"NETDEV_A_QUEUE_IO_URING":               netdevAQueueIOUring,
	"NETDEV_A_QUEUE_XSK":                    netdevAQueueXSK,
	"NETDEV_A_QUEUE_LEASE":                  netdevAQueueLease,
	"NETDEV_QUEUE_TYPE_RX":                  netdevQueueTypeRX,
	"NETDEV_A_LEASE_IFINDEX":                netdevALeaseIfindex,
	"NETDEV_A_LEASE_QUEUE":                  netdevALeaseQueue,
	"NETDEV_A_LEASE_NETNS_ID":               netdevALeaseNetNS,
	"NETDEV_A_QSTATS_IFINDEX":               netdevAQStatsIfindex,
	"NETDEV_A_QSTATS_QUEUE_TYPE":            netdevAQStatsQueueType,
	"NETDEV_A_QSTATS_QUEUE_ID":              netdevAQStatsQueueID,
	"NETDEV_A_QSTATS_SCOPE":                 netdevAQStatsScope,
	"NETDEV_A_QSTATS_RX_PACKETS":            netdevAQStatsRXPackets,
	"NETDEV_A_QSTATS_RX_BYTES":              netdevAQStatsRXBytes,
	"NETDEV_A_QSTATS_RX_ALLOC_FAIL":         netdevAQStatsAllocFail,
	"NETDEV_A_QSTATS_RX_HW_DROPS":           netdevAQStatsHWDrops,
	"NETDEV_A_QSTATS_RX_HW_DROP_OVERRUNS":   netdevAQStatsOverruns,
	"NETDEV_QSTATS_SCOPE_QUEUE":             netdevQStatsScopeQueues,
	"sizeof(struct ifreq)":                  ifreqLen,
	"OFFSET(ifreq, ifr_data)":               ifreqDataOffset,
	"IFLA_XDP":                              unix.IFLA_XDP,
	"IFLA_XDP_ATTACHED":                     unix.IFLA_XDP_ATTACHED,
}

// TestAgainstKernelHeaders compiles a program against the machine's headers and
// compares what it prints. The environment variable testenv.KernelInclude names
// folders of newer ones, in which each value has to be.
func TestAgainstKernelHeaders(t *testing.T) {
	cc := testenv.NeedCommand(t, "cc")
	newer := testenv.NewerKernelHeaders()
	var flags []string
	for _, dir := range newer {
		flags = append(flags, "-I", dir)
	}
	header, err := runC(cc, includes, append(flags, "-E", "-dD")...)
	if err != nil {
		testenv.SkipOrFail(t, "needs the kernel's headers: %v", err)
	}
	known := make(map[string]bool)
	identifiers := regexp.MustCompile(`[A-Za-z_]\w*`)
	for _, id := range identifiers.FindAllString(string(header), -1) {
		known[id] = true
	}
	var src strings.Builder
	src.WriteString(includes + "int main(void) {\n")
	var order, left []string
	for expression := range headerValues {
		missing := false
		for _, id := range identifiers.FindAllString(expression, -1) {
			missing = missing || !known[id] && id != "sizeof" && id != "struct" && id != "union"
		}
		if missing {
			left = append(left, expression)
			continue
		}
		fmt.Fprintf(&src, "\tprintf(\"%d %%llu\\n\", (unsigned long long)(unsigned)(%s));\n", len(order), expression)
		order = append(order, expression)
	}
	src.WriteString("\treturn 0;\n}\n")
	program := filepath.Join(t.TempDir(), "nic_headers")
	if out, err := runC(cc, src.String(), append(flags, "-o", program)...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program).Output()
	must(t, err)
	compared := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); compared++ {
		index, text, _ := strings.Cut(lines.Text(), " ")
		i, err := strconv.Atoi(index)
		must(t, err)
		got, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		if want := headerValues[order[i]]; got != want {
			t.Errorf("%s is %#x in the headers, %#x here", order[i], got, want)
		}
	}
	if compared != len(order) || compared < 40 {
		t.Errorf("compared %d values of %d", compared, len(order))
	}
	if len(newer) > 0 && len(left) > 0 {
		t.Errorf("not in the headers in %v: %v", newer, left)
	}
	t.Logf("compared %d values; not in these headers: %v", compared, left)
}

// runC feeds src to the C compiler and returns its output.
func runC(cc, src string, args ...string) ([]byte, error) {
	cmd := exec.Command(cc, append([]string{"-x", "c", "-"}, args...)...)
	cmd.Stdin = strings.NewReader(src)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return stderr.Bytes(), fmt.Errorf("%s: %w: %.500s", cc, err, stderr.String())
	}
	return out, nil
}
