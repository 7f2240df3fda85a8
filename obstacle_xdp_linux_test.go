package zctap

import (
	"testing"

	"github.com/zctap/zctap/internal/nic"
)

func TestNativeHint(t *testing.T) {
	state := func(change func(*nic.State)) *nic.State {
		s := &nic.State{
			Rings:    &nic.Rings{RXBufLen: 2048, DataSplit: nic.SplitOff},
			Channels: &nic.Channels{RX: 2, TX: 2, RXMax: 4, TXMax: 4},
			Features: map[string]nic.Feature{},
		}
		s.Interface = "eth0"
		if change != nil {
			change(s)
		}
		return s
	}
	const prefix = "; drivers may mind that "
	for _, tt := range []struct {
		name   string
		change func(*nic.State)
		mtu    int
		want   string
	}{
		{name: "nothing"},
		{"nothing told", func(s *nic.State) { s.Rings, s.Channels, s.Features = nil, nil, nil }, 0, ""},
		{"split", func(s *nic.State) { s.Rings.DataSplit = nic.SplitOn }, 0, "header/data split is on (`ethtool -G eth0 tcp-data-split off`)"},
		{"GRO", func(s *nic.State) { s.Features[nic.FeatureHWGRO] = nic.Feature{Active: true} }, 0, "hardware GRO is on (`ethtool -K eth0 rx-gro-hw off`)"},
		{"LRO", func(s *nic.State) { s.Features[nic.FeatureLRO] = nic.Feature{Active: true} }, 0, "LRO is on (`ethtool -K eth0 lro off`)"},
		{"wanted only", func(s *nic.State) { s.Features[nic.FeatureLRO] = nic.Feature{Wanted: true} }, 0, ""},
		{"buffers", func(s *nic.State) { s.Rings.RXBufLen = 4096 }, 0, "receive buffers are of 4096 bytes (`ethtool -G eth0 rx-buf-len 2048`)"},
		{"queues", func(s *nic.State) { s.Channels.RX, s.Channels.TX = 4, 4 }, 0,
			"there is no transmit queue to spare for each receive queue (`ethtool -L eth0 rx 2 tx 2`)"},
		{"unequal queues", func(s *nic.State) { s.Channels.TX = 1 }, 0,
			"there is no transmit queue to spare for each receive queue (`ethtool -L eth0 rx 2 tx 2`)"},
		{"combined queues", func(s *nic.State) { s.Channels = &nic.Channels{Combined: 8, CombinedMax: 8} }, 0,
			"there is no queue to spare for each queue (`ethtool -L eth0 combined 4`)"},
		{"one queue", func(s *nic.State) { s.Channels = &nic.Channels{Combined: 1, CombinedMax: 1} }, 1500, ""},
		{"MTU and LRO", func(s *nic.State) { s.Features[nic.FeatureLRO] = nic.Feature{Active: true} }, 9000,
			"LRO is on (`ethtool -K eth0 lro off`), or that the MTU is 9000 (`ip link set dev eth0 mtu 1500`)"},
	} {
		if tt.want != "" {
			tt.want = prefix + tt.want
		}
		if got := nativeHint(state(tt.change), tt.mtu); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
