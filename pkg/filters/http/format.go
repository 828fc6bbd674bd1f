package http

import (
	"crypto/tls"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// formatHeader makes a header's value. What is unknown is empty there, and in
// logs a dash.
func (x *exchange) formatHeader(f *resource.Format, response http.Header) string {
	return x.format(f, response, "")
}

func (x *exchange) format(f *resource.Format, response http.Header, missing string) string {
	var out strings.Builder
	for i := range f.Parts {
		p := &f.Parts[i]
		if p.Command == "" {
			out.WriteString(p.Literal)
			continue
		}
		v := x.command(p, response)
		if v == "" {
			v = missing
		}
		out.WriteString(v)
	}
	return out.String()
}

// command gives the value of one command, "" for what is not known.
func (x *exchange) command(p *resource.FormatPart, response http.Header) string {
	v := x.value(p, response)
	if p.Max > 0 && len(v) > p.Max {
		v = v[:p.Max]
	}
	return v
}

func (x *exchange) value(p *resource.FormatPart, response http.Header) string {
	switch p.Command {
	case "REQ":
		return first(x.requestHeader(p.Arg), func() string { return x.requestHeader(p.Alt) })
	case "RESP", "TRAILER":
		return first(response.Get(p.Arg), func() string { return response.Get(p.Alt) })
	case "ENVIRONMENT":
		return os.Getenv(p.Arg)
	case "HOSTNAME":
		name, _ := os.Hostname()
		return name
	case "START_TIME":
		return startTime(x.start, p.Arg)
	case "ROUTE_NAME":
		if x.route != nil {
			return x.route.Name
		}
	case "VIRTUAL_HOST_NAME":
		if x.host != nil {
			return x.host.Name
		}
	case "STREAM_ID":
		return x.request.Header.Get("X-Request-Id")
	case "TRACE_ID":
		return traceID(x.request.Header.Get("Traceparent"))
	case "RESPONSE_CODE":
		return strconv.Itoa(x.writer.status)
	case "RESPONSE_CODE_DETAILS":
		return x.detail
	case "RESPONSE_FLAGS":
		return x.flag
	case "BYTES_RECEIVED":
		return strconv.FormatInt(x.received.Load(), 10)
	case "BYTES_SENT":
		return strconv.FormatInt(x.writer.sent, 10)
	case "GRPC_STATUS", "GRPC_STATUS_NUMBER":
		return response.Get("Grpc-Status")
	}
	return first(x.downstreamValue(p.Command), func() string { return x.upstreamValue(p.Command) })
}

func first(v string, otherwise func() string) string {
	if v != "" {
		return v
	}
	return otherwise()
}

func (x *exchange) requestHeader(name string) string {
	switch strings.ToLower(name) {
	case "":
		return ""
	case ":method":
		return x.request.Method
	case ":path":
		return withQuery(x.request.Path, x.request.Query)
	case ":authority", "host":
		return x.request.Host
	case ":scheme":
		return x.request.Scheme
	case "x-envoy-original-path":
		return "" // the path is logged as it came
	}
	return x.request.Header.Get(name)
}

func (x *exchange) downstreamValue(command string) string {
	r := x.original
	switch command {
	case "PROTOCOL":
		if r.ProtoMajor == 2 {
			return "HTTP/2"
		}
		return r.Proto
	case "DOWNSTREAM_REMOTE_ADDRESS":
		if x.client == withoutPort(r.RemoteAddr) {
			return r.RemoteAddr
		}
		return x.client + ":0"
	case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":
		return x.client
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS":
		return r.RemoteAddr
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
		return withoutPort(r.RemoteAddr)
	case "DOWNSTREAM_REMOTE_PORT":
		return r.RemoteAddr[strings.LastIndexByte(r.RemoteAddr, ':')+1:]
	case "DOWNSTREAM_LOCAL_ADDRESS":
		return localAddr(r)
	case "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":
		return withoutPort(localAddr(r))
	case "DOWNSTREAM_LOCAL_PORT":
		return localPort(r)
	}
	if r.TLS == nil {
		return ""
	}
	switch command {
	case "DOWNSTREAM_TLS_VERSION":
		return strings.Replace(tls.VersionName(r.TLS.Version), "TLS 1", "TLSv1", 1)
	case "DOWNSTREAM_TLS_CIPHER":
		return tls.CipherSuiteName(r.TLS.CipherSuite)
	case "REQUESTED_SERVER_NAME":
		return r.TLS.ServerName
	case "DOWNSTREAM_PEER_SUBJECT":
		if len(r.TLS.PeerCertificates) > 0 {
			return r.TLS.PeerCertificates[0].Subject.String()
		}
	}
	return ""
}

func (x *exchange) upstreamValue(command string) string {
	u := &x.upstream
	switch command {
	case "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS":
		return u.address
	case "UPSTREAM_CLUSTER":
		return u.cluster
	case "UPSTREAM_PROTOCOL":
		return u.protocol
	case "UPSTREAM_TRANSPORT_FAILURE_REASON":
		return u.failure
	case "UPSTREAM_REQUEST_ATTEMPT_COUNT":
		return strconv.Itoa(u.attempts)
	case "DURATION":
		return milliseconds(x.start, time.Now())
	case "REQUEST_DURATION":
		return milliseconds(x.start, u.begun)
	case "RESPONSE_DURATION":
		return milliseconds(x.start, u.answered)
	case "RESPONSE_TX_DURATION":
		return milliseconds(u.answered, u.ended)
	}
	return ""
}

func milliseconds(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return strconv.FormatInt(to.Sub(from).Milliseconds(), 10)
}

// startTime knows Envoy's default and the seconds since 1970; other layouts of
// strftime are given as the default.
func startTime(t time.Time, layout string) string {
	if layout == "%s" {
		return strconv.FormatInt(t.Unix(), 10)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// traceID is the second part of a traceparent, W3C Trace Context section 3.2.
func traceID(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}
