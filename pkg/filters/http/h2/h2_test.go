package h2_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h2"
)

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	fmt.Fprintf(w, "%s %s %s %s %v %d %s", r.Method, r.Host, r.RequestURI, r.Proto, r.Header["Cookie"], r.ContentLength, body)
}

// TestRequests has requests reach the handler as net/http would give them to it.
func TestRequests(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{}, echo)
	for name, tt := range map[string]struct {
		fields []string
		body   string
		want   string
	}{
		"plain":            {get("/a?b=c"), "", "GET x /a?b=c HTTP/2.0 [] 0 "},
		"all of a server":  {append([]string{":method", "OPTIONS"}, get("*")[2:]...), "", "OPTIONS x * HTTP/2.0 [] 0 "},
		"Host alone":       {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "y"}, "", "GET y / HTTP/2.0 [] 0 "},
		"Host that agrees": {get("/", "host", "X"), "", "GET x / HTTP/2.0 [] 0 "},
		"CONNECT":          {[]string{":method", "CONNECT", ":authority", "x:443"}, "", "CONNECT x:443 x:443 HTTP/2.0 [] 0 "},
		"cookies":          {get("/", "cookie", "a=b", "cookie", "c=d"), "", "GET x / HTTP/2.0 [a=b; c=d] 0 "},
		"white space":      {get("/", "cookie", " a=b\t"), "", "GET x / HTTP/2.0 [a=b] 0 "},
		"body":             {post("/"), "text", "POST x / HTTP/2.0 [] -1 text"},
		"length":           {post("/", "content-length", "4"), "text", "POST x / HTTP/2.0 [] 4 text"},
		"te":               {get("/", "te", "trailers"), "", "GET x / HTTP/2.0 [] 0 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.dial()
			p.ask(1, tt.body == "", tt.fields...)
			if tt.body != "" {
				p.must(p.WriteDataPadded(1, false, []byte(tt.body[:1]), make([]byte, 7)))
				p.must(p.WriteData(1, true, []byte(tt.body[1:])))
			}
			if got := p.await(1); got.body != tt.want || got.status != "200" {
				t.Errorf("%s %q, want %q", got.status, got.body, tt.want)
			}
		})
	}
}

// TestTrailers has them pass both ways, announced or not.
func TestTrailers(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Announced")
		if r.URL.Path == "/flushed" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		fmt.Fprint(w, string(body), err, r.Trailer)
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
		w.Header().Set(http.TrailerPrefix+"Content-Length", "3")
	})
	for _, path := range []string{"/", "/flushed"} {
		p := s.dial()
		p.ask(1, false, post(path, "trailer", "x-sum")...)
		p.must(p.WriteData(1, false, []byte("body ")))
		p.ask(1, true, "x-sum", "4", "x-other", "5", "content-length", "6")
		got := p.await(1)
		if want := "body <nil> map[X-Other:[5] X-Sum:[4]]"; got.body != want {
			t.Errorf("%s: body %q, want %q", path, got.body, want)
		}
		want := map[string]string{"x-announced": "1", "x-late": "2", "trailer": "X-Announced"}
		delete(got.fields, "date")
		if diff := cmp.Diff(want, got.fields); diff != "" {
			t.Errorf("%s: fields (-want +got):\n%s", path, diff)
		}
	}
}

// TestInterim sends 100 when the body is wanted, and what else a handler says
// first.
func TestInterim(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		if r.URL.Path == "/wanted" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	for path, want := range map[string]string{"/wanted": "103100204", "/unwanted": "103204"} {
		p := s.dial()
		p.ask(1, false, post(path, "expect", "100-continue")...)
		if path == "/wanted" {
			p.must(p.WriteData(1, true, []byte("body")))
		}
		if got := p.await(1); got.status != want || got.fields["link"] != "</a>" {
			t.Errorf("%s: %+v, want %s", path, got, want)
		}
	}
}

// TestResponses writes what handlers do in all kinds of ways.
func TestResponses(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789", 30_000)
	s := start(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/declared":
			w.Header().Set("Content-Length", strconv.Itoa(len(large)))
			_, _ = io.WriteString(w, large)
		case "/pieces":
			for i := 0; i < len(large); i += 10 {
				_, _ = io.WriteString(w, large[i:i+10])
			}
		case "/flushed":
			for i := 0; i < len(large); i += 30_000 {
				_, _ = io.WriteString(w, large[i:i+30_000])
				_ = http.NewResponseController(w).Flush()
			}
		case "/short":
			_, _ = io.WriteString(w, "short")
		case "/less":
			w.Header().Set("Content-Length", "7")
			_, _ = io.WriteString(w, "less")
		case "/more":
			w.Header().Set("Content-Length", "3")
			if _, err := io.WriteString(w, "more"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("more than declared: %v", err)
			}
		case "/panic":
			_, _ = io.WriteString(w, large)
			panic(http.ErrAbortHandler)
		case "/connection":
			w.Header()["Connection"] = []string{"close"}
			w.Header()["Bad Name"] = []string{"a"}
			w.Header()["X-Bad"] = []string{"a\nb"}
		}
	})
	c := s.client()
	for _, tt := range []struct {
		method, path string
		length       int64
		body         string
		fails        bool
	}{
		{"GET", "/declared", int64(len(large)), large, false},
		{"GET", "/pieces", -1, large, false},
		{"GET", "/flushed", -1, large, false},
		{"GET", "/short", 5, "short", false},
		{"HEAD", "/declared", int64(len(large)), "", false},
		{"HEAD", "/flushed", -1, "", false},
		{"GET", "/none", 0, "", false},
		{"GET", "/connection", 0, "", false},
		{"GET", "/less", 7, "", true},
		{"GET", "/more", 3, "", true},
		{"GET", "/panic", -1, "", true},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+s.addr+tt.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if tt.fails {
			if err == nil {
				t.Errorf("%s %s: taken for whole", tt.method, tt.path)
			}
			continue
		}
		if err != nil || string(body) != tt.body || resp.ContentLength != tt.length || resp.Header.Get("X-Bad") != "" {
			t.Errorf("%s %s: %d bytes, length %d, %v, %v", tt.method, tt.path, len(body), resp.ContentLength, resp.Header, err)
		}
	}
}

// TestWindows: the server sends no more than it may, and goes on when it may.
func TestWindows(t *testing.T) {
	t.Parallel()
	const size = 100_000
	s := start(t, h2.Options{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) })
	p := s.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	p.ask(1, true, get("/")...)
	got := 0
	read := func(until int) {
		t.Helper()
		for got < until {
			f, err := p.ReadFrame()
			p.must(err)
			if d, ok := f.(*http2.DataFrame); ok {
				got += len(d.Data())
			}
		}
		if got != until {
			t.Fatalf("%d bytes, with a window of %d", got, until)
		}
	}
	read(10)
	p.settled()
	p.must(p.WriteWindowUpdate(1, 15))
	read(25)
	p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 30}))
	read(45)
	p.must(p.WriteWindowUpdate(1, size))
	read(65535) // the connection's
	p.must(p.WriteWindowUpdate(0, size))
	read(size)
}

// TestManyDownloads shares one connection's window among many.
func TestManyDownloads(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	s := start(t, h2.Options{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) })
	c := s.client()
	errs := make(chan error, 50)
	for range cap(errs) {
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/", http.NoBody)
			if err != nil {
				errs <- err
				return
			}
			resp, err := c.Do(req)
			if err != nil {
				errs <- err
				return
			}
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil && n != size {
				err = fmt.Errorf("%d bytes", n)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestUpload: of a body that nobody reads no more than the window is held, and
// what is read may come again.
func TestUpload(t *testing.T) {
	t.Parallel()
	const window = 70_000
	read := make(chan struct{})
	s := start(t, h2.Options{StreamWindow: window, ConnectionWindow: window}, func(w http.ResponseWriter, r *http.Request) {
		<-read
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	p := s.dial()
	p.ask(1, false, post("/")...)
	piece := make([]byte, 10_000)
	for range window / len(piece) {
		p.must(p.WriteData(1, false, piece))
	}
	p.settled()
	close(read)
	for given := 0; given < window/4; { // it is given back in pieces
		f, err := p.ReadFrame()
		p.must(err)
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
			given += int(w.Increment)
		}
	}
	p.must(p.WriteData(1, true, piece))
	if got := p.await(1); got.body != "80000 <nil>" {
		t.Errorf("%+v", got)
	}
}

// TestWindowOverrun ends a connection whose client sends more than it may.
func TestWindowOverrun(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := start(t, h2.Options{StreamWindow: 65535, ConnectionWindow: 65535}, func(http.ResponseWriter, *http.Request) { <-hold })
	defer close(hold)
	p := s.dial()
	p.ask(1, false, post("/")...)
	for range 5 {
		p.must(p.WriteData(1, false, make([]byte, 16<<10)))
	}
	if got := p.goAway(); got != http2.ErrCodeFlowControl {
		t.Errorf("GOAWAY with %v, want FLOW_CONTROL_ERROR", got)
	}
}

// TestCancel ends the context of a request that its client resets, and what is
// written then fails.
func TestCancel(t *testing.T) {
	t.Parallel()
	type result struct{ read, write error }
	began, results := make(chan struct{}, 2), make(chan result, 2)
	s := start(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		_, rerr := r.Body.Read(make([]byte, 1))
		_, werr := w.Write(make([]byte, 64<<10))
		results <- result{rerr, werr}
	})
	for name, end := range map[string]func(p *peer){
		"reset": func(p *peer) { p.must(p.WriteRSTStream(1, http2.ErrCodeCancel)) },
		"close": func(p *peer) { p.conn.Close() },
	} {
		p := s.dial()
		p.ask(1, false, post("/")...)
		<-began
		end(p)
		if got := <-results; !errors.Is(got.read, h2.ErrClientReset) || !errors.Is(got.write, h2.ErrClientReset) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestStill ends the response of a client that opens no window.
func TestStill(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	s := start(t, h2.Options{Still: 2 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 64<<10))
		failed <- err
	})
	p := s.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	p.ask(1, true, get("/")...)
	if got := p.await(1); got.reset != http2.ErrCodeCancel {
		t.Errorf("%+v, want a reset with CANCEL", got)
	}
	if err := <-failed; err == nil {
		t.Error("the handler has seen no error")
	}
}

// TestSilentClient: a client may send nothing for long, on a stream that is served.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	const still = time.Second
	s := start(t, h2.Options{Still: still}, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, len(body), err)
	})
	p := s.dial()
	p.ask(1, false, post("/")...)
	p.settled()
	<-time.After(still + still/4)
	p.must(p.WriteData(1, true, []byte("late")))
	if got := p.await(1); got.body != "4 <nil>" {
		t.Errorf("%+v", got)
	}
}

// TestReadDeadline ends the wait for a body.
func TestReadDeadline(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		d := 10 * time.Millisecond
		if r.URL.Path == "/past" {
			d = -time.Second
		}
		if err := control.SetReadDeadline(time.Now().Add(d)); err != nil {
			t.Error(err)
		}
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err)
	})
	for _, path := range []string{"/past", "/soon"} {
		p := s.dial()
		p.ask(1, false, post(path)...)
		if got := p.await(1); got.body != "i/o timeout" {
			t.Errorf("%s: %+v", path, got)
		}
	}
}
