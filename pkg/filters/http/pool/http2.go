package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// stream2 is a connection that speaks HTTP/2.
type stream2 struct {
	conn *http.ClientConn
	uses int
	live int
	born time.Time
}

// do2 sends a request over a shared connection.
func (h *host) do2(ctx context.Context, c *Call, o *filters.UpstreamOptions) (*http.Response, error) {
	s := h.reuse2(o)
	for s == nil {
		reserved, err := h.cluster.reserve(ctx)
		if err != nil {
			return nil, err
		}
		if !reserved {
			s = h.reuse2(o)
			continue
		}
		conn, err := h.dial(ctx, c, o, onlyHTTP2)
		if err == nil {
			s, err = h.add2(conn, o)
		}
		if err != nil {
			h.cluster.Release()
			return nil, err
		}
	}
	return h.over2(ctx, c, s)
}

// doByALPN speaks what the endpoint has agreed on.
func (h *host) doByALPN(ctx context.Context, c *Call, o *filters.UpstreamOptions) (*http.Response, error) {
	if s := h.reuse2(o); s != nil {
		return h.over2(ctx, c, s)
	}
	if client := h.reuse(o); client != nil {
		return h.over1(ctx, c, client)
	}
	reserved, err := h.cluster.reserve(ctx)
	if err != nil {
		return nil, err
	}
	if !reserved {
		return h.doByALPN(ctx, c, o)
	}
	conn, err := h.dial(ctx, c, o, eitherHTTP)
	if err != nil {
		h.cluster.Release()
		return nil, err
	}
	if t, ok := conn.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
		s, err := h.add2(conn, o)
		if err != nil {
			h.cluster.Release()
			return nil, err
		}
		return h.over2(ctx, c, s)
	}
	return h.over1(ctx, c, h.newClient(conn, o))
}

// reuse2 finds a connection with room for a stream.
func (h *host) reuse2(o *filters.UpstreamOptions) *stream2 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pruneLocked()
	now := time.Now()
	for _, s := range h.h2 {
		if o.HTTP.StreamsPerConn > 0 && s.live >= o.HTTP.StreamsPerConn ||
			o.HTTP.RequestsPerConn > 0 && s.uses >= o.HTTP.RequestsPerConn ||
			o.HTTP.MaxConnectionAge > 0 && now.Sub(s.born) > o.HTTP.MaxConnectionAge {
			continue
		}
		if s.conn.Reserve() == nil {
			s.uses++
			s.live++
			return s
		}
	}
	return nil
}

// pruneLocked forgets connections that have ended. mu is held.
func (h *host) pruneLocked() {
	h.h2 = slices.DeleteFunc(h.h2, func(s *stream2) bool {
		if s.conn.Err() == nil {
			return false
		}
		h.cluster.Open.Add(-1)
		return true
	})
}

// sweep2Locked closes the connections of an endpoint that is gone. mu is held.
func (h *host) sweep2Locked(known bool) bool {
	h.pruneLocked()
	if !known {
		for _, s := range h.h2 {
			if s.live == 0 { // the others at a later look
				_ = s.conn.Close()
			}
		}
	}
	return len(h.h2) > 0
}

func (h *host) add2(conn net.Conn, o *filters.UpstreamOptions) (*stream2, error) {
	bytes := o.HTTP.HeaderBytes
	if bytes == 0 {
		bytes = defaultHeadBytes
	}
	idle := o.HTTP.IdleTimeout
	if idle == 0 {
		idle = defaultIdle
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	dialled := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	t := &http.Transport{
		DialContext: dialled, DialTLSContext: dialled, Protocols: protocols, DisableCompression: true,
		MaxResponseHeaderBytes: int64(bytes), IdleConnTimeout: max(idle, 0),
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: o.HTTP.PingInterval, PingTimeout: o.HTTP.PingTimeout, MaxDecoderHeaderTableSize: o.HTTP.TableSize,
			MaxReceiveBufferPerStream: o.HTTP.StreamWindow, MaxReceiveBufferPerConnection: o.HTTP.ConnectionWindow,
		},
	}
	scheme := "http"
	if h.endpoint.TLS != nil {
		scheme = "https"
	}
	cc, err := t.NewClientConn(context.Background(), scheme, "endpoint:80") // the address of what is connected already
	if err == nil {
		err = cc.Reserve()
	}
	if err != nil {
		_ = conn.Close()
		return nil, &ConnectError{Endpoint: h.endpoint.Address, Err: err}
	}
	s := &stream2{conn: cc, uses: 1, live: 1, born: time.Now()}
	h.mu.Lock()
	h.h2 = append(h.h2, s)
	h.mu.Unlock()
	h.cluster.sweepLater()
	return s, nil
}

// over2 sends a request as a stream.
func (h *host) over2(ctx context.Context, c *Call, s *stream2) (*http.Response, error) {
	h.mu.Lock()
	c.Protocol, c.Reused = "HTTP/2", s.uses > 1
	h.mu.Unlock()
	var sent atomic.Bool // said by another goroutine, maybe after a quick answer
	early := hints{inform: c.Wire.Inform}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
		Got100Continue: func() {
			if c.Wire.Continue != nil {
				c.Wire.Continue()
			}
		},
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code != http.StatusContinue {
				early.add(code, http.Header(header))
			}
			return nil
		},
	})
	resp, err := s.conn.RoundTrip(c.Request.WithContext(ctx))
	early.end(err == nil)
	c.Wire.Sent = err == nil || sent.Load()
	if err != nil {
		h.end2(s)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	c.Wire.Answered = true
	resp.Body = &body2{ReadCloser: resp.Body, done: sync.OnceFunc(func() {
		h.end2(s)
		h.active.Add(-1)
	})}
	return resp, nil
}

func (h *host) end2(s *stream2) {
	h.mu.Lock()
	s.live--
	h.mu.Unlock()
	h.cluster.wakeOne()
}

// MayRefuse says that endpoints may tell, by HTTP/2, that they have not looked at a
// request. http2: its client speaks it.
func (k *Cluster) MayRefuse(http2 bool) bool {
	o := k.options()
	return o != nil && o.HTTP.Protocol != filters.HTTP1 && (http2 || o.HTTP.Protocol != filters.HTTPAsDown)
}

// Refused says that an endpoint has not looked at a request: trying again does
// no harm.
func Refused(err error) bool {
	var e http2.StreamError // net/http's own error becomes one
	return errors.As(err, &e) && e.Code == http2.ErrCodeRefusedStream || WentAway(err)
}

// WentAway says that an endpoint has not looked at a request since it had ended the
// connection before, by GOAWAY (RFC 9113 section 6.8), as servers do now and then.
func WentAway(err error) bool {
	if err == nil {
		return false
	}
	switch err.Error() { // net/http has no other way to tell
	case "http2: Transport received Server's graceful shutdown GOAWAY", "http2: client conn not usable":
		return true
	default:
		return false
	}
}

// body2 is a response's body.
type body2 struct {
	io.ReadCloser
	done func()
}

// Close implements io.Closer.
func (b *body2) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}
