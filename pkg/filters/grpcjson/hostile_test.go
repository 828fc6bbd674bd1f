package grpcjson_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// frame is a message as gRPC sends it.
func frame(flag byte, length uint32, body []byte) []byte {
	b := append([]byte{flag}, binary.BigEndian.AppendUint32(nil, length)...)
	return append(b, body...)
}

func packed(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// badServer speaks HTTP/2, and something that is nearly gRPC: what the order's
// name says.
func badServer(t *testing.T) string {
	t.Helper()
	order, err := proto.Marshal(&shop.Order{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	small := uint32(len(order))
	answers := map[string][]byte{
		"good": frame(0, small, order), "flag": frame(7, small, order), "huge": frame(0, 1<<31, order), "short": frame(0, small+10, order), "head": {0, 0},
		"twice": append(frame(0, small, order), frame(0, small, order)...), "none": nil, "wire": frame(0, 2, []byte{0x0a, 0x05}), "utf8": frame(0, 3, []byte{0x0a, 0x01, 0xff}),
		"gzip": frame(1, uint32(len(packed(order))), packed(order)), "bomb": frame(1, uint32(len(packed(make([]byte, 8<<20)))), packed(make([]byte, 8<<20))), "notgzip": frame(1, small, order),
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		in := &shop.GetRequest{}
		if len(body) < 5 || proto.Unmarshal(body[5:], in) != nil {
			t.Errorf("the request is %x", body)
		}
		name := strings.TrimPrefix(in.GetName(), "orders/")
		h := w.Header()
		h.Set("Content-Type", "application/grpc+proto")
		switch name {
		case "page":
			h.Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusTeapot)
			return
		case "gzip", "bomb", "notgzip":
			h.Set("Grpc-Encoding", "gzip")
		case "number":
			h.Set("Grpc-Status", "many")
		case "slow":
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(answers[name])
		switch name {
		case "status":
		case "cut":
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			h.Set(http.TrailerPrefix+"Grpc-Status", "0")
		}
	}))
	return serveHTTP2(t, s)
}

// TestBadServer: what no client must take for an answer is none.
func TestBadServer(t *testing.T) {
	t.Parallel()
	conf, err := parse(t, envoy(`, "max_response_body_size": 1048576`), `{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "2s"}}`)
	if err != nil {
		t.Fatal(err)
	}
	addr, chain := proxy(t, conf, cluster(badServer(t), resource.UpstreamHTTP2))
	for client, c := range clients(t) {
		for name, want := range map[string]int{
			"good": 200, "gzip": 200, "flag": 502, "huge": 500, "short": 502, "head": 502, "twice": 502, "none": 502, "wire": 502, "utf8": 502, "bomb": 500, "notgzip": 502,
			"page": 418, "number": 500, "status": 503, "cut": 502, "slow": 504,
		} {
			r := ask(t, c, "GET", "http://"+addr+"/v1/orders/"+name, "")
			if r.StatusCode != want || r.err != nil {
				t.Errorf("%s %s: %s %v %s, want %d", client, name, r.Status, r.err, r.body, want)
			}
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(chain)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "dragoman_grpcjson_failures_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "reason" {
					reasons[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	if reasons["bad_response"] < 10 || reasons["response_too_large"] != 4 || reasons["cut"] < 4 {
		t.Errorf("counted are %v", reasons)
	}
}

// TestGoneClient: a call ends with its client.
func TestGoneClient(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(""))
	for name, c := range clients(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/orders:watch?all=true&page_size=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(name, err)
		}
		b := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, b); err != nil || b[0] != '[' {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		cancel() // what still runs in the proxy would hold up its end
		resp.Body.Close()
	}
}

// TestConcurrent has many clients at once, over one connection to the server.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(""))
	c := clients(t)["HTTP/2"]
	errs := make(chan error, 50)
	for i := range 50 {
		go func() {
			want := fmt.Sprintf(`{"name":"orders/%d"}`, i)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/v1/orders/%d", addr, i), nil)
			if err != nil {
				errs <- err
				return
			}
			resp, err := c.Do(req)
			if err != nil {
				errs <- err
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != want {
				errs <- fmt.Errorf("%s, %w, want %s", b, err, want)
				return
			}
			errs <- nil
		}()
	}
	for range 50 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestDeadline: the server knows how long the client will wait.
func TestDeadline(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(`, "convert_grpc_status": true`))
	r := ask(t, clients(t)["HTTP/1.1"], "GET", "http://"+addr+"/v1/orders/slow", "", "Grpc-Timeout", "100m")
	if r.StatusCode != http.StatusGatewayTimeout || !strings.Contains(r.body, `"code":4`) {
		t.Errorf("%s %s", r.Status, r.body)
	}
}

// TestRouteTimeout: the server is told what the route allows, unless the client
// waits for less.
func TestRouteTimeout(t *testing.T) {
	t.Parallel()
	const route = `{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "%s"%s}}`
	tests := []struct{ name, timeout, more, client, want string }{
		{"none", "0s", "", "", ""},
		{"the client's alone", "0s", "", "7S", "7S"},
		{"the route's alone", "20s", "", "", "20000m"},
		{"the client waits for less", "20s", "", "7S", "7S"},
		{"the client waits for longer", "20s", "", "1H", "20000m"},
		{"what the client says is nothing", "20s", "", "soon", "20000m"},
		{"a long one", "200000s", "", "", "200000S"},
		{"bound of what clients say", "20s", `, "max_stream_duration": {"grpc_timeout_header_max": "9s"}`, "1M", "9000m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			told := make(chan string, 1)
			app := goodServer(t, told)
			conf, err := parse(t, envoy(""), fmt.Sprintf(route, tt.timeout, tt.more))
			if err != nil {
				t.Fatal(err)
			}
			addr, _ := proxy(t, conf, cluster(app, resource.UpstreamHTTP2))
			header := []string{}
			if tt.client != "" {
				header = []string{"Grpc-Timeout", tt.client}
			}
			r := ask(t, clients(t)["HTTP/1.1"], "GET", "http://"+addr+"/v1/orders/5", "", header...)
			if r.StatusCode != http.StatusOK {
				t.Fatalf("%s %s", r.Status, r.body)
			}
			if got := <-told; got != tt.want {
				t.Errorf("the server is told %q, want %q", got, tt.want)
			}
		})
	}
	addr, _ := startWith(t, envoy(""), fmt.Sprintf(route, "0.1s", ""))
	r := ask(t, clients(t)["HTTP/1.1"], "GET", "http://"+addr+"/v1/orders/slow", "")
	if r.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("a server that takes longer: %s %s", r.Status, r.body)
	}
}

// goodServer answers with an empty message, and tells each call's grpc-timeout.
func goodServer(t *testing.T, told chan<- string) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("Grpc-Timeout")
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write(frame(0, 0, nil))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}))
	return serveHTTP2(t, s)
}

// serveHTTP2 starts a server of HTTP/2 alone, in plain text.
func serveHTTP2(t *testing.T, s *httptest.Server) string {
	t.Helper()
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestBadClient: frames of gRPC clients that are wrong get a status.
func TestBadClient(t *testing.T) {
	t.Parallel()
	conf, err := parse(t, toJSON(`, "max_request_bytes": 1000`), "")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := proxy(t, conf, cluster(app(t), resource.UpstreamHTTP1))
	order, err := proto.Marshal(&shop.GetRequest{Name: "orders/1"})
	if err != nil {
		t.Fatal(err)
	}
	small := uint32(len(order))
	zip := packed(make([]byte, 5000))
	for body, want := range map[string]string{
		string(frame(0, 1<<30, order)):   "8",
		string(frame(9, small, order)):   "13",
		string(frame(0, small+1, order)): "13",
		"":                               "13",
		string(frame(0, small, order)) + string(frame(0, small, order)): "13",
		string(frame(1, uint32(len(zip)), zip)):                         "8",
		string(frame(0, 2, []byte{0x0a, 0x05})):                         "3",
		string(frame(0, 0, nil)):                                        "3",
	} {
		r := ask(t, clients(t)["HTTP/2"], "POST", "http://"+addr+"/"+grpctest.Orders+"/Get", body, "Content-Type", "application/grpc", "Te", "trailers", "Grpc-Encoding", "gzip")
		if r.StatusCode != http.StatusOK || r.Header.Get("Grpc-Status") != want {
			t.Errorf("%x: %s %v, want %s", body[:min(20, len(body))], r.Status, r.Header, want)
		}
	}
}
