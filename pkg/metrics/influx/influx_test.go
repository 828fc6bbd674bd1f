package influx_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/influx"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func open(t *testing.T, cfg resource.InfluxSource, env metrics.Env) *influx.Source {
	t.Helper()
	env.Sockets = sockets.NewPool()
	s, err := influx.New(&cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func series(t *testing.T, s *influx.Source) string {
	t.Helper()
	list, err := s.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(tooltest.Text(t, list)) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func post(t *testing.T, url string, body []byte, header http.Header) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

const lines = `# a comment
cpu,host=web\ 1,core=0 value=12.5,idle=80i,up=t,note="a, \" b=c" 1465839830100400200
weather\,x,loc\=a=b\,c temp=3u

cpu,core=0,host=web\ 1 value=13
`

const want = `cpu{core="0",host="web 1"} 13
cpu_idle{core="0",host="web 1"} 80
cpu_up{core="0",host="web 1"} 1
weather_x_temp{loc_a="b,c"} 3
`

// TestWrite: /write of both versions, packed or not.
func TestWrite(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(lines)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path   string
		body   []byte
		header http.Header
	}{
		{"/write?db=x&precision=s", []byte(lines), nil},
		{"/api/v2/write?bucket=x", packed.Bytes(), http.Header{"Content-Encoding": {"gzip"}}},
	}
	for _, tt := range tests {
		s := open(t, resource.InfluxSource{HTTP: "127.0.0.1:0"}, metrics.Env{})
		if got := post(t, "http://"+s.Addrs()[0].String()+tt.path, tt.body, tt.header); got != http.StatusNoContent {
			t.Errorf("%s: status %d", tt.path, got)
		}
		if diff := cmp.Diff(want, series(t, s)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.path, diff)
		}
	}
}

// TestSockets: the same lines over UDP and TCP.
func TestSockets(t *testing.T) {
	t.Parallel()
	for i, network := range []string{"udp", "tcp"} {
		cfg := resource.InfluxSource{MetricsListen: resource.MetricsListen{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"}}
		s := open(t, cfg, metrics.Env{})
		c, err := new(net.Dialer).DialContext(t.Context(), network, s.Addrs()[i].String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(lines)); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, time.Minute, "series", func() error {
			if diff := cmp.Diff(want, series(t, s)); diff != "" {
				return fmt.Errorf("%s (-want +got):\n%s", network, diff)
			}
			return nil
		})
	}
}

// TestTextsOfSeveralLines: a line feed in a text is no end of a line, wherever the
// line comes from: its rest could mean another series.
func TestTextsOfSeveralLines(t *testing.T) {
	t.Parallel()
	const lines = "# it's \"quoted=\"\nlog,host=\"a message=\"first\nforged value=666\n\",size=2i 5\nnext,q=\"\\\" value=1\nlast text=\"a\\\"\nforged value=667\",value=2\n"
	const want = "last{} 2\nlog_size{host=\"\\\"a\"} 2\nnext{q=\"\\\"\\\\\\\"\"} 1\n"
	check := func(how string, s *influx.Source) {
		redistest.Eventually(t, time.Minute, how, func() error {
			if diff := cmp.Diff(strings.ReplaceAll(want, "{}", ""), series(t, s)); diff != "" {
				return fmt.Errorf("(-want +got):\n%s", diff)
			}
			return nil
		})
		if losses := s.Losses(); losses["malformed"] != 0 {
			t.Errorf("%s: losses: %v", how, losses)
		}
	}
	s := open(t, resource.InfluxSource{HTTP: "127.0.0.1:0"}, metrics.Env{})
	if got := post(t, "http://"+s.Addrs()[0].String()+"/write", []byte(lines), nil); got != http.StatusNoContent {
		t.Errorf("status %d", got)
	}
	check("http", s)
	for i, network := range []string{"udp", "tcp"} {
		s := open(t, resource.InfluxSource{MetricsListen: resource.MetricsListen{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"}}, metrics.Env{})
		c, err := new(net.Dialer).DialContext(t.Context(), network, s.Addrs()[i].String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Write([]byte(lines))
		if err := errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		check(network, s)
	}
}

// TestBadBodies: what is sound counts, the rest is told and counted.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	s := open(t, resource.InfluxSource{HTTP: "127.0.0.1:0"}, metrics.Env{MaxBytes: 1000, MaxSeries: 3})
	url := "http://" + s.Addrs()[0].String() + "/write"
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	gzipped := http.Header{"Content-Encoding": {"gzip"}}
	for name, tt := range map[string]struct {
		body   []byte
		header http.Header
		want   int
	}{
		"half of it":     {[]byte("good value=1\nbad\n"), nil, http.StatusBadRequest},
		"too long":       {make([]byte, 2000), nil, http.StatusRequestEntityTooLarge},
		"a gzip bomb":    {append(bomb.Bytes(), make([]byte, 0)...), gzipped, http.StatusRequestEntityTooLarge},
		"no gzip":        {[]byte("good value=1\n"), gzipped, http.StatusBadRequest},
		"many series":    {[]byte("a v=1\nb v=1\nc v=1\nd v=1\n"), nil, http.StatusNoContent},
		"nothing at all": {nil, nil, http.StatusNoContent},
	} {
		if got := post(t, url, tt.body, tt.header); got != tt.want {
			t.Errorf("%s: status %d, want %d", name, got, tt.want)
		}
	}
	losses := s.Losses()
	if losses["malformed"] != 1 || losses["too_large"] < 1 || losses["series_limit"] != 2 {
		t.Errorf("losses: %v", losses)
	}
}

func TestLinesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"a", "a ", " v=1", ",b=c v=1", "a,b v=1", "a,b= v=1", "a,=c v=1", "a v", "a v=", "a v=x", "a v=1x", "a v=1.5i", "a v=-1u", "a v=\"x", "a v=1 x",
		"a v=1,", "a v=1 1 1", "a v=\"x\"y", "a v=NaN", "a v=0x10", "a v=1e999", "a v=\xff", "a v=99999999999999999999i",
		"a" + strings.Repeat(",b=c", 65) + " v=1", "a " + strings.Repeat("v=1,", 1025) + "v=1",
	} {
		if p, err := influx.Parse(line); !errors.Is(err, influx.ErrLine) {
			t.Errorf("%.40q is taken: %v, %v", line, p, err)
		}
	}
}

// FuzzParse: a line that is taken is the same again after it was written.
func FuzzParse(f *testing.F) {
	for line := range strings.Lines(lines) {
		f.Add(strings.TrimSpace(line))
	}
	f.Add(`a\b,c\\=d e\ f=-1.5e3,g=false -5`)
	f.Fuzz(func(t *testing.T, text string) {
		first, err := influx.Parse(text)
		if err != nil || len(first.Fields) == 0 {
			return
		}
		shown := string(written(&first))
		second, err := influx.Parse(shown)
		if diff := cmp.Diff(first, second); err != nil || diff != "" {
			t.Errorf("%q: %v (-first +second):\n%s", shown, err, diff)
		}
	})
}

// written is the line of a point, without the fields that are texts.
func written(p *influx.Point) (dst []byte) {
	esc := strings.NewReplacer(`\`, `\\`, ",", `\,`, " ", `\ `, "=", `\=`)
	dst = append(dst, esc.Replace(p.Measurement)...)
	for _, t := range p.Tags {
		dst = append(dst, ","+esc.Replace(t.Name)+"="+esc.Replace(t.Value)...)
	}
	for i, f := range p.Fields {
		sign := ","
		if i == 0 {
			sign = " "
		}
		dst = strconv.AppendFloat(append(dst, sign+esc.Replace(f.Name)+"="...), f.Value, 'g', -1, 64)
	}
	if p.Time != 0 {
		dst = strconv.AppendInt(append(dst, ' '), p.Time, 10)
	}
	return dst
}
