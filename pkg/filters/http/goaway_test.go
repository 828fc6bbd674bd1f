package http_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

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
		_ = f.WriteData(stream, true, body)
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
			if body = append(body, frame.Data()...); frame.StreamEnded() {
				answer(frame.StreamID)
			}
		}
	}
}

// TestGoAway: a request that an endpoint says it has not looked at goes to it by
// another connection: one without a body at once, one with a body as retries say.
func TestGoAway(t *testing.T) { overEngines(t, testGoAway) }

func testGoAway(t *testing.T, e engine) {
	for name, tt := range map[string]struct{ more, method, body, want string }{
		"GET":              {"", "GET", "", "200 got "},
		"POST":             {"", "POST", "", "200 got "},
		"POST with a body": {`, "retry_policy": {"retry_on": "refused-stream", "num_retries": 1}`, "POST", "order", "200 got order"},
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
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
