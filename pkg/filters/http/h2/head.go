package h2

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// pseudo are the pseudo-header fields of a request, RFC 9113 section 8.3.1.
type pseudo struct {
	method, scheme, authority, path string
	seen                            uint8 // one bit for each
}

func (p *pseudo) any() bool { return p.seen != 0 }

// Bits of pseudo.seen.
const (
	seenMethod = 1 << iota
	seenScheme
	seenAuthority
	seenPath
)

// set notes one; false: there is none of that name, or it was there before.
func (p *pseudo) set(name, value string) bool {
	var bit uint8
	switch name {
	case ":method":
		bit, p.method = seenMethod, value
	case ":scheme":
		bit, p.scheme = seenScheme, value
	case ":authority":
		bit, p.authority = seenAuthority, value
	case ":path":
		bit, p.path = seenPath, value
	}
	if bit == 0 || p.seen&bit != 0 {
		return false
	}
	p.seen |= bit
	return true
}

// block is a header block that is being read.
type block struct {
	id      uint32
	stream  *stream // whose trailers it is; nil: it is a request
	ended   bool    // the request ends with it
	ignored bool    // nobody wants it
	limit   int     // of what it holds

	wire, frames, size int
	large              bool // there was more than limit
	bad                *malformed
	pseudo             pseudo
	fields             []httpproto.Field // with canonical names
	cookies            int
	length             int64 // Content-Length; -1: none
	hosts              int
	host               string
	expect             bool
	// names is what fields are called in net/http, by their names on the wire.
	names map[string]string
}

// begin makes room for another block.
func (b *block) begin(id uint32, ended bool, limit int) {
	const most = 256
	fields, names := b.fields[:0], b.names
	if cap(fields) > most {
		fields = nil
	}
	clear(fields[:cap(fields)])
	*b = block{id: id, ended: ended, limit: limit, fields: fields, names: names, length: -1}
}

// refuse says why it is no request.
func (b *block) refuse(why string) {
	if b.bad == nil {
		b.bad = &malformed{why}
	}
}

// count bounds what is on the wire: it may be compressed, but not so that it is
// more, and it comes in frames of some size.
func (b *block) count(n int) error {
	b.wire += n
	b.frames++
	if b.wire > 2*b.limit+frameSize || b.frames > 8+b.limit/1024 {
		return flood("a header block is too large")
	}
	return nil
}

// add takes a field.
func (b *block) add(f hpack.HeaderField) {
	if b.size += int(f.Size()); b.size > b.limit {
		b.large = true
	}
	if b.large || b.bad != nil {
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		if len(b.fields) > 0 || b.hosts > 0 || !b.pseudo.set(f.Name, f.Value) {
			b.refuse("pseudo-header field " + strconv.Quote(f.Name) + " must not be there")
		}
		return
	}
	name, ok := b.name(f.Name)
	value := strings.Trim(f.Value, " \t")
	if !ok || !httpproto.ValidValue(value) {
		b.refuse("field " + strconv.Quote(f.Name) + " has a bad name or value")
		return
	}
	b.field(name, value)
}

// name is what a field is called in net/http; false: it is no field's name.
func (b *block) name(wire string) (string, bool) {
	if name, ok := b.names[wire]; ok {
		return name, true
	}
	if !httpproto.Token(wire) || strings.ToLower(wire) != wire {
		return "", false
	}
	name := http.CanonicalHeaderKey(wire)
	const names, size = 128, 64
	if len(b.names) < names && len(wire) < size {
		b.names[strings.Clone(wire)] = name
	}
	return name, true
}

// field takes one that is no pseudo-header field.
func (b *block) field(name, value string) {
	if connectionField(name) {
		b.refuse("connection-specific field " + name)
		return
	}
	switch name {
	case "Te":
		if !strings.EqualFold(value, "trailers") {
			b.refuse("TE is not trailers")
			return
		}
	case "Content-Length":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || value[0] == '+' || b.length >= 0 {
			b.refuse("Content-Length is no number, or there are two")
			return
		}
		b.length = int64(n)
	case "Host":
		b.hosts++
		b.host = value
		return
	case "Cookie":
		b.cookies++
	case "Expect":
		b.expect = strings.EqualFold(value, "100-continue")
	}
	b.fields = append(b.fields, httpproto.Field{Name: name, Value: value})
}

// header makes a map of the fields. Cookies become one, RFC 9113 section 8.2.3.
func (b *block) header() http.Header {
	h := make(http.Header, len(b.fields))
	values := make([]string, len(b.fields))
	var cookies []string
	for i := range b.fields {
		f := &b.fields[i]
		if f.Name == "Cookie" && b.cookies > 1 {
			cookies = append(cookies, f.Value)
			continue
		}
		if old, ok := h[f.Name]; ok {
			h[f.Name] = append(old, f.Value)
			continue
		}
		values[i] = f.Value
		h[f.Name] = values[i : i+1 : i+1]
	}
	if cookies != nil {
		h["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	return h
}

// trailers makes a map of those fields that may come late.
func (b *block) trailers() http.Header { return h1.TrailerOf(b.fields) }

// check finds what makes it no request, RFC 9113 section 8.
func (b *block) check() {
	p := &b.pseudo
	connect := p.method == http.MethodConnect
	switch {
	case !httpproto.Token(p.method):
		b.refuse(":method is missing or none")
	case connect && (p.seen&(seenScheme|seenPath) != 0 || p.authority == ""):
		b.refuse("CONNECT has :authority alone")
	case !connect && (p.scheme == "" || p.path == ""):
		b.refuse(":scheme or :path is missing")
	case !httpproto.ValidValue(p.authority): // it becomes a line of HTTP/1.1
		b.refuse(":authority has a control character")
	case b.hosts > 1 || b.hosts == 1 && p.seen&seenAuthority != 0 && !strings.EqualFold(b.host, p.authority):
		b.refuse("Host differs from :authority")
	case b.ended && b.length > 0:
		b.refuse("its body is shorter than Content-Length says")
	}
}

// request completes net/http's request with it; nil for a target that is none.
func (b *block) request(r *http.Request) *http.Request {
	p := &b.pseudo
	r.Method, r.Header, r.Host, r.RequestURI = p.method, b.header(), p.authority, p.path
	if b.hosts > 0 && r.Host == "" {
		r.Host = b.host
	}
	if p.method == http.MethodConnect {
		r.RequestURI = p.authority
		r.URL = &url.URL{Host: p.authority}
	} else if p.path[0] == '/' || p.path == "*" {
		r.URL = h1.Target(p.method, p.path)
	}
	if r.URL == nil || !httpproto.ValidTarget(r.RequestURI) {
		return nil
	}
	return r
}

// open begins the request whose header block was read.
func (c *conn) open() error {
	b := &c.block
	b.check()
	switch {
	case b.large:
		return c.answer(http.StatusRequestHeaderFieldsTooLarge)
	case b.bad != nil:
		return c.unopened(reset(b.id, http2.ErrCodeProtocol, b.bad))
	}
	s, r := newStream(c, b)
	if s == nil {
		return c.answer(http.StatusBadRequest)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blockSince = time.Time{}
	most := int(c.server.o.Streams)
	if c.final && b.id > c.lastServed || len(c.streams) >= most || c.running >= 2*most {
		s.cancel()
		return reset(b.id, http2.ErrCodeRefusedStream, nil)
	}
	if n := c.server.o.MaxRequests; n > 0 && c.opened >= n && !c.draining {
		now := time.Now()
		c.drainLocked(now)
		c.armLocked(now)
	}
	s.outWindow = c.outFirst
	c.streams[b.id] = s
	c.running++
	c.others.Go(func() { s.run(r) })
	return nil
}

// unopened notes that a block has ended without a stream.
func (c *conn) unopened(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blockSince = time.Time{}
	return err
}

// answer answers a request that no handler is to see.
func (c *conn) answer(status int) error {
	b := &c.block
	if c.server.o.Refused != nil {
		c.server.o.Refused(status, &malformed{http.StatusText(status)})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blockSince = time.Time{}
	c.encodeLocked(":status", strconv.Itoa(status))
	c.encodeLocked("content-length", "0")
	c.blockLocked(b.id, true)
	c.recent.add(b.id, true)
	if c.guard.wasted(time.Now()) {
		return flood("too many requests that are none")
	}
	if b.ended {
		return c.countLocked()
	}
	return c.controlLocked(http2.FrameRSTStream, 0, b.id, uint32(http2.ErrCodeNo))
}
