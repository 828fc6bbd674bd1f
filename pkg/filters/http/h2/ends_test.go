package h2_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h2"
)

// TestShutdown has a client hear that it is to go, and serves what it sends
// meanwhile.
func TestShutdown(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := start(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			<-hold
		}
		fmt.Fprint(w, r.URL.Path)
	})
	p := s.dial()
	p.ask(1, true, get("/held")...)
	p.settled()
	over := make(chan error, 1)
	go func() { over <- s.Shutdown(context.Background()) }()
	next := func() *http2.GoAwayFrame {
		t.Helper()
		for {
			f, err := p.ReadFrame()
			p.must(err)
			switch f := f.(type) {
			case *http2.GoAwayFrame:
				return f
			case *http2.PingFrame:
				if !f.IsAck() {
					p.ask(3, true, get("/meanwhile")...)
					p.must(p.WritePing(true, f.Data))
				}
			case *http2.HeadersFrame:
				p.take(f, &answer{fields: map[string]string{}}, false)
			}
		}
	}
	if got := next(); got.LastStreamID != 1<<31-1 || got.ErrCode != http2.ErrCodeNo {
		t.Errorf("first %v", got)
	}
	if got := next(); got.LastStreamID != 3 || got.ErrCode != http2.ErrCodeNo {
		t.Errorf("second %v", got)
	}
	p.ask(5, true, get("/late")...)
	if got := p.await(5); got.reset != http2.ErrCodeRefusedStream {
		t.Errorf("late: %+v", got)
	}
	close(hold)
	if got := p.await(1); got.body != "/held" {
		t.Errorf("held: %+v", got)
	}
	p.goAway()
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// TestEnds ends connections in good order when their time has come.
func TestEnds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		o    h2.Options
		asks int
	}{
		"idle":         {h2.Options{Idle: 50 * time.Millisecond}, 1},
		"age":          {h2.Options{MaxAge: 50 * time.Millisecond}, 0},
		"requests":     {h2.Options{MaxRequests: 2}, 2},
		"dead client":  {h2.Options{PingEvery: 20 * time.Millisecond, PingAnswer: 20 * time.Millisecond}, 0},
		"no SETTINGS":  {h2.Options{Headers: time.Hour}, -1},
		"no preface":   {h2.Options{Headers: time.Hour}, -2},
		"half a block": {h2.Options{Headers: 5 * time.Second}, -3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt.o, echo)
			p := s.dial()
			want := http2.ErrCodeNo
			switch tt.asks {
			case -1:
				p = s.dialRaw(h2.Preface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")
				want = http2.ErrCodeProtocol
			case -2:
				p = s.dialRaw("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				want = http2.ErrCodeProtocol
			case -3:
				p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(get("/")...)}))
				want = http2.ErrCodeEnhanceYourCalm
			}
			for i := range max(tt.asks, 0) {
				p.ask(uint32(2*i+1), true, get("/")...)
			}
			if got := p.goAway(); got != want {
				t.Errorf("GOAWAY with %v, want %v", got, want)
			}
		})
	}
}

// dialRaw connects and sends what it is told to.
func (s *server) dialRaw(text string) *peer {
	s.t.Helper()
	p := s.dial()
	p.conn.Close()
	c, err := dialTCP(s.t, s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = io.WriteString(c, text)
	p.must(err)
	p.conn, p.Framer = c, http2.NewFramer(c, c)
	return p
}

// TestConcurrency refuses more streams at once than are allowed, also where they
// are reset and their handlers go on.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := start(t, h2.Options{Streams: 2}, func(http.ResponseWriter, *http.Request) { <-hold })
	defer close(hold)
	p := s.dial()
	for id := uint32(1); id <= 5; id += 2 {
		p.ask(id, true, get("/")...)
	}
	if got := p.await(5); got.reset != http2.ErrCodeRefusedStream {
		t.Errorf("the third at once: %+v", got)
	}
	for id := uint32(7); id <= 15; id += 2 { // handlers that do not heed their context
		p.must(p.WriteRSTStream(id-6, http2.ErrCodeCancel))
		p.ask(id, true, get("/")...)
	}
	if got := p.await(15); got.reset != http2.ErrCodeRefusedStream {
		t.Errorf("with handlers that go on: %+v", got)
	}
}
