package grpcjson_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters/grpcjson"
	filterhttp "github.com/dragoman-mesh/dragoman/pkg/filters/http"
	"github.com/dragoman-mesh/dragoman/pkg/filters/standard"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// fromJSON is our filter before a gRPC server.
func fromJSON(more string) string {
	return `{"@type": "type.googleapis.com/dragoman.filters.http.grpcjson.v1.GrpcJson", "services": ["` + grpctest.Orders + `"],
	  "descriptors": {"inline": "` + set() + `"}` + more + `}`
}

// within runs the proxy with a budget of so many bytes.
func within(t *testing.T, budget int64, filter, addr string, protocol resource.HTTPProtocol) (string, *standard.HTTPRegistry) {
	t.Helper()
	conf, err := parse(t, filter, "")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	chain := standard.NewHTTPRegistry()
	chain.Register((*resource.RouterFilter)(nil), filterhttp.NewRouterBuilder(log))
	chain.Register((*resource.GRPCJSONFilter)(nil), grpcjson.NewBuilder(log, bodies.NewBudget(budget)))
	return proxyOf(t, chain, conf, cluster(addr, protocol)), chain
}

const bodyTimeout = 200 * time.Millisecond

// hurried runs the proxy with a bodyTimeout that tests can wait for.
func hurried(t *testing.T, filter, addr string, protocol resource.HTTPProtocol) (string, *standard.HTTPRegistry) {
	t.Helper()
	conf, err := parse(t, filter, "")
	if err != nil {
		t.Fatal(err)
	}
	f, ok := conf.Filters[0].Config.(*resource.GRPCJSONFilter)
	if !ok || f.BodyTimeout != resource.DefaultTransformTimeout {
		t.Fatalf("the filter is %+v", conf.Filters[0])
	}
	f.BodyTimeout = bodyTimeout
	return proxy(t, conf, cluster(addr, protocol))
}

// slowly begins a request whose body goes on when the test says so.
func slowly(t *testing.T, c *http.Client, method, url, contentType string) (rest *io.PipeWriter, answer chan *reply) {
	t.Helper()
	body, rest := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Te", "trailers")
	answer = make(chan *reply, 1)
	go func() {
		resp, err := c.Do(req)
		if err != nil {
			answer <- &reply{Response: &http.Response{}, err: err}
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		answer <- &reply{resp, string(b), err}
	}()
	t.Cleanup(func() { _ = rest.Close() })
	return rest, answer
}

// TestBodyTimeout: who sends a message too slowly gets 408, or DEADLINE_EXCEEDED; who
// sends a stream has as long as it takes.
func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		addr, chain := hurried(t, fromJSON(""), grpctest.Serve(t), resource.UpstreamHTTP2)
		for name, c := range clients(t) {
			rest, answer := slowly(t, c, "POST", "http://"+addr+"/v1/shelves/s/orders", "application/json")
			_, _ = rest.Write([]byte(`{"name": `))
			if r := <-answer; r.StatusCode != http.StatusRequestTimeout || !strings.Contains(r.body, "did not come in time") {
				t.Errorf("%s: %d %s %v", name, r.StatusCode, r.body, r.err)
			}
		}
		if n := filtertest.Metric(t, chain, "dragoman_grpcjson_failures_total", "slow"); n != 2 {
			t.Errorf("%v slow bodies are counted, want 2", n)
		}
	})
	t.Run("gzip", func(t *testing.T) {
		t.Parallel()
		addr, _ := hurried(t, fromJSON(""), grpctest.Serve(t), resource.UpstreamHTTP2)
		rest, body := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/shelves/s/orders", rest)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Encoding", "gzip")
		go func() { _, _ = body.Write(packed([]byte("{}"))[:5]) }()
		resp, err := clients(t)["HTTP/2"].Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("the head of gzip does not come: %s", resp.Status)
		}
	})
	t.Run("gRPC", func(t *testing.T) {
		t.Parallel()
		addr, chain := hurried(t, toJSON(""), app(t), resource.UpstreamHTTP1)
		rest, answer := slowly(t, clients(t)["HTTP/2"], "POST", "http://"+addr+"/"+grpctest.Orders+"/Get", "application/grpc")
		_, _ = rest.Write([]byte{0, 0, 0})
		if r := <-answer; r.Header.Get("Grpc-Status") != "4" {
			t.Errorf("%v %v", r.Header, r.err)
		}
		if n := filtertest.Metric(t, chain, "dragoman_grpcjson_failures_total", "slow"); n != 1 {
			t.Errorf("%v slow messages are counted, want 1", n)
		}
	})
	t.Run("stream", func(t *testing.T) {
		t.Parallel()
		addr, _ := hurried(t, fromJSON(`, "auto_mapping": true`), grpctest.Serve(t), resource.UpstreamHTTP2)
		rest, answer := slowly(t, clients(t)["HTTP/2"], "POST", "http://"+addr+"/v1/orders:import", "application/json")
		_, _ = rest.Write([]byte(`[{"name": "orders/1"}`))
		<-time.After(2 * bodyTimeout) // which is what the test is about
		_, _ = rest.Write([]byte(`]`))
		_ = rest.Close()
		if r := <-answer; r.StatusCode != http.StatusOK {
			t.Errorf("%d %s %v", r.StatusCode, r.body, r.err)
		}
	})
}

// TestBudget: what all requests hold together is bounded, in both directions, and
// is given back.
func TestBudget(t *testing.T) {
	t.Parallel()
	const budget = 400_000
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		addr, chain := within(t, budget, fromJSON(""), grpctest.Serve(t), resource.UpstreamHTTP2)
		url := "http://" + addr + "/v1/shelves/s/orders"
		large := `{"customerName": "` + strings.Repeat("x", 90_000) + `"}`
		for name, c := range clients(t) {
			rest, answer := crowd(t, c, url, "application/json", large+strings.Repeat(" ", 260_000), func() bool {
				r := ask(t, c, "POST", url, large)
				return r.StatusCode == http.StatusServiceUnavailable && r.Header.Get("Retry-After") == "1" && strings.Contains(r.body, "too many")
			})
			_ = rest.Close()
			if r := <-answer; r.StatusCode != http.StatusOK {
				t.Errorf("%s: the first: %d %s %v", name, r.StatusCode, r.body, r.err)
			}
			filtertest.Eventually(t, name+": there is room again", func() bool { return ask(t, c, "POST", url, large).StatusCode == http.StatusOK })
		}
		if n := filtertest.Metric(t, chain, "dragoman_grpcjson_failures_total", "budget"); n < 2 {
			t.Errorf("%v are counted", n)
		}
	})
	t.Run("gRPC", func(t *testing.T) {
		t.Parallel()
		addr, _ := within(t, budget, toJSON(""), app(t), resource.UpstreamHTTP1)
		c := clients(t)["HTTP/2"]
		url := "http://" + addr + "/" + grpctest.Orders + "/Echo"
		wire, err := proto.Marshal(&shop.Everything{AString: strings.Repeat("x", 60_000)})
		if err != nil {
			t.Fatal(err)
		}
		call := func() *reply {
			return ask(t, c, "POST", url, string(frame(0, uint32(len(wire)), wire)), "Content-Type", "application/grpc", "Te", "trailers")
		}
		rest, answer := crowd(t, c, url, "application/grpc", string(frame(0, 370_000, make([]byte, 360_000))), func() bool {
			return call().Header.Get("Grpc-Status") == "14"
		})
		_ = rest.CloseWithError(io.ErrClosedPipe)
		<-answer
		filtertest.Eventually(t, "there is room again", func() bool { return call().Trailer.Get("Grpc-Status") == "0" })
	})
	t.Run("an answer in gRPC", func(t *testing.T) {
		t.Parallel()
		wire, err := proto.Marshal(&shop.Order{Name: strings.Repeat("x", 500_000)})
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			_, _ = w.Write(frame(0, uint32(len(wire)), wire))
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		}))
		addr, _ := within(t, budget, fromJSON(""), serveHTTP2(t, s), resource.UpstreamHTTP2)
		r := ask(t, clients(t)["HTTP/1.1"], "GET", "http://"+addr+"/v1/orders/1", "")
		if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.body, "too many large messages") {
			t.Errorf("%s %.200s", r.Status, r.body)
		}
	})
	t.Run("an answer in JSON", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"aString": %q}`, strings.Repeat("x", 500_000))
		}))
		t.Cleanup(s.Close)
		addr, _ := within(t, budget, toJSON(""), s.Listener.Addr().String(), resource.UpstreamHTTP1)
		r := ask(t, clients(t)["HTTP/2"], "POST", "http://"+addr+"/"+grpctest.Orders+"/Echo", string(frame(0, 0, nil)), "Content-Type", "application/grpc", "Te", "trailers")
		if r.Header.Get("Grpc-Status") != "8" || !strings.Contains(r.Header.Get("Grpc-Message"), "too many large messages") {
			t.Errorf("%v", r.Header)
		}
	})
}

// TestBudgetWhileWaiting: a message that the app has read takes nothing of the budget, however long the answer takes.
func TestBudgetWhileWaiting(t *testing.T) {
	t.Parallel()
	read, answers := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		read <- struct{}{}
		<-answers
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(s.Close)
	addr, _ := within(t, 400_000, toJSON(""), s.Listener.Addr().String(), resource.UpstreamHTTP1)
	c := clients(t)["HTTP/2"]
	wire, err := proto.Marshal(&shop.Everything{AString: strings.Repeat("x", 100_000)})
	if err != nil {
		t.Fatal(err)
	}
	replies, waiting := make(chan *reply), 0
	for range 3 {
		go func() {
			replies <- ask(t, c, "POST", "http://"+addr+"/"+grpctest.Orders+"/Echo", string(frame(0, uint32(len(wire)), wire)), "Content-Type", "application/grpc", "Te", "trailers")
		}()
		select {
		case <-read:
			waiting++
		case r := <-replies:
			t.Errorf("%v %v", r.Header, r.Trailer)
		}
	}
	close(answers)
	for range waiting {
		if r := <-replies; r.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("%v %v", r.Header, r.Trailer)
		}
	}
}

// TestExpansion: a message whose JSON would be many times its size is too large.
func TestExpansion(t *testing.T) {
	t.Parallel()
	conf, err := parse(t, toJSON(`, "max_request_bytes": 100000`), "")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := proxy(t, conf, cluster(app(t), resource.UpstreamHTTP1))
	wire := append([]byte{0xd2, 1, 0xb8, 0x85, 6}, make([]byte, 99_000)...) // enums, each of which has a long name
	r := ask(t, clients(t)["HTTP/2"], "POST", "http://"+addr+"/"+grpctest.Orders+"/Echo", string(frame(0, uint32(len(wire)), wire)),
		"Content-Type", "application/grpc", "Te", "trailers")
	if r.Header.Get("Grpc-Status") != "8" {
		t.Errorf("%v %v", r.Header, r.Trailer)
	}
}

// crowd begins requests that hold much, until others are refused while one of them
// is under way.
func crowd(t *testing.T, c *http.Client, url, contentType, beginning string, refused func() bool) (rest *io.PipeWriter, answer chan *reply) {
	t.Helper()
	begin := func() {
		rest, answer = slowly(t, c, "POST", url, contentType)
		_, _ = io.WriteString(rest, beginning)
	}
	begin()
	filtertest.Eventually(t, "others are refused", func() bool {
		select {
		case <-answer: // it was the one that came too late
			begin()
		default:
		}
		return refused() && len(answer) == 0
	})
	return rest, answer
}
