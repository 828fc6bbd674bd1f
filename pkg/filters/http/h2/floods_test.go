package h2_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h2"
)

func dialTCP(t *testing.T, addr string) (net.Conn, error) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err == nil {
		t.Cleanup(func() { c.Close() })
		err = c.SetDeadline(time.Now().Add(limit))
	}
	return c, err
}

// TestFloods ends connections whose clients make work for nothing, and serves the
// others.
func TestFloods(t *testing.T) {
	t.Parallel()
	// forever sends until the connection ends.
	forever := func(send func() error) {
		for range 2_000_000 {
			if send() != nil {
				return
			}
		}
	}
	for name, tt := range map[string]struct {
		reads bool // the client reads what comes
		flood func(p *peer)
	}{
		"rapid reset": {true, func(p *peer) {
			id := uint32(1)
			fields := p.block(get("/held")...)
			forever(func() error {
				_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fields, EndStream: true, EndHeaders: true})
				err := p.WriteRSTStream(id, http2.ErrCodeCancel)
				id += 2
				fields = p.block(get("/held")...)
				return err
			})
		}},
		"errors that make the server reset": {true, func(p *peer) {
			id := uint32(1)
			forever(func() error {
				_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(get("/held")...), EndStream: true, EndHeaders: true})
				err := p.WriteWindowUpdate(id, 0)
				id += 2
				return err
			})
		}},
		"requests that are none": {true, func(p *peer) {
			id := uint32(1)
			forever(func() error {
				err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(":method", "GET"), EndStream: true, EndHeaders: true})
				id += 2
				return err
			})
		}},
		"PING": {false, func(p *peer) { forever(func() error { return p.WritePing(false, [8]byte{}) }) }},
		"SETTINGS": {false, func(p *peer) {
			forever(func() error { return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7}) })
		}},
		"empty DATA": {true, func(p *peer) {
			p.ask(1, false, post("/held")...)
			forever(func() error { return p.WriteData(1, false, nil) })
		}},
		"padding alone": {true, func(p *peer) {
			p.ask(1, false, post("/held")...)
			forever(func() error { return p.WriteDataPadded(1, false, nil, make([]byte, 10)) })
		}},
		"PRIORITY": {true, func(p *peer) {
			forever(func() error { return p.WritePriority(1, http2.PriorityParam{StreamDep: 3}) })
		}},
		"WINDOW_UPDATE": {true, func(p *peer) { forever(func() error { return p.WriteWindowUpdate(0, 1) }) }},
		"empty CONTINUATION": {true, func(p *peer) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(get("/")...)})
			forever(func() error { return p.WriteContinuation(1, false, nil) })
		}},
		"tiny CONTINUATION": {true, func(p *peer) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(get("/")...)})
			piece := p.block(":path", "/") // of one byte
			forever(func() error { return p.WriteContinuation(1, false, piece) })
		}},
		"endless CONTINUATION": {true, func(p *peer) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(get("/")...)})
			piece := p.block("a", string(make([]byte, 10_000)))
			forever(func() error { return p.WriteContinuation(1, false, piece) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, h2.Options{Floods: h2.Floods{Control: 100}, Still: limit}, func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/held" {
					<-r.Context().Done()
				}
			})
			p := s.dial()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				tt.flood(p)
			}()
			if tt.reads {
				p.goAway()
			}
			<-sent
			p.conn.Close()
			for deadline := time.Now().Add(limit); s.floods() == 0; {
				if time.Now().After(deadline) {
					t.Fatal("nobody has noticed")
				}
				<-time.After(time.Millisecond)
			}
			other := s.dial()
			other.ask(1, true, get("/")...)
			if got := other.await(1); got.status != "200" {
				t.Errorf("another client: %+v", got)
			}
		})
	}
}

// TestResetsOfAClient that gives up now and then are no flood.
func TestResetsOfAClient(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			<-r.Context().Done()
		}
	})
	p := s.dial()
	for id := uint32(1); id < 6000; id += 4 {
		p.ask(id, true, get("/held")...)
		p.must(p.WriteRSTStream(id, http2.ErrCodeCancel))
		p.ask(id+2, true, get("/")...)
		if got := p.await(id + 2); got.status != "200" {
			t.Fatalf("stream %d: %+v", id+2, got)
		}
	}
}
