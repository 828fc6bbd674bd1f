package h2_test

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h2"
)

// TestMalformed resets what is no request, and serves the next one.
func TestMalformed(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{}, echo)
	without := func(name string) []string {
		var out []string
		for i, f := 0, get("/"); i < len(f); i += 2 {
			if f[i] != name {
				out = append(out, f[i], f[i+1])
			}
		}
		return out
	}
	for name, fields := range map[string][]string{
		"no method":                 without(":method"),
		"no scheme":                 without(":scheme"),
		"no path":                   without(":path"),
		"empty path":                get(""),
		"two paths":                 get("/", ":path", "/"),
		"unknown pseudo-header":     append([]string{":x", "y"}, get("/")...),
		"protocol":                  append([]string{":protocol", "websocket"}, get("/")...),
		"status":                    append([]string{":status", "200"}, get("/")...),
		"pseudo-header after field": append([]string{"a", "b"}, get("/")...),
		"pseudo-header after Host":  {":method", "GET", ":scheme", "http", "host", "x", ":path", "/"},
		"upper case":                get("/", "X-A", "b"),
		"no name":                   get("/", "", "b"),
		"name with a colon":         get("/", "a:b", "c"),
		"line feed":                 get("/", "a", "b\nc: d"),
		"carriage return":           get("/", "a", "b\rc"),
		"NUL":                       get("/", "a", "\x00"),
		"connection":                get("/", "connection", "close"),
		"keep-alive":                get("/", "keep-alive", "1"),
		"proxy-connection":          get("/", "proxy-connection", "close"),
		"transfer-encoding":         get("/", "transfer-encoding", "chunked"),
		"upgrade":                   get("/", "upgrade", "h2c"),
		"te":                        get("/", "te", "trailers, deflate"),
		"other host":                get("/", "host", "y"),
		"two hosts":                 get("/", "host", "x", "host", "x"),
		"length without body":       get("/", "content-length", "1"),
		"two lengths":               get("/", "content-length", "0", "content-length", "0"),
		"length is no number":       get("/", "content-length", "+0"),
		"negative length":           get("/", "content-length", "-1"),
		"empty length":              get("/", "content-length", ""),
		"CONNECT with path":         append([]string{":method", "CONNECT"}, get("/")[2:]...),
		"CONNECT of nothing":        {":method", "CONNECT"},
		"line feed in authority":    {":method", "GET", ":scheme", "http", ":authority", "x\r\na: b", ":path", "/"},
		"NUL in authority":          {":method", "GET", ":scheme", "http", ":authority", "x\x00", ":path", "/"},
		"method is no token":        append([]string{":method", "G T"}, get("/")[2:]...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.dial()
			p.ask(1, true, fields...)
			p.ask(3, true, get("/next")...)
			if got := p.await(1); got.reset != http2.ErrCodeProtocol {
				t.Errorf("%+v, want a reset with PROTOCOL_ERROR", got)
			}
			if got := p.await(3); got.status != "200" {
				t.Errorf("the next request: %+v", got)
			}
		})
	}
}

// TestRefused answers what is a request, and not to be served.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{HeaderBytes: 1 << 10}, echo)
	for name, tt := range map[string]struct {
		fields []string
		want   string
	}{
		"large field":      {get("/", "a", strings.Repeat("b", 1<<10)), "431"},
		"many fields":      {get("/", strings.Split(strings.Repeat("a b ", 30)+"a b", " ")...), "431"},
		"bad escape":       {get("/%zz"), "400"},
		"space in path":    {get("/a b"), "400"},
		"path without /":   {get("a"), "400"},
		"absolute path":    {get("http://x/"), "400"},
		"path not ASCII":   {get("/\xc3\xa4"), "400"},
		"empty large path": {get("/" + strings.Repeat("a", 2<<10)), "431"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.dial()
			p.ask(1, false, tt.fields...)
			if got := p.await(1); got.status != tt.want {
				t.Errorf("%+v, want %s", got, tt.want)
			}
			p.must(p.WriteData(1, true, []byte("late"))) // is not minded
			p.ask(3, true, get("/next")...)
			if got := p.await(3); got.status != "200" {
				t.Errorf("the next request: %+v", got)
			}
		})
	}
}

// TestLength resets a request whose body has another length than it says.
func TestLength(t *testing.T) {
	t.Parallel()
	s := start(t, h2.Options{}, echo)
	for name, send := range map[string]func(p *peer){
		"longer":               func(p *peer) { p.must(p.WriteData(1, false, []byte("12345"))) },
		"shorter":              func(p *peer) { p.must(p.WriteData(1, true, []byte("123"))) },
		"shorter, by trailers": func(p *peer) { p.must(p.WriteData(1, false, []byte("123"))); p.ask(1, true, "a", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.dial()
			p.ask(1, false, post("/", "content-length", "4")...)
			send(p)
			if got := p.await(1); got.reset != http2.ErrCodeProtocol {
				t.Errorf("%+v, want a reset with PROTOCOL_ERROR", got)
			}
		})
	}
}
