package http

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// inform passes a 1xx response on, whose header is its own.
func (p *passage) inform(status int, h http.Header) {
	RemoveHopByHop(h)
	all := p.w.Header()
	later := maps.Clone(all)
	clear(all)
	maps.Copy(all, h)
	p.w.WriteHeader(status)
	clear(all)
	maps.Copy(all, later)
}

// deliver passes the answer on.
func (p *passage) deliver(o *outcome) {
	if o.err != nil {
		p.failed(o.err)
		return
	}
	resp := o.resp
	defer resp.Body.Close()
	if p.body != nil {
		p.body.settled()
	}
	if p.clock.try != nil {
		p.clock.try.Stop()
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		p.count(resp.StatusCode)
		p.tunnel(resp)
		return
	}
	p.head(resp)
	p.copyBody(resp)
}

// count counts a response by its class.
func (p *passage) count(status int) { p.pool.Classes[min(max(status/100, 0), 5)].Add(1) }

// head passes the head of the answer on.
func (p *passage) head(resp *http.Response) {
	p.count(resp.StatusCode)
	h := p.w.Header()
	length := resp.ContentLength
	if p.in.Method == http.MethodHead || resp.StatusCode == http.StatusNotModified {
		length = -1
		if given := resp.Header["Content-Length"]; given != nil {
			h["Content-Length"] = given
		}
	}
	announced := resp.Header["Trailer"]
	if len(resp.Trailer) > 0 {
		length = -1 // in HTTP/1.1 trailers need chunks
	}
	RemoveHopByHop(resp.Header)
	for name, values := range resp.Header {
		if h[name] == nil {
			h[name] = values
		} else {
			h[name] = append(h[name], values...)
		}
	}
	if announced != nil {
		h["Trailer"] = announced
	}
	if length >= 0 && bodyAllowed(resp.StatusCode) {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if !p.rt.conf.SuppressHeaders {
		h["X-Envoy-Upstream-Service-Time"] = []string{milliseconds(p.x.upstream.begun, p.x.upstream.answered)}
	}
	if p.x.host.AttemptCountBack {
		h["X-Envoy-Attempt-Count"] = []string{strconv.Itoa(p.x.upstream.attempts)}
	}
	if p.x.detail == "" {
		p.x.detail = "via_upstream"
	}
	p.w.WriteHeader(resp.StatusCode)
}

// pending is a body that knows whether reading on would block.
type pending interface{ Pending() bool }

//nolint:gochecknoglobals // a pool of memory has no state that anybody sees
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// copyBody streams the response. It flushes whenever nothing more is at hand; the
// head of an answer of known length goes with the first piece.
func (p *passage) copyBody(resp *http.Response) {
	if resp.Body == http.NoBody {
		p.x.upstream.ended = p.x.now()
		return
	}
	buf, _ := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	ahead, _ := resp.Body.(pending)
	more := func() bool { return ahead != nil && ahead.Pending() }
	if resp.ContentLength < 0 && !more() {
		p.flush() // a stream, whose client may wait for the head
	}
	if why := p.cause(); why != nil {
		p.broken(why) // it had come before there was a response to end
	}
	for {
		n, err := resp.Body.Read(*buf)
		if err == io.EOF {
			p.clock.answered()
		}
		if n > 0 {
			p.clock.touch()
			if _, werr := p.w.Write((*buf)[:n]); werr != nil {
				p.unread()
			}
		}
		switch {
		case err == io.EOF:
			p.trailers(resp)
			p.x.upstream.ended = time.Now()
			return
		case err != nil:
			p.broken(err)
		case !more():
			p.flush()
		}
	}
}

// unread ends a response that the client takes no more of.
func (p *passage) unread() {
	if why := p.cause(); why != nil {
		p.broken(why)
	}
	p.x.Explain("DC", "downstream_remote_disconnect")
	panic(http.ErrAbortHandler)
}

// flush sends what is written: it may take long until there is more.
func (p *passage) flush() {
	if f, ok := p.w.(http.Flusher); ok {
		f.Flush()
	}
	p.clock.idle()
}

// broken ends a response whose rest will not come.
func (p *passage) broken(err error) {
	switch cause := p.cause(); {
	case errors.Is(cause, errTimeout):
		p.x.Explain("UT", "upstream_response_timeout")
	case errors.Is(cause, errStreamIdle):
		p.x.Explain("SI", "stream_idle_timeout")
	case cause != nil:
		p.x.Explain("DC", "downstream_remote_disconnect")
	default:
		p.pool.Resets.Add(1)
		p.x.Explain("UC", "upstream_reset_after_response_started{connection_termination}")
	}
	p.x.upstream.failure = err.Error()
	p.x.abort()
}

func (p *passage) trailers(resp *http.Response) {
	h := p.w.Header()
	for name, values := range resp.Trailer {
		if values != nil {
			h[http.TrailerPrefix+name] = values
		}
	}
}

// tunnel passes bytes on after an upgrade, until both sides have ended.
func (p *passage) tunnel(resp *http.Response) {
	upstream, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || p.upgrade == "" {
		p.unasked()
		return
	}
	h := p.w.Header()
	maps.Copy(h, resp.Header)
	p.x.writer.status = http.StatusSwitchingProtocols
	p.x.changeResponse(h)
	p.x.detail = "via_upstream"
	conn, rw, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		p.x.fail(p.w, http.StatusInternalServerError, "", "upgrade_failed", "")
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	p.clock.upgraded()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n") // an error stays until Flush
	_ = h.Write(rw)
	_, _ = rw.WriteString("\r\n")
	if rw.Flush() != nil {
		return
	}
	stop := context.AfterFunc(p.in.Context(), func() { _ = conn.Close(); _ = upstream.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		p.pump(upstream, rw)
		closeWrite(upstream)
	})
	p.pump(conn, upstream)
	closeWrite(conn)
	wg.Wait()
}

// unasked answers where an endpoint has changed the protocol by itself.
func (p *passage) unasked() {
	p.x.fail(p.w, http.StatusBadGateway, "UPE", "upstream_upgraded_unasked", "")
}

// pump copies one direction of a tunnel.
func (p *passage) pump(to io.Writer, from io.Reader) {
	buf, _ := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := from.Read(*buf)
		if n > 0 {
			p.clock.touch()
			if _, werr := to.Write((*buf)[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func closeWrite(w any) {
	switch c := w.(type) {
	case interface{ CloseWrite() error }:
		_ = c.CloseWrite()
	case net.Conn:
		_ = c.Close()
	}
}
