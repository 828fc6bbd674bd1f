package grpcjson_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/filters/standard"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// silent begins a stream with a message, after which nothing comes.
func silent(t *testing.T, chain *standard.HTTPRegistry, c *http.Client, url, contentType, message string) {
	t.Helper()
	body, rest := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {contentType}, "Te": {"trailers"}, "Grpc-Encoding": {"gzip"}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		if resp, err := c.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	t.Cleanup(func() {
		_ = rest.CloseWithError(io.ErrClosedPipe)
		<-over
	})
	_, _ = io.WriteString(rest, message)
	filtertest.Eventually(t, "the message is converted", func() bool {
		return filtertest.Metric(t, chain, "dragoman_grpcjson_messages_total", grpctest.Orders+".Import", "request") > 0
	})
}

// TestSilentStream: a stream whose messages have been passed on holds next to nothing
// of the budget while it is silent.
func TestSilentStream(t *testing.T) {
	t.Parallel()
	const budget = 400_000
	name := strings.Repeat("x", 170_000)
	order, err := proto.Marshal(&shop.Order{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		addr, chain := within(t, budget, fromJSON(`, "auto_mapping": true`), grpctest.Serve(t), resource.UpstreamHTTP2)
		c := clients(t)["HTTP/2"]
		silent(t, chain, c, "http://"+addr+"/v1/orders:import", "application/json", `[{"name": "`+name+`"}`)
		filtertest.Eventually(t, "there is room", func() bool {
			large := `{"customerName": "x"}` + strings.Repeat(" ", 320_000)
			return ask(t, c, "POST", "http://"+addr+"/v1/shelves/s/orders", large).StatusCode == http.StatusOK
		})
	})
	for kind, message := range map[string][]byte{"gRPC": frame(0, uint32(len(order)), order), "gzip": frame(1, uint32(len(packed(order))), packed(order))} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			addr, chain := within(t, budget, toJSON(""), app(t), resource.UpstreamHTTP1)
			c := clients(t)["HTTP/2"]
			url := "http://" + addr + "/" + grpctest.Orders
			silent(t, chain, c, url+"/Import", "application/grpc", string(message))
			wire, err := proto.Marshal(&shop.Everything{AString: strings.Repeat("x", 60_000)})
			if err != nil {
				t.Fatal(err)
			}
			filtertest.Eventually(t, "there is room", func() bool {
				r := ask(t, c, "POST", url+"/Echo", string(frame(0, uint32(len(wire)), wire)), "Content-Type", "application/grpc", "Te", "trailers")
				return r.Trailer.Get("Grpc-Status") == "0"
			})
		})
	}
}
