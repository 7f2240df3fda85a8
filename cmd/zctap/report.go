//go:build linux

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/zctap/zctap"
)

// A report is the result of one receiver, as --json prints it.
type report struct {
	Receiver      string            `json:"receiver"` // "zctap", or "net.Conn" for the comparison
	Engine        string            `json:"engine,omitempty"`
	Wire          string            `json:"wire"` // what the stream came over
	XDPMode       string            `json:"xdp_mode,omitempty"`
	XDPWhy        string            `json:"xdp_why,omitempty"` // why it is not a better one
	CopyMode      string            `json:"copy_mode,omitempty"`
	CopyWhy       string            `json:"copy_why,omitempty"` // why it is not a better one
	Why           []reason          `json:"why,omitempty"`
	Bytes         int64             `json:"bytes"`
	ZeroCopyBytes uint64            `json:"zero_copy_bytes"`
	CopiedBytes   uint64            `json:"copied_bytes"`
	Seconds       float64           `json:"seconds"`
	GBPerSecond   float64           `json:"gb_per_second"`
	CPUSeconds    float64           `json:"cpu_seconds"`
	UserSeconds   float64           `json:"cpu_user_seconds"`
	SystemSeconds float64           `json:"cpu_system_seconds"`
	SenderSeconds float64           `json:"sender_cpu_seconds,omitempty"` // of the sending process, where we started one
	PeakMemory    int64             `json:"peak_resident_bytes"`          // of this process, since it began
	RecvCalls     uint64            `json:"recv_calls"`
	Verified      bool              `json:"verified"`
	Mismatches    int64             `json:"mismatches"`
	Leaked        int               `json:"leaked_buffers"`
	Drops         map[string]uint64 `json:"drops"`
	Events        map[string]uint64 `json:"events,omitempty"`
	SHA256        string            `json:"sha256,omitempty"`
	CRC32C        *uint32           `json:"crc32c,omitempty"` // where the receiver was to read the payload
	Comparison    *report           `json:"comparison,omitempty"`
}

// A reason is why an engine or a wire was passed over.
type reason struct {
	Engine string `json:"engine"`
	Reason string `json:"reason"`
}

// asFlags has fields of zctap.Config called by their flags.
var asFlags = strings.NewReplacer("Config.Interface", "--interface", "Config.TUN", "--tun")

func reasons(why []zctap.Reason) (out []reason) {
	for _, w := range why {
		out = append(out, reason{w.Engine, asFlags.Replace(w.Err.Error())})
	}
	return out
}

// took fills in what the transfer of r.Bytes took.
func (r *report) took(c cost) {
	r.Seconds = c.wall.Seconds()
	r.CPUSeconds, r.UserSeconds, r.SystemSeconds = c.cpu().Seconds(), c.user.Seconds(), c.sys.Seconds()
	r.PeakMemory = peakResident()
	if r.Seconds > 0 {
		r.GBPerSecond = float64(r.Bytes) / 1e9 / r.Seconds
	}
}

// sameCRC fails if two receivers of the same stream have found another in it.
func (r *report) sameCRC(other *report) error {
	if r.CRC32C == nil || *r.CRC32C == *other.CRC32C {
		return nil
	}
	return fmt.Errorf("%s received other bytes than %s: CRC-32C %08x and %08x", r.Receiver, other.Receiver, *r.CRC32C, *other.CRC32C)
}

// perGB is s for each 10^9 bytes received.
func (r *report) perGB(s float64) float64 {
	if r.Bytes == 0 {
		return 0
	}
	return s / (float64(r.Bytes) / 1e9)
}

// writeTable prints the receivers beside each other.
func writeTable(w io.Writer, receivers ...*report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(*report) string) {
		fmt.Fprintf(t, "%s\t", name)
		for _, r := range receivers {
			fmt.Fprintf(t, "%s\t", cell(r))
		}
		fmt.Fprintln(t)
	}
	row("", func(r *report) string { return r.Receiver })
	row("engine", func(r *report) string { return orDash(r.Engine) })
	row("wire", func(r *report) string { return r.Wire })
	row("received", func(r *report) string { return humanBytes(r.Bytes) })
	row("GB/s", func(r *report) string { return fmt.Sprintf("%.2f", r.GBPerSecond) })
	row("CPU s/GB", func(r *report) string { return fmt.Sprintf("%.3f", r.perGB(r.CPUSeconds)) })
	row("  user", func(r *report) string { return fmt.Sprintf("%.3f", r.perGB(r.UserSeconds)) })
	row("  system", func(r *report) string { return fmt.Sprintf("%.3f", r.perGB(r.SystemSeconds)) })
	row("zero-copy bytes", func(r *report) string { return strconv.FormatUint(r.ZeroCopyBytes, 10) })
	row("copied bytes", func(r *report) string { return strconv.FormatUint(r.CopiedBytes, 10) })
	row("receive calls", func(r *report) string { return strconv.FormatUint(r.RecvCalls, 10) })
	row("wrong bytes", func(r *report) string {
		if !r.Verified && r.Mismatches == 0 {
			return "not verified"
		}
		return strconv.FormatInt(r.Mismatches, 10)
	})
	row("buffers leaked", func(r *report) string {
		if r.Engine == "" {
			return "-"
		}
		return strconv.Itoa(r.Leaked)
	})
	return t.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
