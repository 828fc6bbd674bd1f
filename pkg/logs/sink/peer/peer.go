// Package peer is how sinks reach their receivers: over the connections of a
// cluster, which knows the endpoints, their health and TLS.
package peer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Peer is a receiver. Its methods are for one goroutine, but for Dial.
type Peer struct {
	// read-only after construction
	config  *resource.LogsPeer
	cluster filters.Cluster
	secrets filters.SecretSource
	client  *http.Client

	mu   sync.Mutex
	next int // guarded by mu: which endpoint is dialled next

	seen  uint64 // version of the table
	gzip  *gzip.Writer
	body  bytes.Buffer
	reply bytes.Buffer
}

// maxReply bounds what is read of an answer, in bytes.
const maxReply = 64 << 20

// New makes a peer that has no connection yet.
func New(config *resource.LogsPeer, cluster filters.Cluster, secrets filters.SecretSource) *Peer {
	p := &Peer{config: config, cluster: cluster, secrets: secrets}
	p.client = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.Dial(ctx, "http/1.1") },
			// One request at a time; two connections, so that one which is being closed is
			// in nobody's way.
			MaxIdleConns: 2, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// Close closes the connections that are idle.
func (p *Peer) Close() { p.client.CloseIdleConnections() }

// errNoEndpoint says that the cluster has nobody to send to.
var errNoEndpoint = errors.New("no endpoint of the receiver is known and healthy")

// Dial connects to an endpoint, one after the other, healthy ones first. With TLS
// the protocol is agreed on. Any goroutine may call it.
func (p *Peer) Dial(ctx context.Context, protocol string) (net.Conn, error) {
	table := p.cluster.Table()
	e := p.pick(table)
	if e == nil {
		return nil, errNoEndpoint
	}
	if t := table.Options; t != nil && t.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.ConnectTimeout)
		defer cancel()
	}
	conn, err := dial(ctx, e, protocol)
	if err != nil {
		p.cluster.Report(e, filters.ConnectFailure)
		return nil, fmt.Errorf("connecting to %s: %w", e.Hostname, err)
	}
	p.cluster.Report(e, filters.Success)
	return conn, nil
}

func dial(ctx context.Context, e *filters.Endpoint, protocol string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, e.Network, e.Address)
	if err != nil || e.TLS == nil {
		return conn, err
	}
	config := e.TLS.Clone()
	config.NextProtos = []string{protocol}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

func (p *Peer) pick(t *filters.Table) *filters.Endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	var other *filters.Endpoint
	for range t.Shards {
		e := t.Shards[p.next%len(t.Shards)].Primary
		p.next++
		if e != nil && e.Healthy() {
			return e
		}
		if other == nil {
			other = e
		}
	}
	return other // an ejected one may be back: nobody else is there
}

// Renew leaves connections that may lead to endpoints that are gone. It reports
// whether it has.
func (p *Peer) Renew() bool {
	v := p.cluster.Table().Version
	if v == p.seen {
		return false
	}
	p.seen = v
	return true
}

// Headers are those of each request: what is configured, and who the proxy is.
// Secrets are read anew, since they may change.
func (p *Peer) Headers() (map[string]string, error) {
	h := make(map[string]string, len(p.config.Headers)+1)
	maps.Copy(h, p.config.Headers)
	a := &p.config.Auth
	switch {
	case a.Bearer.Set():
		token, err := p.secret(a.Bearer)
		if err != nil {
			return nil, err
		}
		h["Authorization"] = "Bearer " + token
	case a.APIKey.Set():
		key, err := p.secret(a.APIKey)
		if err != nil {
			return nil, err
		}
		h["Authorization"] = "ApiKey " + key
	case a.Password.Set() || a.Username != "":
		password := ""
		if a.Password.Set() {
			var err error
			if password, err = p.secret(a.Password); err != nil {
				return nil, err
			}
		}
		h["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+password))
	}
	return h, nil
}

func (p *Peer) secret(k resource.SecretKey) (string, error) {
	name := k.Name
	if k.Key != "" {
		name += "/" + k.Key
	}
	v, err := p.secrets.Secret(name)
	if err != nil {
		return "", &sink.Error{Reason: "secret", Err: err}
	}
	return strings.TrimRight(v, "\r\n"), nil
}

// Post sends a body, which the peer may compress, and gives the answer's, valid
// until the next call. The error is a *sink.Error or a *sink.Refused for a status
// that is none of success.
func (p *Peer) Post(ctx context.Context, contentType string, body [][]byte) ([]byte, error) {
	if p.Renew() {
		p.client.CloseIdleConnections()
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	if err := p.assemble(body); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://receiver"+p.config.Path, bytes.NewReader(p.body.Bytes()))
	if err != nil {
		return nil, err
	}
	headers, err := p.Headers()
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	r.Host = p.config.Host
	r.Header.Set("Content-Type", contentType)
	if p.config.Gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	return p.do(r)
}

// assemble puts the body together, compressed if that is wanted.
func (p *Peer) assemble(body [][]byte) error {
	p.body.Reset()
	if !p.config.Gzip {
		for _, part := range body {
			p.body.Write(part)
		}
		return nil
	}
	if p.gzip == nil {
		w, err := gzip.NewWriterLevel(&p.body, gzip.BestSpeed)
		if err != nil {
			return err
		}
		p.gzip = w
	}
	p.gzip.Reset(&p.body)
	for _, part := range body {
		if _, err := p.gzip.Write(part); err != nil {
			return err
		}
	}
	return p.gzip.Close()
}

func (p *Peer) do(r *http.Request) ([]byte, error) {
	resp, err := p.client.Do(r)
	if err != nil {
		return nil, failed(err)
	}
	defer resp.Body.Close()
	p.reply.Reset()
	if _, err := p.reply.ReadFrom(io.LimitReader(resp.Body, maxReply)); err != nil {
		return nil, failed(err)
	}
	return p.reply.Bytes(), statusError(resp)
}

// failed says what went wrong in a word.
func failed(err error) error {
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return &sink.Error{Reason: "timeout", Err: err}
	case errors.Is(err, errNoEndpoint):
		return &sink.Error{Reason: "no_endpoint", Err: err}
	}
	return &sink.Error{Reason: "connection", Err: err}
}

// statusError judges an answer. Wrong credentials and paths are mistakes that
// somebody will mend, and so are no reason to lose records.
func statusError(resp *http.Response) error {
	code := resp.StatusCode
	err := fmt.Errorf("the receiver answers %d %s", code, http.StatusText(code))
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestEntityTooLarge:
		return &sink.Refused{TooLarge: true, Err: err}
	case code >= 400 && code < 500:
		switch code {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestTimeout,
			http.StatusTooManyRequests, http.StatusProxyAuthRequired:
		default:
			return &sink.Refused{Err: err}
		}
	}
	return &sink.Error{Reason: strconv.Itoa(code), After: retryAfter(resp.Header.Get("Retry-After")), Err: err}
}

// retryAfter reads seconds, or a date.
func retryAfter(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}
