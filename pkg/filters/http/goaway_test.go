package http_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// goesAway is an endpoint that speaks HTTP/2 and takes one request on its first
// connection: of the next it says that it has not looked at it.
func goesAway(t *testing.T) string {
	t.Helper()
	return wireApp(t, func(n int, c net.Conn, _ *bufio.Reader) {
		frames(c, n == 1)
	})
}

// frames answers requests with their bodies. leaves: those after the first with GOAWAY.
func frames(c net.Conn, leaves bool) {
	if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	body := []byte("got ")
	answer := func(stream uint32) {
		var head bytes.Buffer
		_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
		for piece := range slices.Chunk(body, 16<<10) {
			_ = f.WriteData(stream, false, piece)
		}
		_ = f.WriteData(stream, true, nil)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			switch {
			case leaves && frame.StreamID > 1:
				_ = f.WriteGoAway(1, http2.ErrCodeNo, nil)
				leaves = false
			case frame.StreamEnded():
				answer(frame.StreamID)
			}
		case *http2.DataFrame:
			update(f, frame)
			if body = append(body, frame.Data()...); frame.StreamEnded() {
				answer(frame.StreamID)
			}
		}
	}
}

// TestGoAway: a request that an endpoint says it has not looked at goes to it by
// another connection, with its body.
func TestGoAway(t *testing.T) { overEngines(t, testGoAway) }

func testGoAway(t *testing.T, e engine) {
	large := strings.Repeat("order ", 30_000)
	for name, tt := range map[string]struct{ more, method, body, want string }{
		"GET":              {"", "GET", "", "200 got "},
		"POST":             {"", "POST", "", "200 got "},
		"POST with a body": {"", "POST", "order", "200 got order"},
		"a large body":     {"", "POST", large, "200 got " + large},
		"retries":          {`, "retry_policy": {"retry_on": "refused-stream", "num_retries": 1}`, "POST", "order", "200 got order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := clusterOf("c", goesAway(t))
			cluster.HTTP.Protocol = resource.UpstreamHTTP2
			h := e.proxy(t, routing(toCluster(t, tt.more)), cluster)
			if resp, _ := do(t, "GET", h.url("/"), nil); resp.StatusCode != http.StatusOK {
				t.Fatalf("the first request: %s", resp.Status)
			}
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			resp, text := do(t, tt.method, h.url("/"), body)
			if got := resp.Status[:4] + text; got != tt.want {
				t.Errorf("got %.100q, %d bytes, want %.100q", got, len(got), tt.want)
			}
		})
	}
}

// update lets the peer send more.
func update(f *http2.Framer, d *http2.DataFrame) {
	if n := uint32(len(d.Data())); n > 0 {
		_ = f.WriteWindowUpdate(0, n)
		_ = f.WriteWindowUpdate(d.StreamID, n)
	}
}

// TestRefusedLate: a request that cannot be sent once more, though the endpoint says
// that it has not looked at it, is answered with the reason.
func TestRefusedLate(t *testing.T) { overEngines(t, testRefusedLate) }

func testRefusedLate(t *testing.T, e engine) {
	const enough = 400_000
	cluster := clusterOf("c", wireApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		_, _ = io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for come := 0; ; {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			d, ok := frame.(*http2.DataFrame)
			if !ok {
				continue
			}
			update(f, d)
			if come += len(d.Data()); come > enough {
				_ = f.WriteRSTStream(d.StreamID, http2.ErrCodeRefusedStream)
				come = 0
			}
		}
	}))
	cluster.HTTP.Protocol = resource.UpstreamHTTP2
	h := e.proxy(t, routing(toCluster(t, "")), cluster)
	resp, text := do(t, "POST", h.url("/"), strings.NewReader(strings.Repeat("x", enough+1)))
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "remote refused stream reset: the request was not processed") {
		t.Errorf("%s %s", resp.Status, text)
	}
}

// TestRefusedStream: an endpoint that has no room for a stream gets it again after a while, and after a longer one, not at once.
func TestRefusedStream(t *testing.T) { overEngines(t, testRefusedStream) }

func testRefusedStream(t *testing.T, e engine) {
	begun := make(chan time.Time, 10)
	cluster := clusterOf("c", wireApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		_, _ = io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for n := 0; ; {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if _, ok := frame.(*http2.HeadersFrame); !ok {
				continue
			}
			begun <- time.Now()
			if n++; n <= 2 {
				_ = f.WriteRSTStream(frame.Header().StreamID, http2.ErrCodeRefusedStream)
				continue
			}
			var head bytes.Buffer
			_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.Header().StreamID, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
		}
	}))
	cluster.HTTP.Protocol = resource.UpstreamHTTP2
	h := e.proxy(t, routing(toCluster(t, "")), cluster)
	if resp, text := do(t, "GET", h.url("/"), nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Status, text)
	}
	first, second, third := <-begun, <-begun, <-begun
	if a, b := second.Sub(first), third.Sub(second); a < 20*time.Millisecond || b < 40*time.Millisecond {
		t.Errorf("tried again after %v and %v", a, b)
	}
}
