package nginx_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/expose"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/nginx"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const page = "Active connections: 1457 \nserver accepts handled requests\n 6717066 6717065 65844359 \nReading: 1 Writing: 8 Waiting: 1448 \n"

const tengine = "Active connections: 1 \nserver accepts handled requests request_time\n 1140 1140 1140 75806\nReading: 0 Writing: 1 Waiting: 0 \n"

const families = `# HELP nginx_connections_accepted Accepted client connections
# TYPE nginx_connections_accepted counter
nginx_connections_accepted 6.717066e+06
# HELP nginx_connections_active Active client connections
# TYPE nginx_connections_active gauge
nginx_connections_active 1457
# HELP nginx_connections_handled Handled client connections
# TYPE nginx_connections_handled counter
nginx_connections_handled 6.717065e+06
# HELP nginx_connections_reading Connections where NGINX is reading the request header
# TYPE nginx_connections_reading gauge
nginx_connections_reading 1
# HELP nginx_connections_waiting Idle client connections
# TYPE nginx_connections_waiting gauge
nginx_connections_waiting 1448
# HELP nginx_connections_writing Connections where NGINX is writing the response back to the client
# TYPE nginx_connections_writing gauge
nginx_connections_writing 8
# HELP nginx_http_requests_total Total http requests
# TYPE nginx_http_requests_total counter
nginx_http_requests_total 6.5844359e+07
# HELP nginx_up Status of the last metric scrape
# TYPE nginx_up gauge
nginx_up 1
`

const down = "# HELP nginx_up Status of the last metric scrape\n# TYPE nginx_up gauge\nnginx_up 0\n"

func TestGather(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, page string
		status     int
		want       string
		wantErr    bool
	}{
		{"nginx", page, 200, families, false},
		{"without the last line end", strings.TrimSpace(page), 200, families, false},
		{"an error", page, 503, down, true},
		{"another page", "<html>Welcome to nginx!</html>", 200, down, true},
		{"nothing", "", 200, down, true},
		{"a number that is none", strings.Replace(page, "1457", "-1", 1), 200, down, true},
		{"a number that is too large", strings.Replace(page, "1457", strings.Repeat("9", 30), 1), 200, down, true},
		{"cut off", page[:60], 200, down, true},
		{"more than there should be", page + "and more", 200, down, true},
		{"much more than there should be", page + strings.Repeat(" ", 1<<20), 200, down, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.page)
			}))
			defer server.Close()
			s, err := nginx.New(&resource.NginxStubStatusSource{MetricsFetch: resource.MetricsFetch{URI: server.URL, Timeout: resource.DefaultFetchTimeout}}, metrics.Env{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Gather(t.Context())
			if (err != nil) != tt.wantErr {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, string(expose.AppendText(nil, got))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTengine(t *testing.T) {
	t.Parallel()
	got, err := nginx.Parse([]byte(tengine))
	want := nginx.Status{Active: 1, Accepted: 1140, Handled: 1140, Requests: 1140, RequestTime: 75806, HasRequestTime: true, Writing: 1}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// FuzzParse: what is read and written again is the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(page))
	f.Add([]byte(tengine))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := nginx.Parse(data)
		if err != nil {
			if !errors.Is(err, nginx.ErrMalformed) || s != (nginx.Status{}) {
				t.Fatalf("%+v, %v", s, err)
			}
			return
		}
		var b bytes.Buffer
		column, value := "", ""
		if s.HasRequestTime {
			column, value = " request_time", fmt.Sprint(" ", s.RequestTime)
		}
		fmt.Fprintf(&b, "Active connections: %d \nserver accepts handled requests%s\n %d %d %d%s \nReading: %d Writing: %d Waiting: %d \n",
			s.Active, column, s.Accepted, s.Handled, s.Requests, value, s.Reading, s.Writing, s.Waiting)
		again, err := nginx.Parse(b.Bytes())
		if err != nil || again != s {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}
