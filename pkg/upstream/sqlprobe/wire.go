package sqlprobe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
)

// maxMessage bounds what is taken into memory of one message, in bytes. Nothing
// that is asked for comes near it.
const maxMessage = 64 << 10

// wire is a connection with what was received and is not parsed yet.
type wire struct {
	to    probe.Target
	nc    net.Conn
	buf   []byte
	heard bool // anything of the server
}

func dial(ctx context.Context, t *Target) (*wire, error) {
	to := probe.Target{Network: t.Network, Address: t.Address, TLS: t.TLS}
	if t.StartTLS {
		to.TLS = nil
	}
	nc, err := probe.Connect(ctx, to)
	if err != nil {
		return nil, err
	}
	return &wire{to: to, nc: nc}, nil
}

// bound lets reads and writes end with the context: at its deadline, or at once
// when it is cancelled.
func (w *wire) bound(ctx context.Context) (stop func() bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := w.nc.SetDeadline(deadline); err != nil {
		return nil, err
	}
	nc := w.nc
	return context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) }), nil
}

func (w *wire) write(b []byte) error {
	_, err := w.nc.Write(b)
	return err
}

// fill waits for more bytes.
func (w *wire) fill() error {
	const room = 1 << 10
	if len(w.buf) > maxMessage+room {
		return fmt.Errorf("%w: message of more than %d bytes", ErrProtocol, maxMessage)
	}
	if cap(w.buf)-len(w.buf) < room {
		w.buf = append(make([]byte, 0, 2*cap(w.buf)+room), w.buf...)
	}
	n, err := w.nc.Read(w.buf[len(w.buf):cap(w.buf)])
	w.buf = w.buf[:len(w.buf)+n]
	if n > 0 {
		w.heard = true
		return nil
	}
	return err
}

// explain adds to the error of a login what a look at a server that has said nothing
// tells.
func (w *wire) explain(ctx context.Context, err error) error {
	if w.heard {
		return err
	}
	return probe.Explain(ctx, w.to, err)
}

// took forgets the first n bytes.
func (w *wire) took(n int) { w.buf = append(w.buf[:0], w.buf[n:]...) }

var (
	errPlain     = errors.New("it sends in plain text what would be taken for encrypted")
	errHandshake = errors.New("TLS handshake")
)

// startTLS begins TLS in mid-connection.
func (w *wire) startTLS(ctx context.Context, cfg *tls.Config) error {
	if len(w.buf) > 0 {
		return fmt.Errorf("%w: %w", ErrUntrusted, errPlain)
	}
	tc := tls.Client(w.nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	w.nc = tc
	return nil
}

// state is that of TLS, nil without.
func (w *wire) state() *tls.ConnectionState {
	if tc, ok := w.nc.(*tls.Conn); ok {
		s := tc.ConnectionState()
		return &s
	}
	return nil
}

// verified reports whether a handshake shows who the server is.
func verified(cfg *tls.Config) bool { return cfg.VerifyConnection != nil || !cfg.InsecureSkipVerify }
