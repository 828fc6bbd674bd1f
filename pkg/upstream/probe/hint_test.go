package probe_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
)

// TestHintsOfTLS: who has TLS on one side only is told so, instead of "connection reset"
// alone; what has other reasons has no hint.
func TestHintsOfTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	encrypted, plain := redistest.Server(t, redistest.WithTLS(pki)), redistest.Server(t, redistest.WithPassword("p"))
	web := nettest.Serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1000))
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	mute := nettest.Serve(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1000)) })
	cfg := &tls.Config{InsecureSkipVerify: true}
	for name, tt := range map[string]struct {
		target probe.Target
		want   error // nil: no hint
	}{
		"plain, to TLS":          {probe.Target{Address: encrypted.Addr()}, probe.ErrSpeaksTLS},
		"login, to TLS":          {probe.Target{Address: encrypted.Addr(), Credentials: credentials("", "p")}, probe.ErrSpeaksTLS},
		"plain, to none":         {probe.Target{Address: mute}, nil},
		"plain, wrong password":  {probe.Target{Address: plain.Addr(), Credentials: credentials("", "q")}, nil},
		"TLS, to another server": {probe.Target{Address: web, TLS: cfg}, probe.ErrPlain},
		"TLS, to none":           {probe.Target{Address: mute, TLS: cfg}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.target.Network = "tcp"
			err := ping(within(t, 20*time.Second), tt.target)
			if err == nil {
				t.Fatal("the server answers")
			}
			for _, hint := range []error{probe.ErrSpeaksTLS, probe.ErrPlain} {
				if got, want := errors.Is(err, hint), hint == tt.want; got != want { //nolint:errorlint // the value itself
					t.Errorf("%v", err)
				}
			}
		})
	}
}
