package tun

import "testing"

func TestPredictor(t *testing.T) {
	type frames struct{ headers, payload, count int }
	for _, tt := range []struct {
		name string
		seen []frames
		want int
	}{
		{"nothing seen", nil, firstGuess},
		{"the first frame decides", []frames{{28, 1, 1}}, 28},
		{"a stream goes on", []frames{{72, 60000, 100}}, 72},
		{"small frames between a stream's", []frames{{72, 60000, 10}, {28, 100, 5}, {72, 60000, 1}, {28, 100, 5}}, 72},
		{"another stream takes over at once", []frames{{28, 1400, 1}, {52, 60000, 1}}, 52},
		{"another stream takes over", []frames{{72, 60000, 1000}, {52, 60000, 2}}, 52},
		{"not before its bytes count more", []frames{{72, 60000, 1000}, {52, 30000, 2}}, 72},
		{"many small frames take over", []frames{{72, 60000, 1000}, {28, 1000, 66}}, 28},
		{"two streams in turn", []frames{{72, 1000, 1}, {52, 2000, 1}, {72, 1000, 1}, {52, 2000, 1}, {72, 1000, 1}}, 52},
	} {
		p := predictor{length: firstGuess}
		for _, f := range tt.seen {
			for range f.count {
				p.learn(f.headers, f.payload)
			}
		}
		if p.length != tt.want {
			t.Errorf("%s: predicts %d, want %d", tt.name, p.length, tt.want)
		}
	}
}
