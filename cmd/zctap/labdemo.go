//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/lab"
)

const (
	labPort   = "9000"
	labFrames = "/out/page-frames"
)

// A labReport is what `zctap lab demo` comes to.
type labReport struct {
	*report
	Kernel string `json:"kernel"`
	// The proof: the page frames of physical memory that the NIC says it wrote
	// payload to, and those that the application's views lay in, which are all among
	// them.
	NICFrames       int  `json:"nic_page_frames"`
	ViewFrames      int  `json:"view_page_frames"`
	PageFramesMatch bool `json:"page_frames_match"`
}

// runDemo receives a stream with engine zcrx in the guest, from a sender at the
// other end of the wire, and compares where it lies with where the NIC put it.
func (o *labOptions) runDemo(ctx context.Context, env *environ) error {
	s, err := o.setup(env)
	if err != nil {
		return err
	}
	at, netns, receive := "127.0.0.1:"+labPort, "", []string{"--nodev"}
	if !o.noDevice {
		at, netns = labOurs[0].Addr().String()+":"+labPort, labPeer
		receive = []string{"--interface", "eth0", "--queue", strconv.Itoa(labQueue)}
	}
	seed, size := strconv.Itoa(demoSeed), strconv.FormatInt(int64(o.size), 10)
	s.job.Steps = []lab.Step{
		{
			Name: "receiver", Background: true,
			Args: append([]string{
				"zctap", "recv", "--engine", zctap.ZCRX, "--listen", at,
				"--pattern", seed, "--page-frames", labFrames, "--json", "--buffers", strconv.Itoa(o.demoBuffers()),
			}, receive...),
		},
		{
			Name: "sender", Netns: netns,
			Args: []string{"zctap", "send", at, "--size", size, "--pattern", seed, "--wait", "1m"},
		},
	}
	s.job.Collect = []string{labFrames}
	if s.job.Timeout == 0 {
		s.job.Timeout = demoTimeout(int64(o.size))
	}
	res, err := s.run(ctx)
	if err != nil {
		return errors.Join(s.blameNIC(), err)
	}
	r := &labReport{report: &report{}, Kernel: res.Release}
	if err := json.Unmarshal(res.Step("receiver").Stdout, r.report); err != nil {
		return fmt.Errorf("the receiver's report: %w", err)
	}
	err = errors.Join(r.check(int64(o.size), true), r.compareFrames(s, res, o.noDevice))
	if o.asJSON {
		return errors.Join(writeJSON(env.stdout, r), err)
	}
	return errors.Join(r.print(env, o.noDevice), err)
}

// demoTimeout bounds the emulated transfer of size bytes: at 1 MB/s, twenty times
// what it takes, a stall is told from a slow machine.
func demoTimeout(size int64) time.Duration {
	return 30*time.Second + time.Duration(size/1e6)*time.Second
}

// blameNIC explains a transfer that failed by what the NIC did, if it did.
func (s *labSetup) blameNIC() error {
	if s.nic == nil {
		return nil
	}
	st := s.nic.Stats()
	if n := st.Rx[labQueue].Unsplit; n > 0 {
		return fmt.Errorf("the NIC put %d packets into memory as a whole, without splitting their headers off (tcp-data-split): "+
			"the kernel can't read headers there, and the stream stalls", n)
	}
	return nil
}

// demoBuffers is a region that has room for the whole stream, where that can be.
// An emulated receiver may be much slower than its sender, and one that holds most
// of the region has what comes then copied out, so that the NIC does not run dry.
func (o *labOptions) demoBuffers() int {
	const page, most = 4096, 1 << 16
	return min(max(int(o.size)/page*7/4, 1<<13), most)
}

// compareFrames compares the NIC's page frames with the application's.
func (r *labReport) compareFrames(s *labSetup, res *lab.Result, noDevice bool) error {
	data, _ := res.File(labFrames)
	views, err := readFrames(bytes.NewReader(data))
	if err != nil || noDevice {
		return err
	}
	r.ViewFrames = len(views)
	written := s.nic.PayloadFrames(labQueue)
	r.NICFrames = len(written)
	r.PageFramesMatch = among(views, written)
	switch {
	case !r.PageFramesMatch:
		return errors.New("the payload does not lie where the NIC put it")
	case r.CopiedBytes != 0:
		return fmt.Errorf("%d bytes were copied", r.CopiedBytes)
	}
	return nil
}

// among reports whether all page frames that were read are among those written, and
// any was read. More may be written than is read: what a sender repeats, on a slow
// machine, is delivered once.
func among(read, written []uint64) bool {
	in := make(map[uint64]bool, len(written))
	for _, f := range written {
		in[f] = true
	}
	for _, f := range read {
		if !in[f] {
			return false
		}
	}
	return len(read) > 0
}

func (r *labReport) print(env *environ, noDevice bool) error {
	w := env.stdout
	if noDevice {
		fmt.Fprintf(w, "Linux %s, no device: the kernel copied each byte; %s received and verified.\n\n", r.Kernel, humanBytes(r.Bytes))
		return writeTable(w, r.report)
	}
	fmt.Fprintf(w, "Linux %s with its own driver for the NIC; %s received and verified.\n", r.Kernel, humanBytes(r.Bytes))
	fmt.Fprintf(w, "Bytes copied: %d. The NIC wrote payload to %d page frames of memory, the application read it from %d: ",
		r.CopiedBytes, r.NICFrames, r.ViewFrames)
	if r.PageFramesMatch {
		fmt.Fprint(w, "all of them among those.\n\n")
	} else {
		fmt.Fprint(w, "not all of them among those.\n\n")
	}
	return writeTable(w, r.report)
}
