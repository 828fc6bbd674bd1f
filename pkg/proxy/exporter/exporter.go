// Package exporter answers scrapes over HTTP/1.1, for the commands that do what an
// exporter of Prometheus does.
package exporter

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/netloop/rawio"
)

// Times and limits of connections.
const (
	headerTime     = 10 * time.Second
	idleTime       = 5 * time.Minute // longer than any usual interval of scrapes
	stillTime      = time.Minute     // of a client that does not read
	endTime        = 5 * time.Second // for scrapes that run at the end
	headBytes      = 64 << 10
	headFields     = 100
	maxConnections = 1000
	acceptPause    = 100 * time.Millisecond
)

// Serve answers on all listeners until ctx is done, and then what runs. It closes
// the listeners. The error is that of a listener.
func Serve(ctx context.Context, listeners []net.Listener, handler http.Handler, log *slog.Logger) error {
	s := &server{log: log, room: make(chan struct{}, maxConnections)}
	s.http = h1.NewServer(handler, h1.Options{
		Limits: h1.Limits{HeadBytes: headBytes, Fields: headFields}, Headers: headerTime, Idle: idleTime, Still: stillTime,
		Refused: func(status int, err error) { log.Debug("a request was refused", "status", status, "error", err) },
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- s.accept(ctx, l) }()
	}
	var err error
	running := len(listeners)
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
	}
	cancel()
	for _, l := range listeners {
		_ = l.Close() // which ends accept
	}
	for range running {
		err = errors.Join(err, <-failed)
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer stop()
	_ = s.http.Shutdown(end) // it has closed what was late
	s.connections.Wait()
	return err
}

// server is what the listeners have in common.
type server struct {
	// read-only after construction
	http *h1.Server
	log  *slog.Logger
	room chan struct{} // holds one for each connection

	connections sync.WaitGroup
}

// accept takes connections until ctx is done.
func (s *server) accept(ctx context.Context, l net.Listener) error {
	for failing := false; ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			failing = false
			s.take(conn)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was closed to end this
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of descriptors, for one
			if !failing {
				s.log.Warn("accepting a connection", "error", err)
			}
			failing = true
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}

// take serves a connection beside, or closes it if there are too many.
func (s *server) take(conn net.Conn) {
	select {
	case s.room <- struct{}{}:
	default:
		s.log.Debug("a connection was refused: there are too many", "most", maxConnections)
		_ = conn.Close() // told by its end
		return
	}
	s.connections.Go(func() {
		defer func() { <-s.room }()
		s.http.Serve(rawio.Wrap(conn), nil)
	})
}
