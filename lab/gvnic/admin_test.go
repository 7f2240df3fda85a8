//go:build linux

package gvnic

import (
	"bytes"
	"testing"
)

// TestRegisters reads what the driver reads at probe.
func TestRegisters(t *testing.T) {
	for _, queues := range []int{1, 2, 16, 32} {
		g := newGuest(t, newDevice(t, Config{Queues: queues}))
		if s := g.readReg(regDeviceStatus); s != statusLinkUp {
			t.Errorf("device status %#x", s)
		}
		if tx, rx := g.readReg(regMaxTxQueues), g.readReg(regMaxRxQueues); tx != uint32(queues) || rx != uint32(queues) {
			t.Errorf("%d and %d queues, want %d", tx, rx, queues)
		}
		if n := g.dev.Info().Vectors; n != 2*queues+1 || n*16 > msixPBA {
			t.Errorf("%d vectors", n)
		}
		b := make([]byte, 8)
		g.try(g.c.ReadRegion(barRegisters, registersSize-8, b))
		g.try(g.c.ReadRegion(barDoorbells, 0, b))
		if !bytes.Equal(b, make([]byte, 8)) {
			t.Errorf("doorbells read as %x", b)
		}
		for i := range "gve" {
			g.try(g.c.WriteRegion(barRegisters, regDriverVersion, []byte("gve")[i:i+1]))
		}
		if s := g.dev.Stats(); s.BadRegisters != 0 {
			t.Errorf("%d bad registers", s.BadRegisters)
		}
		g.writeReg(regMaxTxQueues, 9)
		g.try(g.c.WriteRegion(barRegisters, regAdminDoorbell, []byte{0, 1}))
		g.try(g.c.WriteRegion(barRegisters, 3000, []byte{0, 1, 2, 3}))
		if s := g.dev.Stats(); s.BadRegisters != 3 {
			t.Errorf("%d bad registers, want 3", s.BadRegisters)
		}
	}
}

// An option of the device's description.
type option struct {
	id       uint16
	required uint32
	body     []byte
}

// describe gets the description, as gve_adminq_describe_device.
func (g *guest) describe() (fixed []byte, options []option) {
	g.t.Helper()
	page := g.alloc(4096)
	g.must(opDescribe, page, 1, 4096)
	b := g.at(page, 4096)
	fixed, b = b[:descriptorSize], b[:be.Uint16(b[32:])]
	b = b[descriptorSize:]
	for range be.Uint16(fixed[30:]) {
		o := option{id: be.Uint16(b), required: be.Uint32(b[4:])}
		n := int(be.Uint16(b[2:]))
		o.body = b[8 : 8+n]
		options, b = append(options, o), b[8+n:]
	}
	if len(b) != 0 {
		g.t.Errorf("%d bytes behind the last option", len(b))
	}
	return fixed, options
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		fixed  []byte // from byte 8 on, to the MAC
		mac    [6]byte
		want   map[uint16][]byte
	}{
		{
			"defaults", Config{},
			pack(nil, uint16(0), uint16(1024), uint16(1024), uint16(2), uint16(1500), uint16(128), uint16(0), uint16(0)),
			[6]byte{0x02, 0x1a, 0xe0, 0, 0, 1},
			map[uint16][]byte{
				optionDQORDA: pack(nil, 1|1<<2|1<<4|1<<5, 0), optionJumbo: pack(nil, 1<<2, uint16(1500), uint16(0)),
				optionBufferSizes: pack(nil, 1<<4, uint16(4096), uint16(128)),
				optionModifyRing:  pack(nil, 1, uint16(4096), uint16(4096), uint16(64), uint16(64)),
				optionFlows:       pack(nil, 1<<5, 0, 256),
			},
		},
		{
			"all else", Config{Index: 3, Queues: 16, MTU: 9000, BufferSize: 2048, Ring: 512, MinRing: 128, MaxRing: 2048,
				NoSplit: true, FlowRules: -1, RSSOption: true},
			pack(nil, uint16(0), uint16(512), uint16(512), uint16(16), uint16(9000), uint16(128), uint16(0), uint16(0)),
			[6]byte{0x02, 0x1a, 0xe0, 0, 0, 4},
			map[uint16][]byte{
				optionDQORDA: pack(nil, 1|1<<2|1<<4|1<<7, 0), optionJumbo: pack(nil, 1<<2, uint16(9000), uint16(0)),
				optionBufferSizes: pack(nil, 1<<4, uint16(2048), uint16(0)),
				optionModifyRing:  pack(nil, 1, uint16(2048), uint16(2048), uint16(128), uint16(128)),
				optionRSS:         pack(nil, 1<<7, uint16(40), uint16(128)),
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(t, newDevice(t, tt.config))
			g.startAdmin()
			fixed, options := g.describe()
			if !bytes.Equal(fixed[8:24], tt.fixed) || [6]byte(fixed[24:30]) != tt.mac || g.dev.MAC() != tt.mac {
				t.Errorf("description %x", fixed)
			}
			got := make(map[uint16][]byte)
			for _, o := range options {
				got[o.id] = o.body
				if o.required != 0 {
					t.Errorf("option %#x requires features", o.id)
				}
			}
			for id, body := range tt.want {
				if !bytes.Equal(got[id], body) {
					t.Errorf("option %#x: %x, want %x", id, got[id], body)
				}
			}
			if len(got) != len(tt.want) {
				t.Errorf("%d options, want %d", len(got), len(tt.want))
			}
		})
	}
}

// TestAdminErrors: whatever is wrong with a command has its status, and changes
// nothing.
func TestAdminErrors(t *testing.T) {
	g := newGuest(t, newDevice(t, Config{Queues: 2, MaxRing: 1024}))
	g.startAdmin()
	page, ring, compl := g.alloc(4096), g.alloc(1<<16), g.alloc(1<<16)
	const nowhere = uint64(64)
	end := uint64(guestBase + guestSize)
	expect := func(what string, want status, op uint32, fields ...any) {
		t.Helper()
		if s := g.command(op, fields...); s != want {
			t.Errorf("%s: status %#x, want %#x", what, uint32(s), uint32(want))
		}
	}
	tx := func(id, block int, res, ring, compl uint64, list uint32, n, m uint16) []any {
		return []any{id, 0, res, ring, list, block, compl, n, m}
	}
	rx := func(id, block int, res, compl, ring uint64, list uint32, m, buf, n uint16, hdr uint16) []any {
		return []any{id, 0, 0, block, res, compl, ring, list, m, buf, n, uint8(1), uint8(0), hdr}
	}
	raw := uint32(rawAddressing)

	expect("unknown opcode", unimplemented, 0x7f)
	expect("opcode 0", unimplemented, 0)
	expect("page lists", unimplemented, 3)
	expect("unknown extended opcode", unimplemented, opExtended, 0x102, 92, page)
	expect("extended of another length", invalidArgument, opExtended, opConfigureFlow, 91, page)
	expect("extended elsewhere", invalidArgument, opExtended, opConfigureFlow, 92, nowhere)

	expect("another descriptor version", invalidArgument, opDescribe, page, 2, 4096)
	expect("no room for the description", invalidArgument, opDescribe, page, 1, 39)
	expect("description elsewhere", invalidArgument, opDescribe, nowhere, 1, 4096)
	expect("description at the edge", invalidArgument, opDescribe, end-50, 1, 4096)

	info := g.at(page, driverInfoSize)
	clear(info)
	expect("driver without capabilities", failedPrecondition, opVerifyDriver, uint64(driverInfoSize), page)
	be.PutUint64(info[16:], capabilityDQORDA)
	expect("driver that can", passed, opVerifyDriver, uint64(driverInfoSize), page)
	expect("short driver info", invalidArgument, opVerifyDriver, uint64(100), page)
	expect("driver info elsewhere", invalidArgument, opVerifyDriver, uint64(driverInfoSize), nowhere)

	expect("queue before resources", failedPrecondition, opCreateTx, tx(0, 0, page, ring, compl, raw, 256, 256)...)
	expect("no resources to give back", failedPrecondition, opDeconfigure)
	dqo := uint8(formatDQORDA)
	expect("another queue format", invalidArgument, opConfigure, page, page, 1, 4, 64, 0, uint8(1))
	expect("no blocks", outOfRange, opConfigure, page, page, 1, 0, 64, 0, dqo)
	expect("more blocks than vectors", outOfRange, opConfigure, page, page, 1, 5, 64, 0, dqo)
	expect("huge number of blocks", outOfRange, opConfigure, page, page, 1, uint32(1<<31), 64, 0, dqo)
	expect("stride 0", invalidArgument, opConfigure, page, page, 1, 4, 0, 0, dqo)
	expect("odd stride", invalidArgument, opConfigure, page, page, 1, 4, 6, 0, dqo)
	expect("huge stride", invalidArgument, opConfigure, page, page, 1, 4, uint32(1<<31), 0, dqo)
	expect("vectors from 2", outOfRange, opConfigure, page, page, 1, 4, 64, 2, dqo)
	expect("too many counters", outOfRange, opConfigure, page, page, 129, 4, 64, 0, dqo)
	expect("counters elsewhere", invalidArgument, opConfigure, nowhere, page, 1, 4, 64, 0, dqo)
	expect("doorbells at the edge", invalidArgument, opConfigure, page, end-64, 1, 4, 64, 0, dqo)
	expect("misaligned doorbells", invalidArgument, opConfigure, page, page+2, 1, 4, 64, 0, dqo)
	g.configure()
	expect("resources twice", alreadyExists, opConfigure, page, page, 1, 4, 64, 0, dqo)

	for _, tt := range []struct {
		what   string
		want   status
		fields []any
	}{
		{"a queue too many", outOfRange, tx(2, 0, page, ring, compl, raw, 256, 256)},
		{"huge id", outOfRange, tx(-1, 0, page, ring, compl, raw, 256, 256)},
		{"block too many", outOfRange, tx(0, 4, page, ring, compl, raw, 256, 256)},
		{"huge block", outOfRange, tx(0, -1, page, ring, compl, raw, 256, 256)},
		{"page list", invalidArgument, tx(0, 0, page, ring, compl, 0, 256, 256)},
		{"not a power of two", invalidArgument, tx(0, 0, page, ring, compl, raw, 255, 256)},
		{"empty ring", invalidArgument, tx(0, 0, page, ring, compl, raw, 0, 256)},
		{"ring too small", invalidArgument, tx(0, 0, page, ring, compl, raw, 32, 256)},
		{"ring too large", invalidArgument, tx(0, 0, page, ring, compl, raw, 2048, 256)},
		{"completions not a power of two", invalidArgument, tx(0, 0, page, ring, compl, raw, 256, 100)},
		{"misaligned ring", invalidArgument, tx(0, 0, page, ring+8, compl, raw, 256, 256)},
		{"misaligned completions", invalidArgument, tx(0, 0, page, ring, compl+4, raw, 256, 256)},
		{"misaligned resources", invalidArgument, tx(0, 0, page+1, ring, compl, raw, 256, 256)},
		{"ring elsewhere", invalidArgument, tx(0, 0, page, nowhere, compl, raw, 256, 256)},
		{"ring at the edge", invalidArgument, tx(0, 0, page, end-255*16, compl, raw, 256, 256)},
		{"ring at the end of all", invalidArgument, tx(0, 0, page, 1<<64-4096, compl, raw, 256, 256)},
		{"completions elsewhere", invalidArgument, tx(0, 0, page, ring, nowhere, raw, 256, 256)},
		{"resources elsewhere", invalidArgument, tx(0, 0, nowhere, ring, compl, raw, 256, 256)},
		{"sound", passed, tx(0, 0, page, ring, compl, raw, 256, 512)},
		{"twice", alreadyExists, tx(0, 0, page, ring, compl, raw, 256, 256)},
	} {
		expect("TX: "+tt.what, tt.want, opCreateTx, tt.fields...)
	}
	for _, tt := range []struct {
		what   string
		want   status
		fields []any
	}{
		{"a queue too many", outOfRange, rx(2, 2, page, compl, ring, raw, 256, 4096, 256, 128)},
		{"huge block", outOfRange, rx(0, -1, page, compl, ring, raw, 256, 4096, 256, 128)},
		{"page list", invalidArgument, rx(0, 2, page, compl, ring, 1, 256, 4096, 256, 128)},
		{"odd buffer size", invalidArgument, rx(0, 2, page, compl, ring, raw, 256, 4095, 256, 128)},
		{"no buffer size", invalidArgument, rx(0, 2, page, compl, ring, raw, 256, 0, 256, 128)},
		{"odd header size", invalidArgument, rx(0, 2, page, compl, ring, raw, 256, 4096, 256, 64)},
		{"huge header size", invalidArgument, rx(0, 2, page, compl, ring, raw, 256, 4096, 256, 65535)},
		{"fewer completions than buffers", invalidArgument, rx(0, 2, page, compl, ring, raw, 128, 4096, 256, 128)},
		{"buffers not a power of two", invalidArgument, rx(0, 2, page, compl, ring, raw, 256, 4096, 200, 128)},
		{"ring elsewhere", invalidArgument, rx(0, 2, page, compl, nowhere, raw, 256, 4096, 256, 128)},
		{"completions elsewhere", invalidArgument, rx(0, 2, page, nowhere, ring, raw, 256, 4096, 256, 128)},
		{"misaligned completions", invalidArgument, rx(0, 2, page, compl+16, ring, raw, 256, 4096, 256, 128)},
		{"resources elsewhere", invalidArgument, rx(0, 2, nowhere, compl, ring, raw, 256, 4096, 256, 128)},
		{"sound", passed, rx(0, 2, page, compl, ring, raw, 512, 2048, 256, 0)},
		{"twice", alreadyExists, rx(0, 2, page, compl, ring, raw, 256, 4096, 256, 128)},
	} {
		expect("RX: "+tt.what, tt.want, opCreateRx, tt.fields...)
	}
	expect("resources with queues", failedPrecondition, opDeconfigure)
	for _, op := range []uint32{opDestroyTx, opDestroyRx} {
		expect("destroy what is not there", notFound, op, 1)
		expect("destroy what can't be", notFound, op, -1)
		expect("destroy", passed, op, 0)
		expect("destroy twice", notFound, op, 0)
	}

	expect("another parameter", unimplemented, opSetParameter, 2, 0, uint64(1500))
	expect("MTU", passed, opSetParameter, 1, 0, uint64(1400))
	expect("MTU too large", outOfRange, opSetParameter, 1, 0, uint64(1501))
	expect("MTU too small", outOfRange, opSetParameter, 1, 0, uint64(67))
	expect("speed elsewhere", invalidArgument, opReportSpeed, nowhere)
	expect("speed", passed, opReportSpeed, page)
	if v := be.Uint64(g.at(page, 8)); v != 100_000 {
		t.Errorf("link speed %d", v)
	}
	expect("short type map", invalidArgument, opPtypeMap, uint64(2047), page)
	expect("type map", passed, opPtypeMap, uint64(2048), page)
	if b := g.at(page, 2048); !bytes.Equal(b[:8], []byte{0, 0, 2, 2, 3, 2, 2, 3}) {
		t.Errorf("type map %x", b[:32])
	}

	expect("report too short", invalidArgument, opReportStats, uint64(7), page, uint64(1000))
	expect("report of an odd size", invalidArgument, opReportStats, uint64(8+15), page, uint64(1000))
	expect("huge report", invalidArgument, opReportStats, uint64(1)<<40, page, uint64(1000))
	expect("report elsewhere", invalidArgument, opReportStats, uint64(8+64), nowhere, uint64(1000))
	expect("report", passed, opReportStats, uint64(8+64), page, uint64(1)<<63)
	expect("no report", passed, opReportStats, uint64(0), uint64(0), uint64(1000))

	expect("resources back", passed, opDeconfigure)
	expect("resources back twice", failedPrecondition, opDeconfigure)
	if s := g.dev.Stats(); s.AdminCommands != uint64(g.prod) || s.AdminErrors < 60 || s.AdminFaults != 0 {
		t.Errorf("%d commands, %d errors, %d faults; the driver made %d", s.AdminCommands, s.AdminErrors, s.AdminFaults, g.prod)
	}
}

// TestAdminRSS: what QUERY_RSS tells is what CONFIGURE_RSS set; parts left out
// stay.
func TestAdminRSS(t *testing.T) {
	g := newGuest(t, newDevice(t, Config{Queues: 4, RSSOption: true}))
	g.startAdmin()
	key, table, answer := g.alloc(4096), g.alloc(4096), g.alloc(4096)
	wantKey, wantTable := append([]byte(nil), microsoftKey[:]...), make([]byte, 0, 512)
	for i := range rssTableSize {
		wantTable = be.AppendUint32(wantTable, uint32(i%4))
	}
	check := func(what string, types uint16) {
		t.Helper()
		g.must(opQueryRSS, uint64(4096), answer)
		b := g.at(answer, 4096)
		want := pack(nil, 8+40+512, types, uint8(1), uint8(0), wantKey, wantTable)
		if !bytes.Equal(b[:len(want)], want) {
			t.Errorf("%s: %x, want %x", what, b[:len(want)], want)
		}
	}
	check("default", hashIPv4|hashIPv6|hashTCPv4|hashTCPv6|hashUDPv4|hashUDPv6)
	types := uint16(hashTCPv4 | hashTCPv6)
	wantKey = pattern(1, rssKeySize)
	copy(g.at(key, rssKeySize), wantKey)
	g.must(opConfigureRSS, types, uint8(1), uint8(0), uint16(40), uint16(0), key, uint64(0))
	check("key", types)
	clear(wantTable)
	copy(g.at(table, 512), wantTable)
	g.must(opConfigureRSS, uint16(0), uint8(0), uint8(0), uint16(0), uint16(128), uint64(0), table)
	check("table", types)
	for what, tt := range map[string]struct {
		want   status
		fields []any
	}{
		"hash function":   {unimplemented, []any{uint16(0), uint8(2), uint8(0), uint16(0), uint16(0), key, table}},
		"hash types":      {invalidArgument, []any{uint16(1 << 9), uint8(1), uint8(0), uint16(0), uint16(0), key, table}},
		"key size":        {invalidArgument, []any{uint16(0), uint8(1), uint8(0), uint16(41), uint16(0), key, table}},
		"table size":      {invalidArgument, []any{uint16(0), uint8(1), uint8(0), uint16(0), uint16(64), key, table}},
		"key elsewhere":   {invalidArgument, []any{types, uint8(1), uint8(0), uint16(40), uint16(0), uint64(0), table}},
		"table elsewhere": {invalidArgument, []any{types, uint8(1), uint8(0), uint16(40), uint16(128), key, uint64(0)}},
	} {
		copy(g.at(key, rssKeySize), pattern(9, rssKeySize))
		if s := g.command(opConfigureRSS, tt.fields...); s != tt.want {
			t.Errorf("%s: status %#x, want %#x", what, uint32(s), uint32(tt.want))
		}
		check(what, types)
	}
	be.PutUint32(g.at(table, 512)[508:], 4)
	if s := g.command(opConfigureRSS, uint16(0), uint8(1), uint8(0), uint16(0), uint16(128), key, table); s != outOfRange {
		t.Errorf("a queue too many in the table: status %#x", uint32(s))
	}
	check("a queue too many", types)
	if s := g.command(opQueryRSS, uint64(rssAnswer-1), answer); s != invalidArgument {
		t.Errorf("no room: status %#x", uint32(s))
	}
}

// flowCommand configures a rule through the extended command.
func (g *guest) flowCommand(op uint16, r flowRule) status {
	g.t.Helper()
	b := g.at(g.inner, flowCommandSize)
	clear(b)
	be.PutUint16(b, op)
	r.write(b[4:])
	be.PutUint32(b[4+flowRuleSize:], r.location)
	return g.command(opExtended, opConfigureFlow, flowCommandSize, g.inner)
}

// TestAdminFlows: rules are kept, listed in pieces, and deleted.
func TestAdminFlows(t *testing.T) {
	g := newGuest(t, newDevice(t, Config{FlowRules: 200}))
	g.startAdmin()
	answer := g.alloc(4096)
	query := func(op uint16, first uint32, room int) (b []byte, n int) {
		t.Helper()
		g.must(opQueryFlows, op, uint16(0), first, uint64(room), answer)
		b = g.at(answer, 4096)
		n = int(be.Uint32(b[8:]))
		size := map[uint16]int{queryRules: flowQueriedSize, queryIDs: 4, queryCounts: 0}[op]
		if be.Uint32(b[4:]) != 200 || int(be.Uint32(b[12:])) != flowAnswerSize+n*size {
			t.Fatalf("query %d: %x", op, b[:16])
		}
		return b[flowAnswerSize:], n
	}
	for l := uint32(0); l < 200; l += 2 {
		if s := g.flowCommand(flowAdd, portRule(198-l, uint16(l), 1, false)); s != passed {
			t.Fatalf("rule %d: status %#x", l, uint32(s))
		}
	}
	if _, n := query(queryCounts, 0, 16); n != 0 || be.Uint32(g.at(answer, 4)) != 100 {
		t.Errorf("%d rules", be.Uint32(g.at(answer, 4)))
	}
	// The driver asks for the ids from one behind the last on, until none come.
	var ids []uint32
	for first := uint32(0); ; first = ids[len(ids)-1] + 1 {
		b, n := query(queryIDs, first, 16+4*30)
		if n == 0 {
			break
		}
		if n > 30 {
			t.Fatalf("%d ids in room for 30", n)
		}
		for i := range n {
			ids = append(ids, be.Uint32(b[4*i:]))
		}
	}
	for i, id := range ids {
		if id != uint32(2*i) || len(ids) != 100 {
			t.Fatalf("ids %v", ids)
		}
	}
	for i := range g.at(answer, 4096) {
		g.at(answer, 4096)[i] = 0xff
	}
	b, n := query(queryRules, 7, 4096)
	if !bytes.Equal(b[4+4+37:4+4+40], []byte{0, 0, 0}) {
		t.Errorf("padding %x", b[4+4+37:4+4+40])
	}
	if n != 46 {
		t.Errorf("%d rules in a page", n)
	}
	var r flowRule
	r.read(b[4:])
	r.location = be.Uint32(b)
	if r != portRule(8, 190, 1, false) {
		t.Errorf("first rule from 7 on: %+v", r)
	}
	for what, tt := range map[string]struct {
		op   uint16
		r    flowRule
		want status
	}{
		"location":  {flowAdd, portRule(200, 1, 1, false), outOfRange},
		"queue":     {flowAdd, portRule(1, 1, 2, false), outOfRange},
		"type":      {flowAdd, flowRule{kind: numFlowTypes}, invalidArgument},
		"operation": {3, flowRule{}, unimplemented},
		"not there": {flowDelete, flowRule{location: 1}, notFound},
		"nowhere":   {flowDelete, flowRule{location: 1 << 31}, outOfRange},
		"delete":    {flowDelete, flowRule{location: 8}, passed},
	} {
		if s := g.flowCommand(tt.op, tt.r); s != tt.want {
			t.Errorf("%s: status %#x, want %#x", what, uint32(s), uint32(tt.want))
		}
	}
	if _, n := query(queryIDs, 0, 4096); n != 99 {
		t.Errorf("%d rules, want 99", n)
	}
	for what, tt := range map[string]struct {
		op    uint16
		room  uint64
		where uint64
		want  status
	}{
		"operation": {3, 4096, answer, unimplemented}, "no room": {queryIDs, 15, answer, invalidArgument},
		"elsewhere": {queryIDs, 4096, 64, invalidArgument}, "huge room": {queryIDs, 1 << 63, answer, passed},
	} {
		if s := g.command(opQueryFlows, tt.op, uint16(0), 0, tt.room, tt.where); s != tt.want {
			t.Errorf("query, %s: status %#x, want %#x", what, uint32(s), uint32(tt.want))
		}
	}
	if s := g.flowCommand(flowReset, flowRule{}); s != passed {
		t.Errorf("reset: %#x", uint32(s))
	}
	if _, n := query(queryIDs, 0, 4096); n != 0 {
		t.Errorf("%d rules after the reset", n)
	}

	g = newGuest(t, newDevice(t, Config{FlowRules: -1}))
	g.startAdmin()
	if s := g.flowCommand(flowAdd, portRule(0, 1, 1, false)); s != unimplemented {
		t.Errorf("a device without steering: %#x", uint32(s))
	}
	if s := g.command(opQueryFlows, uint16(0), uint16(0), 0, uint64(4096), uint64(guestBase)); s != unimplemented {
		t.Errorf("a device without steering: %#x", uint32(s))
	}
}

// TestAdminQueue: many commands at one doorbell, round the ring; and doorbells
// and rings that make no sense.
func TestAdminQueue(t *testing.T) {
	g := newGuest(t, newDevice(t, Config{}))
	g.writeReg(regAdminDoorbell, 1) // before there is a ring
	g.startAdmin()
	for range 5 {
		for i := range 50 {
			b := g.at(g.adm+uint64((g.prod+uint32(i))%64*64), 64)
			clear(b)
			be.PutUint32(b, opReportSpeed)
			be.PutUint64(b[8:], g.inner)
		}
		g.prod += 50
		g.writeReg(regAdminDoorbell, g.prod)
		if n := g.readReg(regAdminCounter); n != g.prod {
			t.Fatalf("event counter %d, want %d", n, g.prod)
		}
		for i := range 50 {
			if s := be.Uint32(g.at(g.adm+uint64((g.prod-50+uint32(i))%64*64)+4, 4)); status(s) != passed {
				t.Fatalf("command %d: status %#x", i, s)
			}
		}
	}
	faults := g.dev.Stats().AdminFaults
	g.writeReg(regAdminDoorbell, g.prod+65)
	g.writeReg(regAdminDoorbell, g.prod-1)
	g.writeReg(regAdminBaseHigh, 0xffff) // out of memory
	g.writeReg(regAdminDoorbell, g.prod+1)
	g.writeReg(regAdminBaseHigh, uint32(g.adm>>32))
	g.writeReg(regAdminBaseLow, uint32(g.adm)+4)
	g.writeReg(regAdminDoorbell, g.prod+1)
	g.writeReg(regAdminBaseLow, uint32(g.adm))
	g.try(g.c.WriteRegion(barRegisters, regAdminLength, []byte{0x10, 0x01}))
	g.writeReg(regAdminDoorbell, g.prod+1)
	if s := g.dev.Stats(); s.AdminFaults != faults+5 || faults != 1 || g.readReg(regAdminCounter) != g.prod {
		t.Errorf("%d faults before, %d after; event counter %d, want %d", faults, s.AdminFaults, g.readReg(regAdminCounter), g.prod)
	}
	g.try(g.c.WriteRegion(barRegisters, regAdminLength, []byte{0x10, 0}))
	g.must(opReportSpeed, g.inner)
}
