package httpproto_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

func TestParseRequest(t *testing.T) {
	t.Parallel()
	limits := httpproto.Limits{Bytes: 1 << 10, Fields: 4}
	tests := map[string]struct {
		in   string
		want httpproto.Head
		err  error
	}{
		"plain": {
			in: "GET /a?b HTTP/1.1\r\nHost: x\r\nA:\t b \r\n\r\n",
			want: httpproto.Head{
				Method: "GET", Target: "/a?b", Minor: 1,
				Fields: []httpproto.Field{{Name: "Host", Value: "x"}, {Name: "A", Value: "b"}},
			},
		},
		"1.0":                   {in: "GET / HTTP/1.0\r\n\r\n", want: httpproto.Head{Method: "GET", Target: "/"}},
		"bare LF":               {in: "GET / HTTP/1.1\nHost: x\n\r\n\r\n", err: httpproto.ErrMalformed},
		"bare LF in fields":     {in: "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", err: httpproto.ErrMalformed},
		"bare CR in a value":    {in: "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", err: httpproto.ErrMalformed},
		"obs-fold":              {in: "GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", err: httpproto.ErrMalformed},
		"space before colon":    {in: "GET / HTTP/1.1\r\nHost : x\r\n\r\n", err: httpproto.ErrMalformed},
		"no name":               {in: "GET / HTTP/1.1\r\n: x\r\n\r\n", err: httpproto.ErrMalformed},
		"no colon":              {in: "GET / HTTP/1.1\r\nHost\r\n\r\n", err: httpproto.ErrMalformed},
		"NUL":                   {in: "GET / HTTP/1.1\r\nHost: x\x00\r\n\r\n", err: httpproto.ErrMalformed},
		"two spaces":            {in: "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", err: httpproto.ErrMalformed},
		"tab in start line":     {in: "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", err: httpproto.ErrMalformed},
		"space in target":       {in: "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", err: httpproto.ErrMalformed},
		"other version":         {in: "GET / HTTP/1.2\r\nHost: x\r\n\r\n", err: httpproto.ErrVersion},
		"no version":            {in: "GET /\r\nHost: x\r\n\r\n", err: httpproto.ErrMalformed},
		"method is no token":    {in: "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", err: httpproto.ErrMalformed},
		"five fields":           {in: "GET / HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", 5) + "\r\n", err: httpproto.ErrTooMany},
		"rest after the fields": {in: "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", err: httpproto.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got httpproto.Head
			if err := httpproto.ParseRequest(tt.in, &got, limits); !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); tt.err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFraming(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fields []httpproto.Field
		minor  int
		want   httpproto.Framing
		err    error
	}{
		"none":            {minor: 1, want: httpproto.Framing{Length: -1}},
		"length":          {fields: []httpproto.Field{{"content-length", "12"}}, minor: 1, want: httpproto.Framing{Length: 12}},
		"chunked":         {fields: []httpproto.Field{{"Transfer-Encoding", "Chunked"}}, minor: 1, want: httpproto.Framing{Length: -1, Chunked: true}},
		"1.0 closes":      {want: httpproto.Framing{Length: -1, Close: true}},
		"1.0 stays":       {fields: []httpproto.Field{{"Connection", "Keep-Alive"}}, want: httpproto.Framing{Length: -1, KeepAlive: true}},
		"close":           {fields: []httpproto.Field{{"Connection", "x , close"}}, minor: 1, want: httpproto.Framing{Length: -1, Close: true}},
		"two lengths":     {fields: []httpproto.Field{{"Content-Length", "5"}, {"Content-Length", "6"}}, minor: 1, err: httpproto.ErrLength},
		"the same twice":  {fields: []httpproto.Field{{"Content-Length", "5"}, {"Content-Length", "5"}}, minor: 1, err: httpproto.ErrLength},
		"list of lengths": {fields: []httpproto.Field{{"Content-Length", "5, 5"}}, minor: 1, err: httpproto.ErrLength},
		"signed length":   {fields: []httpproto.Field{{"Content-Length", "+5"}}, minor: 1, err: httpproto.ErrLength},
		"huge length":     {fields: []httpproto.Field{{"Content-Length", "99999999999999999999"}}, minor: 1, err: httpproto.ErrLength},
		"both":            {fields: []httpproto.Field{{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}, minor: 1, err: httpproto.ErrTwoFramings},
		"two codings":     {fields: []httpproto.Field{{"Transfer-Encoding", "gzip, chunked"}}, minor: 1, err: httpproto.ErrEncoding},
		"hidden coding":   {fields: []httpproto.Field{{"Transfer-Encoding", "xchunked"}}, minor: 1, err: httpproto.ErrEncoding},
		"coding twice":    {fields: []httpproto.Field{{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "identity"}}, minor: 1, err: httpproto.ErrTwoFramings},
		"1.0 with chunks": {fields: []httpproto.Field{{"Transfer-Encoding", "chunked"}}, err: httpproto.ErrTwoFramings},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := httpproto.FramingOf(&httpproto.Head{Minor: tt.minor, Fields: tt.fields}, false)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestChunkLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{"0": 0, "1f": 31, "FFFF": 65535} {
		if got, err := httpproto.ParseChunkLine([]byte(in), false); err != nil || got != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
		if got := string(httpproto.AppendChunkLine(nil, int(want))); !strings.EqualFold(got, in+"\r\n") {
			t.Errorf("%q written as %q", in, got)
		}
	}
	for _, in := range []string{"", "x", "-1", "0x5", "5 ", "5;a=b", "1111111111111111", "5\r", ";5"} {
		if _, err := httpproto.ParseChunkLine([]byte(in), false); !errors.Is(err, httpproto.ErrMalformed) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if n, err := httpproto.ParseChunkLine([]byte("5 ;a=b"), true); n != 5 || err != nil {
		t.Errorf("a response's chunk extension: %d, %v", n, err)
	}
}

// FuzzRequest has every head that is taken read the same when it is written
// again.
func FuzzRequest(f *testing.F) {
	f.Add("GET /a HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n")
	f.Add("POST * HTTP/1.0\r\nContent-Length: 3\r\n\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		limits := httpproto.Limits{Bytes: 1 << 12, Fields: 16}
		n, err := httpproto.End([]byte(in), 0, limits.Bytes)
		if err != nil || n == 0 {
			return
		}
		var h, again httpproto.Head
		if err := httpproto.ParseRequest(in[:n], &h, limits); err != nil {
			return
		}
		out := []byte(h.Method + " " + h.Target + " HTTP/1." + string(rune('0'+h.Minor)) + "\r\n")
		for _, x := range h.Fields {
			out = httpproto.AppendField(out, x.Name, x.Value)
		}
		out = append(out, "\r\n"...)
		if err := httpproto.ParseRequest(string(out), &again, limits); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if diff := cmp.Diff(h, again); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
