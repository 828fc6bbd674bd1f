package logs_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestElasticsearch: each document has a status. Those that may be taken later
// come again, alone; those that will not are counted; 429 and 503 for all are
// waited for.
func TestElasticsearch(t *testing.T) {
	t.Parallel()
	k := &taken{}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_bulk" || r.Host != "receiver.example" || r.Header.Get("Content-Type") != "application/x-ndjson" ||
			r.Header.Get("Authorization") != "ApiKey t0ken" || r.Header.Get("X-Team") != "shop" {
			k.complain("%s %s %v", r.Host, r.URL, r.Header)
		}
		data, err := body(r)
		if err != nil {
			k.complain("%v", err)
		}
		switch k.call() {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		bulk(w, data, k)
	})
	config := &resource.LogsElasticsearch{LogsPeer: peer("/_bulk", true), Index: "logs-app-default"}
	config.Auth.APIKey = resource.SecretKey{Name: "token"}
	b := ship(t, address, config, `{"msg":"one","n":1}`, `{"msg":"later"}`, `{"msg":"never"}`, `plain`)
	k.want(t, "later", "one", "plain")
	if got := metric(t, b, "dragoman_logs_dropped_total", "refused"); got != 1 {
		t.Errorf("%v documents are said to be refused", got)
	}
}

// bulk answers as Elasticsearch does.
func bulk(w http.ResponseWriter, data []byte, k *taken) {
	in := bufio.NewScanner(bytes.NewReader(data))
	items, failed := []string{}, false
	for in.Scan() {
		if in.Text() != `{"create":{"_index":"logs-app-default"}}` || !in.Scan() {
			k.complain("action %q", in.Text())
		}
		var doc struct {
			Time     time.Time `json:"@timestamp"`
			Body     string    `json:"body"`
			Resource map[string]string
		}
		if err := json.Unmarshal(in.Bytes(), &doc); err != nil || doc.Time.IsZero() || doc.Resource["k8s.pod.name"] != "web-0" {
			k.complain("%v in %q", err, in.Text())
		}
		switch {
		case doc.Body == "never":
			failed = true
			items = append(items, `{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"secret"}}}`)
		case doc.Body == "later" && k.call() < 5:
			failed = true
			items = append(items, `{"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}}`)
		default:
			k.add(doc.Body)
			items = append(items, `{"create":{"status":201}}`)
		}
	}
	fmt.Fprintf(w, `{"took":1,"errors":%v,"items":[%s]}`, failed, strings.Join(items, ","))
}

// TestLoki reads what is pushed as Loki does.
func TestLoki(t *testing.T) {
	t.Parallel()
	k := &taken{}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.URL.Path != "/loki/api/v1/push" || r.Header.Get("Content-Type") != "application/json" || user != "me" || password != "pa55" ||
			r.Header.Get("X-Scope-Orgid") != "shop" {
			k.complain("%s %v", r.URL, r.Header)
		}
		if k.call() == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		push(r, k)
		w.WriteHeader(http.StatusNoContent)
	})
	config := &resource.LogsLoki{LogsPeer: peer("/loki/api/v1/push", false), Tenant: "shop", Labels: map[string]string{"job": "app"}, LabelsFrom: []string{"k8s.pod.name", "nothing"}}
	config.Auth.Username, config.Auth.Password = "me", resource.SecretKey{Name: "pass", Key: "word"}
	ship(t, address, config, `{"msg":"one \"quoted\" \u00e9"}`, "two \x00\xff")
	k.want(t, "one \"quoted\" é", "two \x00\uFFFD")
}

func push(r *http.Request, k *taken) {
	var p struct {
		Streams []struct {
			Stream map[string]string
			Values [][2]string
		}
	}
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	if err := in.Decode(&p); err != nil {
		k.complain("%v", err)
		return
	}
	for _, s := range p.Streams {
		if diff := cmp.Diff(map[string]string{"job": "app", "k8s_pod_name": "web-0"}, s.Stream); diff != "" {
			k.complain("labels: %s", diff)
		}
		for _, v := range s.Values {
			var rec struct{ Body string }
			if err := json.Unmarshal([]byte(v[1]), &rec); err != nil {
				k.complain("%v", err)
			}
			if ns, err := strconv.ParseInt(v[0], 10, 64); err != nil || ns < 1e18 {
				k.complain("time %q", v[0])
			}
			k.add(rec.Body)
		}
	}
}

// export notes what is in a request of OTLP.
func export(q *collogs.ExportLogsServiceRequest, k *taken) {
	for _, rl := range q.GetResourceLogs() {
		pod := ""
		for _, a := range rl.GetResource().GetAttributes() {
			if a.GetKey() == "k8s.pod.name" {
				pod = a.GetValue().GetStringValue()
			}
		}
		if pod != "web-0" {
			k.complain("resource %v", rl.GetResource())
		}
		for _, sl := range rl.GetScopeLogs() {
			for _, r := range sl.GetLogRecords() {
				text := r.GetBody().GetStringValue() + " " + r.GetSeverityNumber().String() + " " + r.GetSeverityText()
				for _, a := range r.GetAttributes() {
					text += fmt.Sprintf(" %s=%v", a.GetKey(), strings.ReplaceAll(a.GetValue().String(), "  ", " "))
				}
				if r.GetTimeUnixNano() == 0 || r.GetObservedTimeUnixNano() == 0 {
					k.complain("times %v", r)
				}
				k.add(text + fmt.Sprintf(" %x", r.GetTraceId()))
			}
		}
	}
}

const otlpLine = `{"ts":"2026-01-02T15:04:05Z","level":"warn","msg":"a\nb","i":-7,"f":1.5,"b":true,"o":{"x":1},"trace_id":"0af7651916cd43dd8448eb211c80319c"}`

// collector is a real server of the protocol.
type collector struct {
	collogs.UnimplementedLogsServiceServer
	k *taken
}

func (c *collector) Export(ctx context.Context, q *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer t0ken" {
		c.k.complain("authorization %v", got)
	}
	if c.k.call() == 1 {
		return nil, status.Error(codes.Unavailable, "not now")
	}
	export(q, c.k)
	return &collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 1}}, nil
}

func otlpRecords(t *testing.T, k *taken) {
	t.Helper()
	redistest.Eventually(t, limit, "records", func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.bodies) < 2 {
			return fmt.Errorf("%d of 2, after %d calls; %q", len(k.bodies), k.calls, k.wrong)
		}
		return nil
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.wrong) > 0 || len(k.bodies) != 2 {
		t.Errorf("%q and complaints %q", k.bodies, k.wrong)
	}
	for _, part := range []string{"a\nb SEVERITY_NUMBER_WARN warn", "i=int_value:-7", "f=double_value:1.5", "b=bool_value:true", "0af7651916cd43dd8448eb211c80319c"} {
		if !strings.Contains(k.bodies[0], part) {
			t.Errorf("no %q in %q", part, k.bodies[0])
		}
	}
	if want := "plain \uFFFD SEVERITY_NUMBER_UNSPECIFIED"; !strings.HasPrefix(k.bodies[1], want) {
		t.Errorf("%q does not begin with %q", k.bodies[1], want)
	}
}

func TestOTLPOverGRPC(t *testing.T) {
	t.Parallel()
	for _, gz := range []bool{false, true} {
		t.Run(fmt.Sprint("gzip ", gz), func(t *testing.T) {
			t.Parallel()
			k := &taken{}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer()
			collogs.RegisterLogsServiceServer(s, &collector{k: k})
			go func() { _ = s.Serve(ln) }()
			t.Cleanup(s.Stop)
			config := &resource.LogsOTLP{LogsPeer: peer("", gz), GRPC: true}
			config.Auth.Bearer = resource.SecretKey{Name: "token"}
			b := ship(t, ln.Addr().String(), config, otlpLine, "plain \xff")
			otlpRecords(t, k)
			redistest.Eventually(t, limit, "the rejected record", func() error {
				if n := metric(t, b, "dragoman_logs_dropped_total", "refused"); n != 1 {
					return fmt.Errorf("%v are counted", n)
				}
				return nil
			})
		})
	}
}

func TestOTLPOverHTTP(t *testing.T) {
	t.Parallel()
	k := &taken{}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			k.complain("%s %v", r.URL, r.Header)
		}
		data, err := body(r)
		if err != nil {
			k.complain("%v", err)
		}
		var q collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(data, &q); err != nil || len(q.ProtoReflect().GetUnknown()) > 0 {
			k.complain("%v", err)
		}
		switch {
		case k.call() == 1:
			w.WriteHeader(http.StatusBadGateway)
			return
		case len(q.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords()) > 1:
			w.WriteHeader(http.StatusRequestEntityTooLarge) // halves of it are taken
			return
		}
		export(&q, k)
	})
	ship(t, address, &resource.LogsOTLP{LogsPeer: peer("/v1/logs", true)}, otlpLine, "plain \xff")
	otlpRecords(t, k)
}

// TestRefused: what will never be taken is counted, and does not hold the rest up;
// wrong credentials are waited for.
func TestRefused(t *testing.T) {
	t.Parallel()
	k := &taken{}
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if k.call() <= 2 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	})
	b := ship(t, address, &resource.LogsOTLP{LogsPeer: peer("/v1/logs", true)}, "one", "two")
	redistest.Eventually(t, limit, "the refused records", func() error {
		if n := metric(t, b, "dragoman_logs_dropped_total", "refused"); n != 2 {
			return fmt.Errorf("%v are counted", n)
		}
		return nil
	})
	if n := metric(t, b, "dragoman_logs_sink_errors_total", "401"); n != 2 {
		t.Errorf("%v errors of 401", n)
	}
}
