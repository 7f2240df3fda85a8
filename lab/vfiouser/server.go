//go:build linux

package vfiouser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Server serves one device to clients, one at a time.
type Server struct {
	dev  Device
	info Info
	busy atomic.Bool
}

// NewServer makes a server of dev, which it asks for its Info. The error says
// what in that can't be.
func NewServer(dev Device) (*Server, error) {
	s := &Server{dev: dev, info: dev.Info()}
	if err := s.info.check(); err != nil {
		return nil, fmt.Errorf("vfiouser: Device.Info: %w", err)
	}
	return s, nil
}

// Serve serves dev to the client at the other end of conn: NewServer and
// ServeConn.
func Serve(ctx context.Context, conn *net.UnixConn, dev Device) error {
	s, err := NewServer(dev)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	return s.ServeConn(ctx, conn)
}

// ServeConn serves the device to the client at the other end of conn, which it
// owns from here on, until the client has gone (nil), ctx ends (its cause), the
// client breaks the protocol (ErrProtocol) or takes its memory away (ErrFault).
// Then all that the client gave is unmapped and closed. While it runs for one
// client it fails for another, with ErrBusy.
//
// Each client finds the device as after power on: one that went away may have
// left it with addresses of memory that is no more.
func (s *Server) ServeConn(ctx context.Context, conn *net.UnixConn) error {
	defer conn.Close()
	if !s.busy.CompareAndSwap(false, true) {
		return ErrBusy
	}
	defer s.busy.Store(false)
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { conn.Close(); close(closed) })
	defer func() {
		if !stop() {
			<-closed // the Close above does not wait for it
		}
	}()

	ss := &session{
		dev:     s.dev,
		info:    &s.info,
		config:  newConfigSpace(&s.info),
		table:   make([]byte, s.info.table().size),
		maxRead: maxTransfer,
		stream:  stream{conn: conn},
		bus:     &Bus{irq: newVectors(s.info.Vectors), attached: true, hangUp: func() { conn.Close() }},
	}
	err := ss.attach()
	if err == nil {
		err = ss.serve()
	}
	fault := ss.detach()
	switch {
	case fault != nil:
		return fault // it closed the connection: whatever err is came of that
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// A session is one client's connection.
type session struct {
	dev    Device
	info   *Info
	bus    *Bus
	config *configSpace
	table  []byte // the MSI-X table

	stream
	negotiated bool
	maxRead    uint32 // bytes that the client takes in one reply to REGION_READ
}

// attach gives the device to the client.
func (s *session) attach() error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.bus.guard(func() error {
		s.dev.Attach(s.bus)
		s.dev.Reset()
		return nil
	})
}

// detach takes it back and returns the fault that the connection ended with, if
// it did.
func (s *session) detach() error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.attached = false
	s.dev.Detach()
	s.bus.release()
	return s.bus.fault
}

// serve handles messages until the connection ends.
func (s *session) serve() error {
	for {
		if err := s.serveOne(); err != nil {
			if gone(err) {
				return nil
			}
			return err
		}
	}
}

// gone reports whether the client has closed the connection: between messages,
// or without waiting for replies.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// serveOne handles one message. An error is one of the connection.
func (s *session) serveOne() error {
	m, err := s.receive()
	defer m.closeFDs()
	if err == nil {
		err = s.locked(&m)
	} else if !errors.Is(err, ErrProtocol) {
		return err
	}
	if errors.Is(err, ErrFault) {
		return err // the device is not what it was: there is nothing to say about it
	}
	if !m.noReply {
		if sendErr := s.sendReply(&m, err); sendErr != nil {
			return sendErr
		}
	}
	if errors.Is(err, ErrProtocol) {
		return err
	}
	return nil
}

// locked handles one message with the Bus's lock held.
func (s *session) locked(m *message) error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if err := s.bus.state(); err != nil {
		return err
	}
	return s.bus.guard(func() error { return s.handle(m) })
}
