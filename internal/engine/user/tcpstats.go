package user

import "github.com/zctap/zctap/internal/stack/tcp"

// A counter is a number under the name by which it is reported.
type counter struct {
	name string
	n    uint64
}

// tcpDrops is what TCP did not take, by cause. All are segments, but for the
// duplicate bytes.
func tcpDrops(d *tcp.Drops) []counter {
	return []counter{
		{"tcp-duplicate-bytes", d.DuplicateBytes},
		{"tcp-beyond-window", d.BeyondWindow},
		{"tcp-no-timestamp", d.NoTimestamp},
		{"tcp-old-timestamp", d.OldTimestamp},
		{"tcp-bad-ack", d.BadAck},
		{"tcp-blind-reset", d.BlindReset},
		{"tcp-blind-syn", d.BlindSyn},
		{"tcp-no-ack", d.NoAck},
		{"tcp-after-fin", d.AfterFin},
		{"tcp-out-of-order-full", d.OutOfOrderFull},
		{"tcp-queue-full", d.QueueFull},
		{"tcp-listener-full", d.ListenerFull},
		{"tcp-over-share", d.OverShare},
		{"tcp-after-close", d.AfterClose},
		{"tcp-not-for-listener", d.NotForListener},
		{"tcp-closed-connection", d.ClosedConn},
	}
}

// tcpEvents is what TCP counts beside payload and drops.
func tcpEvents(s *tcp.Stats) []counter {
	return []counter{
		{"active-opens", s.ActiveOpens},
		{"passive-opens", s.PassiveOpens},
		{"failed-opens", s.FailedOpens},
		{"syn-cookies-sent", s.CookiesSent},
		{"syn-cookies-accepted", s.CookiesAccepted},
		{"syn-cookies-refused", s.CookiesRefused},
		{"resets-received", s.ResetsReceived},
		{"resets-sent", s.ResetsSent},
		{"timed-out", s.TimedOut},
		{"segments-received", s.SegmentsIn},
		{"super-segments-sent", s.Supers},
		{"pure-acks", s.PureAcks},
		{"retransmits", s.Retransmits},
		{"timeouts", s.Timeouts},
		{"fast-retransmits", s.FastRetransmits},
		{"probes", s.Probes},
		{"delayed-acks", s.DelayedAcks},
		{"window-updates", s.WindowUpdates},
		{"challenge-acks", s.ChallengeAcks},
		{"out-of-order", s.OutOfOrder},
		{"compactions", s.Compactions},
		{"time-wait-overflows", s.TimeWaitOverflows},
		{"reneged", s.Reneged},
		{"path-mtu-lowered", s.PathMTULowered},
		{"path-mtu-probes", s.PathMTUProbes},
		{"black-holes", s.BlackHoles},
		{"ecn-marked", s.Marked},
		{"ecn-echoed", s.MarksEchoed},
	}
}

// recoveryEvents is what loss recovery with SACK counts.
func recoveryEvents(s *tcp.RecoveryStats) []counter {
	return []counter{
		{"segments-lost", s.Lost},
		{"tail-probes", s.TailProbes},
		{"tail-losses", s.TailLosses},
		{"reductions-undone", s.Undone},
		{"duplicates-reported", s.DuplicatesReported},
		{"peer-reneged", s.PeerReneged},
		{"bad-sack-blocks", s.BadBlocks},
	}
}
