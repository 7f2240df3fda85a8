package sim

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/testenv"
)

const tableFile = "testdata/throughput.txt"

// The path of the table: 100 Mbit/s, a round trip of 20 ms, so that 250 kB or 173
// full segments fill it.
const (
	tableRate    = 100_000_000 / 8
	tableLatency = 10 * time.Millisecond
	tableBytes   = 4 << 20
	tableSeeds   = 3
)

var (
	tableBuffers = []int{32, 64, 128, 256, 512, 1024}
	tableLosses  = []float64{0, 0.0001, 0.001, 0.01, 0.03, 0.1}
)

// How far a cell may be from the reviewed table: how the losses fall changes with
// every segment that is sent at another time.
const (
	worse  = 0.85
	better = 1.30
)

// TestThroughput holds the throughput of a transfer in simulated time, for each
// number of buffers and each loss rate, against the table in testdata, which
// -update writes. Much less is a regression; much more is to be recorded, lest it
// be lost again. Under the race detector, which changes nothing in simulated time, it
// looks at the four corners.
func TestThroughput(t *testing.T) {
	measured := func(i, k int) bool {
		corner := i%(len(tableBuffers)-1) == 0 && k%(len(tableLosses)-1) == 0
		return !testenv.Race || *updateFlag || corner
	}
	got := make([][]float64, len(tableBuffers))
	for i, buffers := range tableBuffers {
		for k, loss := range tableLosses {
			if !measured(i, k) {
				got[i] = append(got[i], 0)
				continue
			}
			var runs []float64
			for seed := range uint64(tableSeeds) {
				runs = append(runs, throughput(t, seed, buffers, loss))
			}
			slices.Sort(runs)
			got[i] = append(got[i], runs[len(runs)/2])
		}
	}
	if *updateFlag {
		if err := os.WriteFile(tableFile, renderTable(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := readTable()
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range got {
		for k, now := range row {
			if !measured(i, k) {
				continue
			}
			if why := judge(now, want[i][k]); why != "" {
				t.Errorf("%d buffers, loss %v: %.2f Mbit/s, reviewed were %.2f: %s", tableBuffers[i], tableLosses[k], now, want[i][k], why)
			}
		}
	}
	if t.Failed() {
		t.Logf("now:\n%s", renderTable(got))
	}
}

// judge says what is wrong with a cell, if anything is.
func judge(now, want float64) string {
	switch {
	case now < want*worse:
		return "a regression"
	case now > want*better:
		return "so much better that it should be recorded: go test ./test/sim -run TestThroughput -update"
	}
	return ""
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		now, want float64
		ok        bool
	}{{10, 10, true}, {8.6, 10, true}, {8.4, 10, false}, {12.9, 10, true}, {13.1, 10, false}} {
		if why := judge(tt.now, tt.want); (why == "") != tt.ok {
			t.Errorf("%v after %v: %q", tt.now, tt.want, why)
		}
	}
}

// throughput is that of one transfer in Mbit/s.
func throughput(t *testing.T, seed uint64, buffers int, loss float64) float64 {
	t.Helper()
	q := Quality{Drop: loss, Latency: tableLatency, Rate: tableRate}
	s := Settings{Buffers: buffers, MTU: 1500, SendSpace: 4 << 20}
	const n = tableBytes
	sc := &Scenario{
		Seed: seed, CheckEvery: 1000, Path: [2]Quality{q, {Latency: tableLatency, Rate: tableRate}}, Hosts: [2]Settings{s, s},
		Flows: []Plan{{Kind: Transfer, Bytes: [2]int64{n, 0}, Write: [2]int{1 << 20, 1}, Read: [2]int{1, 1 << 20}}},
	}
	var end time.Duration
	sc.Arrived = func(at time.Duration) { end = at }
	if _, err := Run(sc, MakeLocal); err != nil {
		t.Fatal(err)
	}
	return n * 8 / end.Seconds() / 1e6
}

func renderTable(cells [][]float64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Mbit/s of one transfer in simulated time: 100 Mbit/s, round trip 20 ms, CUBIC.\n")
	fmt.Fprintf(&b, "# Down: buffers of 4 KiB at the receiver. Across: probability that a segment is lost.\n")
	fmt.Fprintf(&b, "# Written by: go test ./test/sim -run TestThroughput -update\n%8s", "buffers")
	for _, l := range tableLosses {
		fmt.Fprintf(&b, "%9s", strconv.FormatFloat(l*100, 'f', -1, 64)+"%")
	}
	for i, row := range cells {
		fmt.Fprintf(&b, "\n%8d", tableBuffers[i])
		for _, c := range row {
			fmt.Fprintf(&b, "%9.2f", c)
		}
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// readTable reads the cells of the reviewed table.
func readTable() ([][]float64, error) {
	text, err := os.ReadFile(tableFile)
	if err != nil {
		return nil, err
	}
	var cells [][]float64
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" || fields[0] == "buffers" {
			continue
		}
		if len(cells) == len(tableBuffers) || fields[0] != strconv.Itoa(tableBuffers[len(cells)]) || len(fields) != 1+len(tableLosses) {
			return nil, fmt.Errorf("%s: row %q does not fit the test: write it with -update", tableFile, line)
		}
		var row []float64
		for _, f := range fields[1:] {
			c, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", tableFile, err)
			}
			row = append(row, c)
		}
		cells = append(cells, row)
	}
	if len(cells) != len(tableBuffers) {
		return nil, fmt.Errorf("%s: %d rows, want %d: write it with -update", tableFile, len(cells), len(tableBuffers))
	}
	return cells, nil
}
