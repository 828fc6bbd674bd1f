package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Hints for who has set TLS wrongly, beside what went wrong, of which "connection
// reset" or EOF would say nothing.
var (
	ErrSpeaksTLS = errors.New("a TLS server answers at this address: set tls, or name its port where connections begin in plain text")
	ErrPlain     = errors.New("the server does not speak TLS at this address: remove tls, or name its TLS port")
)

// lookTime bounds the look at a server that has said nothing.
const lookTime = 2 * time.Second

// Explain adds [ErrSpeaksTLS] to the error of a plain connection whose server has said
// nothing that is of its protocol, if a handshake shows that this is why.
func Explain(ctx context.Context, t Target, err error) error {
	if t.TLS != nil || timeout(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	t.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // nothing is sent
	nc, look := Connect(ctx, t)
	if look == nil {
		_ = nc.Close()
	}
	if refused, ok := errors.AsType[*net.OpError](look); look == nil || ok && refused.Op == "remote error" {
		return fmt.Errorf("%w (%w)", err, ErrSpeaksTLS)
	}
	return err
}

// handshakeError says what a failed handshake tells of the server.
func handshakeError(err error) error {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("%w (%w)", err, ErrPlain)
	}
	if timeout(err) {
		return fmt.Errorf("%w (a server that does not speak TLS may wait for more, too)", err)
	}
	return err
}

func timeout(err error) bool {
	late, ok := errors.AsType[net.Error](err)
	return ok && late.Timeout()
}
