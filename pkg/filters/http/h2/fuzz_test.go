package h2

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2/hpack"
)

// parsed is what a handler sees of a header block; "" where it is no request.
func parsed(t *testing.T, fields []hpack.HeaderField) (*http.Request, string) {
	t.Helper()
	b := &block{names: map[string]string{}}
	b.begin(1, true, 16<<10)
	for _, f := range fields {
		b.add(f)
	}
	b.check()
	if b.large || b.bad != nil {
		return nil, ""
	}
	r := b.request(&http.Request{})
	if r == nil {
		return nil, ""
	}
	return r, fmt.Sprintf("%s %s %s %v %q", r.Method, r.Host, r.RequestURI, r.URL, r.Header)
}

// FuzzHead takes lines of "name=value" as a header block. A request that it is
// means the same when its own fields are read again.
func FuzzHead(f *testing.F) {
	plain := ":method=GET\n:scheme=http\n:authority=x\n:path=/"
	for _, s := range []string{
		plain, plain + "\ncookie=a=b\ncookie=c", plain + "\nhost=x\nte=trailers", plain + "\nX=y", plain + "\na= b ",
		":method=CONNECT\n:authority=x:1", ":method=OPTIONS\n:scheme=http\n:path=*\nhost=y", plain + "\ncontent-length=0", plain + "?a#b%zz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var fields []hpack.HeaderField
		for line := range strings.SplitSeq(text, "\n") {
			at := strings.LastIndexByte(line, '=')
			if strings.HasPrefix(line, ":") || at < 0 {
				at = strings.IndexByte(line, '=')
			}
			if at < 0 {
				at = len(line)
			}
			fields = append(fields, hpack.HeaderField{Name: line[:at], Value: strings.TrimPrefix(line[at:], "=")})
		}
		r, before := parsed(t, fields)
		if r == nil {
			return
		}
		again := []hpack.HeaderField{{Name: ":method", Value: r.Method}, {Name: ":authority", Value: r.Host}}
		if r.Method != http.MethodConnect {
			again = append(again, hpack.HeaderField{Name: ":scheme", Value: "http"}, hpack.HeaderField{Name: ":path", Value: r.RequestURI})
		}
		for name, values := range r.Header {
			if connectionField(name) || name != http.CanonicalHeaderKey(name) {
				t.Errorf("field %q has reached the handler", name)
			}
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Errorf("value %q has reached the handler", v)
				}
				again = append(again, hpack.HeaderField{Name: strings.ToLower(name), Value: v})
			}
		}
		if _, after := parsed(t, again); after != before {
			t.Errorf("read again (-first +second):\n%s", cmp.Diff(before, after))
		}
	})
}

// FuzzConn has a client send anything. The connection ends when the client does,
// and holds no more than it may.
func FuzzConn(f *testing.F) {
	hello := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, s := range []string{
		"", hello,
		hello + "\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01x",
		hello + "\x00\x00\x06\x01\x04\x00\x00\x00\x01\x83\x86\x84\x41\x01x\x00\x00\x04\x00\x01\x00\x00\x00\x01body",
		hello + "\x00\x00\x06\x01\x00\x00\x00\x00\x01\x82\x86\x84\x41\x01x\x00\x00\x00\x09\x04\x00\x00\x00\x01",
		hello + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01",
		hello + "\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01x\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",
		hello + "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00",
	} {
		f.Add([]byte(s))
	}
	s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if len(body) > DefaultStreamWindow*4 {
			panic("more than a client could have sent")
		}
		fmt.Fprint(w, len(body), err, r.Trailer)
	}), Options{HeaderBytes: 4 << 10})
	f.Fuzz(func(_ *testing.T, data []byte) {
		near, far := net.Pipe()
		over := make(chan struct{})
		go func() {
			defer close(over)
			s.Serve(far, []byte(Preface))
		}()
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, near) // ends with the connection
		}()
		_, _ = near.Write(data) // fails where the server has had enough
		near.Close()
		<-over
		<-read
	})
}
