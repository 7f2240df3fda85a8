package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A progress shows how far long work is, on a terminal; elsewhere it shows
// nothing. Add may be called from any goroutine.
type progress struct {
	what  string
	total int64 // bytes; 0: not known
	done  atomic.Int64
	w     io.Writer
	stop  chan struct{}
	wg    sync.WaitGroup
}

const progressInterval = 200 * time.Millisecond

// startProgress begins to show the progress of work of total bytes on w.
func startProgress(w io.Writer, what string, total int64) *progress {
	p := &progress{what: what, total: total, w: w, stop: make(chan struct{})}
	if isTerminal(w) {
		p.wg.Go(p.show)
	}
	return p
}

// add counts n more bytes.
func (p *progress) add(n int) { p.done.Add(int64(n)) }

// end clears the line.
func (p *progress) end() {
	close(p.stop)
	p.wg.Wait()
}

func (p *progress) show() {
	began := time.Now()
	t := time.NewTicker(progressInterval)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			fmt.Fprint(p.w, "\r\x1b[K")
			return
		case <-t.C:
		}
		done := p.done.Load()
		line := fmt.Sprintf("%s: %s, %.2f GB/s", p.what, humanBytes(done), float64(done)/1e9/time.Since(began).Seconds())
		if p.total > 0 {
			line += fmt.Sprintf(", %d %%", done*100/p.total)
		}
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	}
}

// humanBytes is n in the binary unit that suits it.
func humanBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
