package http_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestHintsNobodyReads: a client that reads no hints holds up none of the others whose requests are on the same connection.
func TestHintsNobodyReads(t *testing.T) {
	t.Parallel()
	flooded := make(chan struct{})
	cluster := clusterOf("c", wireApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		_, _ = io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
		f := http2.NewFramer(c, c)
		var mu sync.Mutex // of writing
		head := func(stream uint32, end bool, fields ...string) error {
			mu.Lock()
			defer mu.Unlock()
			var b bytes.Buffer
			enc := hpack.NewEncoder(&b)
			enc.SetMaxDynamicTableSize(0)
			for i := 0; i < len(fields); i += 2 {
				_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end})
		}
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch id := frame.Header().StreamID; {
			case frame.Header().Type != http2.FrameHeaders:
			case id == 1:
				go func() {
					link := "</" + strings.Repeat("a", 8<<10) + ">"
					for range 4000 {
						if head(1, false, ":status", "103", "link", link) != nil {
							return
						}
					}
					close(flooded)
				}()
			default:
				go func() { _ = head(id, true, ":status", "200") }()
			}
		}
	}))
	cluster.HTTP.Protocol = resource.UpstreamHTTP2
	h := goroutines.proxy(t, routing(toCluster(t, "")), cluster)
	fmt.Fprint(h.dial(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-flooded:
	case <-time.After(30 * time.Second):
		t.Fatal("the connection is held up")
	}
	if resp, _ := do(t, "GET", h.url("/"), nil); resp.StatusCode != http.StatusOK {
		t.Errorf("%s", resp.Status)
	}
}
