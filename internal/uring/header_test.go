//go:build linux

package uring

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

	"github.com/zctap/zctap/internal/testenv"
)

// cValue is a number that this package and linux/io_uring.h must agree on.
type cValue struct {
	c string // a C expression
	// known is an identifier that is in the header if the expression can be compiled; older headers lack the newest.
	known string
	want  uint64
}

// headerConstants are this package's constants by their names in the header.
var headerConstants = map[string]uint64{
	"IORING_SETUP_CQSIZE": uint64(SetupCQSize), "IORING_SETUP_CLAMP": uint64(SetupClamp),
	"IORING_SETUP_R_DISABLED": uint64(SetupRDisabled), "IORING_SETUP_SUBMIT_ALL": uint64(SetupSubmitAll),
	"IORING_SETUP_COOP_TASKRUN": uint64(SetupCoopTaskrun), "IORING_SETUP_TASKRUN_FLAG": uint64(SetupTaskrunFlag),
	"IORING_SETUP_CQE32": uint64(SetupCQE32), "IORING_SETUP_SINGLE_ISSUER": uint64(SetupSingleIssuer),
	"IORING_SETUP_DEFER_TASKRUN": uint64(SetupDeferTaskrun), "IORING_SETUP_NO_SQARRAY": uint64(SetupNoSQArray),
	"IORING_SETUP_CQE_MIXED": uint64(SetupCQEMixed),

	"IORING_FEAT_SINGLE_MMAP": uint64(FeatSingleMmap), "IORING_FEAT_NODROP": uint64(FeatNoDrop),
	"IORING_FEAT_SUBMIT_STABLE": uint64(FeatSubmitStable), "IORING_FEAT_EXT_ARG": uint64(FeatExtArg),
	"IORING_FEAT_RECVSEND_BUNDLE": uint64(FeatRecvSendBundle),

	"IORING_OFF_SQ_RING": mmapRings, "IORING_OFF_SQES": mmapSQEs,
	"IORING_OFF_PBUF_RING": mmapPbufRing, "IORING_OFF_PBUF_SHIFT": mmapPbufShift,

	"IORING_SQ_NEED_WAKEUP": 1, "IORING_SQ_CQ_OVERFLOW": sqCQOverflow, "IORING_SQ_TASKRUN": sqTaskrun,
	"IORING_ENTER_GETEVENTS": enterGetEvents, "IORING_ENTER_EXT_ARG": enterExtArg,
	"IORING_ENTER_REGISTERED_RING": enterRegisteredRing,

	"IORING_OP_NOP": uint64(OpNop), "IORING_OP_POLL_ADD": uint64(OpPollAdd), "IORING_OP_POLL_REMOVE": uint64(OpPollRemove),
	"IORING_OP_SENDMSG": uint64(OpSendMsg), "IORING_OP_RECVMSG": uint64(OpRecvMsg), "IORING_OP_TIMEOUT": uint64(OpTimeout),
	"IORING_OP_ACCEPT": uint64(OpAccept), "IORING_OP_ASYNC_CANCEL": uint64(OpAsyncCancel), "IORING_OP_CONNECT": uint64(OpConnect),
	"IORING_OP_CLOSE": uint64(OpClose), "IORING_OP_SEND": uint64(OpSend), "IORING_OP_RECV": uint64(OpRecv),
	"IORING_OP_SHUTDOWN": uint64(OpShutdown), "IORING_OP_MSG_RING": uint64(OpMsgRing), "IORING_OP_RECV_ZC": uint64(OpRecvZC),

	"IOSQE_IO_DRAIN": uint64(IODrain), "IOSQE_IO_LINK": uint64(IOLink), "IOSQE_ASYNC": uint64(AsyncIO),
	"IOSQE_BUFFER_SELECT": uint64(BufferSelect), "IOSQE_CQE_SKIP_SUCCESS": uint64(CQESkipSuccess),

	"IORING_RECVSEND_POLL_FIRST": uint64(RecvSendPollFirst), "IORING_RECV_MULTISHOT": uint64(RecvMultishotFlag),
	"IORING_RECVSEND_BUNDLE": uint64(RecvSendBundle), "IORING_ACCEPT_MULTISHOT": acceptMultishot,
	"IORING_POLL_ADD_MULTI": uint64(PollMultishot), "IORING_MSG_DATA": msgRingData,
	"IORING_ASYNC_CANCEL_ALL": cancelAll, "IORING_ASYNC_CANCEL_FD": cancelFD, "IORING_ASYNC_CANCEL_ANY": cancelAny,
	"IORING_NOP_CQE32": nopCQE32,

	"IORING_CQE_F_BUFFER": uint64(CQEBuffer), "IORING_CQE_F_MORE": uint64(CQEMore),
	"IORING_CQE_F_SOCK_NONEMPTY": uint64(CQESockNonempty), "IORING_CQE_F_NOTIF": uint64(CQENotif),
	"IORING_CQE_F_BUF_MORE": uint64(CQEBufMore), "IORING_CQE_F_SKIP": uint64(CQESkip), "IORING_CQE_F_32": uint64(CQE32),
	"IORING_CQE_BUFFER_SHIFT": cqeBufferShift,

	"IORING_REGISTER_EVENTFD": registerEventfd, "IORING_UNREGISTER_EVENTFD": unregisterEventfd,
	"IORING_REGISTER_PROBE": registerProbe, "IORING_REGISTER_ENABLE_RINGS": registerEnableRings,
	"IORING_REGISTER_RING_FDS": registerRingFDs, "IORING_UNREGISTER_RING_FDS": unregisterRingFDs,
	"IORING_REGISTER_PBUF_RING": registerPbufRing, "IORING_UNREGISTER_PBUF_RING": unregisterPbufRing,
	"IORING_REGISTER_PBUF_STATUS": registerPbufStatus, "IORING_REGISTER_SEND_MSG_RING": registerSendMsgRing,
	"IORING_REGISTER_ZCRX_IFQ": registerZCRXIfq, "IORING_REGISTER_QUERY": registerQuery,
	"IORING_REGISTER_ZCRX_CTRL": registerZCRXCtrl,
	"IO_URING_OP_SUPPORTED":     probeOpSupported, "IOU_PBUF_RING_MMAP": pbufMmap, "IOU_PBUF_RING_INC": pbufIncremental,

	"IORING_MEM_REGION_TYPE_USER": regionTypeUser, "IORING_ZCRX_AREA_SHIFT": zcrxAreaShift,
	"IORING_ZCRX_AREA_DMABUF": zcrxAreaDMABuf, "ZCRX_REG_IMPORT": zcrxRegImport, "ZCRX_REG_NODEV": zcrxRegNodev,
	"ZCRX_FEATURE_RX_PAGE_SIZE": zcrxFeatBufLen, "ZCRX_FEATURE_EVENT": zcrxFeatEvent,
	"ZCRX_EVENT_DESC_FLAG_STATS": zcrxEventDescStats,
	"ZCRX_CTRL_FLUSH_RQ":         ctrlFlushRQ, "ZCRX_CTRL_EXPORT": ctrlExport,
	"ZCRX_CTRL_ARM_EVENT": ctrlArmEvent, "ZCRX_CTRL_ADD_AREA": ctrlAddArea,
	"IO_URING_QUERY_OPCODES": queryOpcodes, "IO_URING_QUERY_ZCRX": queryZCRX, "IO_URING_QUERY_ZCRX_EVENT": queryZCRXEvent,
}

const includes = `
#include <linux/io_uring.h>
#if __has_include(<linux/io_uring/query.h>)
#include <linux/io_uring/query.h>
#endif
`

// TestAgainstKernelHeader compiles a program against the machine's linux/io_uring.h and compares what it prints. In newer
// headers, in the folders that the environment variable testenv.KernelInclude names, each value has to be.
func TestAgainstKernelHeader(t *testing.T) {
	cc := testenv.NeedCommand(t, "cc")
	newer := testenv.NewerKernelHeaders()
	var flags []string
	for _, dir := range newer {
		flags = append(flags, "-I", dir)
	}
	header, err := runC(cc, includes, append(flags, "-E", "-dD")...)
	if err != nil {
		testenv.SkipOrFail(t, "needs linux/io_uring.h: %v", err)
	}
	known := make(map[string]bool)
	for _, id := range regexp.MustCompile(`[A-Za-z_]\w*`).FindAllString(string(header), -1) {
		known[id] = true
	}

	values := append(layoutValues(), zcrxLayoutValues()...)
	for name, v := range headerConstants {
		values = append(values, cValue{name, name, v})
	}
	var src strings.Builder
	src.WriteString("#include <stdio.h>\n#include <stddef.h>\n" + includes + "int main(void) {\n")
	var left []string
	compiled := 0
	for i, v := range values {
		if !known[v.known] {
			left = append(left, v.c)
			continue
		}
		compiled++
		fmt.Fprintf(&src, "\tprintf(\"%d %%llu\\n\", (unsigned long long)(%s));\n", i, v.c)
	}
	src.WriteString("\treturn 0;\n}\n")
	program := filepath.Join(t.TempDir(), "io_uring_header")
	if out, err := runC(cc, src.String(), append(flags, "-o", program)...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program).Output()
	must(t, err)
	compared := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); compared++ {
		index, number, _ := strings.Cut(lines.Text(), " ")
		i, err := strconv.Atoi(index)
		must(t, err)
		got, err := strconv.ParseUint(number, 10, 64)
		must(t, err)
		if v := values[i]; got != v.want {
			t.Errorf("%s is %#x in the header, %#x here", v.c, got, v.want)
		}
	}
	if compared != compiled || compared < 100 {
		t.Errorf("compared %d values of %d", compared, compiled)
	}
	if len(newer) > 0 && len(left) > 0 {
		t.Errorf("not in the headers in %v: %v", newer, left)
	}
	t.Logf("compared %d values; not in this header: %v", compared, left)
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
