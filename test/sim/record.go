package sim

import (
	"fmt"
	"io"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/pcap"
)

// Record makes hosts as m does, and writes what host 0 sends, before the path has spoilt
// it, and what it receives to w, as a pcap file of simulated time.
func Record(m Maker, w io.Writer) Maker {
	return func(i int, s Settings, p *buf.Pool, d driver.Driver) (Host, error) {
		if i == 0 {
			recorder, err := pcap.New(d, w, pcap.Config{Pool: p})
			if err != nil {
				return nil, fmt.Errorf("record what host 0 sends and receives: %w", err)
			}
			d = recorder
		}
		return m(i, s, p, d)
	}
}
