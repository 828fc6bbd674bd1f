package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// nutcrackerLog is a log as -o and -v ask for it.
type nutcrackerLog struct {
	logger *slog.Logger
	level  *slog.LevelVar
	file   *reopened // nil: standard error
}

// openLog opens the log. nutcracker's levels: 3 is errors, 4 warnings, 5
// notices (the default), 6 information, 7 and above debugging.
func (f *nutcrackerFlags) openLog(s *settings, stderr io.Writer) (*nutcrackerLog, error) {
	l := &nutcrackerLog{}
	if f.output != "" {
		l.file = &reopened{name: f.output}
		if err := l.file.open(); err != nil {
			return nil, exit.Usage(fmt.Errorf("opening the log: %w", err))
		}
		stderr = l.file
	}
	var err error
	if l.logger, l.level, err = s.Logger(stderr); err != nil {
		return nil, err
	}
	switch {
	case f.verbosity <= 3:
		l.level.Set(slog.LevelError)
	case f.verbosity == 4:
		l.level.Set(slog.LevelWarn)
	case f.verbosity >= 7:
		l.level.Set(slog.LevelDebug)
	}
	return l, nil
}

func (l *nutcrackerLog) close() {
	if l.file != nil {
		l.file.close()
	}
}

// followSignals does as nutcracker: SIGTTIN says more, SIGTTOU less, SIGHUP
// opens the log anew. The result ends it.
func (l *nutcrackerLog) followSignals() (stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range signals {
			l.obey(s)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

func (l *nutcrackerLog) obey(s os.Signal) {
	const step = slog.LevelInfo - slog.LevelDebug
	switch s {
	case syscall.SIGTTIN:
		l.level.Set(max(l.level.Level()-step, slog.LevelDebug))
	case syscall.SIGTTOU:
		l.level.Set(min(l.level.Level()+step, slog.LevelError))
	case syscall.SIGHUP:
		if l.file == nil {
			return
		}
		if err := l.file.open(); err != nil {
			l.logger.Error("opening the log anew", "error", err)
		}
	}
}

// reopened is a file that can be opened anew, for log rotation.
type reopened struct {
	name string // read-only after construction

	mu   sync.Mutex
	file *os.File // guarded by mu
}

func (r *reopened) open() error {
	f, err := os.OpenFile(r.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644) //nolint:gosec // logs are for others too
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close() // written and rotated away
	}
	r.file = f
	return nil
}

func (r *reopened) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.file.Close() // the process ends
}

// Write implements io.Writer.
func (r *reopened) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file.Write(b)
}

// resolveTime bounds the look-up of a name to listen on.
const resolveTime = 5 * time.Second

// resolveListen finds the address that nutcracker would bind for a name.
func resolveListen(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap().String(), nil
		}
	}
	return ips[0].String(), nil
}
