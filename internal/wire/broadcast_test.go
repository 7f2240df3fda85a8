package wire

import (
	"net/netip"
	"testing"
)

func TestBroadcast(t *testing.T) {
	for _, tt := range []struct{ prefix, want string }{
		{"192.0.2.1/24", "192.0.2.255"},
		{"192.0.2.1/30", "192.0.2.3"},
		{"10.1.2.3/8", "10.255.255.255"},
		{"10.1.2.3/13", "10.7.255.255"},
		{"192.0.2.1/0", "255.255.255.255"},
	} {
		if got := Broadcast(netip.MustParsePrefix(tt.prefix)); got.String() != tt.want {
			t.Errorf("%s: %v, want %s", tt.prefix, got, tt.want)
		}
	}
	for _, none := range []string{"192.0.2.1/31", "192.0.2.1/32", "2001:db8::1/64"} {
		if got := Broadcast(netip.MustParsePrefix(none)); got.IsValid() {
			t.Errorf("%s has none, got %v", none, got)
		}
	}
}
