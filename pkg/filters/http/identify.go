package http

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// identify says who the client is, and names the request.
func (x *exchange) identify(r *http.Request) {
	o := &x.chain.conf.Headers
	peer := withoutPort(r.RemoteAddr)
	forwarded := strings.Join(r.Header["X-Forwarded-For"], ",")
	x.client = trusted(forwarded, peer, int(o.TrustedHops), o.UseRemoteAddress)
	// As in Envoy: inside is who comes directly, or through one hop that is.
	x.internal = private(x.client) && (o.UseRemoteAddress || strings.IndexByte(forwarded, ',') < 0)
	if o.UseRemoteAddress {
		if !x.internal {
			sanitize(r.Header)
		}
		if !o.SkipForwarded && peer != "" {
			r.Header["X-Forwarded-For"] = []string{appendAddress(forwarded, peer)}
		}
	}
	if proto := r.Header["X-Forwarded-Proto"]; len(proto) != 1 || o.UseRemoteAddress && o.TrustedHops == 0 {
		r.Header["X-Forwarded-Proto"] = []string{x.request.Scheme}
	} else if proto[0] == "https" { // what the client speaks with a proxy before that is to be believed
		x.request.Scheme = "https"
	}
	if o.ForwardedPort && r.Header["X-Forwarded-Port"] == nil {
		if port := localPort(r); port != "" {
			r.Header["X-Forwarded-Port"] = []string{port}
		}
	}
	if o.RequestID && (r.Header["X-Request-Id"] == nil || o.UseRemoteAddress && !x.internal && !o.KeepRequestID) {
		r.Header["X-Request-Id"] = []string{newID()}
	}
}

// sanitize takes out what only a proxy may say.
func sanitize(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Envoy-") {
			delete(h, name)
		}
	}
}

func appendAddress(list, peer string) string {
	if list == "" {
		return peer
	}
	return list + "," + peer
}

// trusted finds the client's address: the peer's, or the one that the last
// proxy to be believed has added.
func trusted(forwarded, peer string, hops int, peerIsClient bool) string {
	if peerIsClient && hops == 0 || forwarded == "" {
		return peer
	}
	list := strings.Split(forwarded, ",")
	at := len(list) - max(hops, 1)
	if !peerIsClient && hops > 0 {
		at = len(list) - hops - 1
	}
	if at < 0 || at >= len(list) {
		return peer
	}
	addr := strings.TrimSpace(list[at])
	if _, err := netip.ParseAddr(addr); err != nil {
		return peer
	}
	return addr
}

// private reports addresses of RFC 1918 and RFC 4193, and loopback.
func private(addr string) bool {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr == "" || addr == "@" // a unix socket
	}
	return ip.IsPrivate() || ip.IsLoopback()
}

func withoutPort(addr string) string {
	at := strings.LastIndexByte(addr, ':')
	if at < 0 {
		return addr
	}
	return strings.Trim(addr[:at], "[]")
}

func localAddr(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return ""
}

func localPort(r *http.Request) string {
	addr := localAddr(r)
	return addr[strings.LastIndexByte(addr, ':')+1:]
}

// newID makes a version 4 UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var out [36]byte
	hex.Encode(out[:8], b[:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}
