// Package httpprobe asks an endpoint by HTTP, or by gRPC's health protocol,
// whether it is well.
package httpprobe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	// maxBody is read of an answer, so that the connection can be used again.
	maxBody = 64 << 10
	// maxMessage bounds the answer of gRPC's health protocol, which has two bytes.
	maxMessage = 1 << 10
	// idle is longer than checks are apart, as a rule.
	idle = 2 * time.Minute
)

// Asker asks one endpoint, and keeps its connection from one check to the next.
// It is for one goroutine.
type Asker struct {
	check     resource.HTTPCheck
	scheme    string
	host      string
	transport *http.Transport
	kept      bool // there may be a connection from before
}

// New returns an asker without a connection. hostname is asked for where the
// check names no host.
func New(t probe.Target, hostname string, check resource.HTTPCheck) *Asker {
	a := &Asker{check: check, scheme: "http", host: cmp.Or(check.Host, hostname, "localhost")}
	if t.TLS != nil {
		a.scheme = "https"
		if check.HTTP2 {
			t.TLS = t.TLS.Clone()
			t.TLS.NextProtos = []string{"h2"}
		}
	}
	var protocols http.Protocols
	protocols.SetHTTP1(!check.HTTP2)
	protocols.SetHTTP2(check.HTTP2)
	protocols.SetUnencryptedHTTP2(check.HTTP2)
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) { return probe.Connect(ctx, t) }
	a.transport = &http.Transport{
		DialContext: connect, DialTLSContext: connect, Protocols: &protocols,
		MaxIdleConns: 1, IdleConnTimeout: idle, DisableCompression: true,
	}
	return a
}

// Close closes the connection.
func (a *Asker) Close() { a.transport.CloseIdleConnections() }

// Ask returns an error that says why the endpoint is not well. The context
// bounds it.
func (a *Asker) Ask(ctx context.Context) error {
	kept := a.kept
	a.kept = true
	err := a.ask(ctx)
	if _, lost := errors.AsType[*connError](err); lost && kept && ctx.Err() == nil {
		// The connection may have been closed for being idle: that alone says nothing.
		a.transport.CloseIdleConnections()
		return a.ask(ctx)
	}
	return err
}

// connError is of the connection: the endpoint has said nothing.
type connError struct{ error }

// Unwrap returns the cause.
func (e *connError) Unwrap() error { return e.error }

func (a *Asker) ask(ctx context.Context) error {
	if a.check.GRPC {
		return a.askGRPC(ctx)
	}
	resp, err := a.send(ctx, cmp.Or(a.check.Method, http.MethodGet), a.check.Path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, maxBody); err != nil && !errors.Is(err, io.EOF) {
		return &connError{fmt.Errorf("reading the answer: %w", err)}
	}
	if !a.expected(resp.StatusCode) {
		return fmt.Errorf("it answers %d to %s %s", resp.StatusCode, cmp.Or(a.check.Method, http.MethodGet), a.check.Path)
	}
	return nil
}

func (a *Asker) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.scheme+"://check"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host = a.host
	r.Header.Set("User-Agent", "dragoman/health-check")
	if a.check.GRPC {
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("Te", "trailers")
	}
	resp, err := a.transport.RoundTrip(r)
	if err != nil {
		return nil, &connError{err}
	}
	return resp, nil
}

// expected says whether a status is one of those that speak for the endpoint.
func (a *Asker) expected(status int) bool {
	if len(a.check.Statuses) == 0 {
		return status == http.StatusOK
	}
	return slices.ContainsFunc(a.check.Statuses, func(r resource.StatusRange) bool { return status >= r.From && status < r.To })
}

// askGRPC speaks gRPC's health checking protocol, version 1.
func (a *Asker) askGRPC(ctx context.Context) error {
	message := protowire.AppendTag(nil, 1, protowire.BytesType)
	message = protowire.AppendString(message, a.check.Service)
	if a.check.Service == "" {
		message = nil
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	resp, err := a.send(ctx, http.MethodPost, "/grpc.health.v1.Health/Check", append(frame, message...))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return &connError{fmt.Errorf("reading the answer: %w", err)}
	}
	status := cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status"))
	if resp.StatusCode != http.StatusOK || status != "0" {
		return fmt.Errorf("it answers HTTP status %d, gRPC status %q", resp.StatusCode, status)
	}
	return serving(answer)
}

// serving reads the frame with the answer.
func serving(frame []byte) error {
	const head = 5
	if len(frame) < head || frame[0] != 0 || int(binary.BigEndian.Uint32(frame[1:])) != len(frame)-head {
		return errors.New("its answer is no message of gRPC")
	}
	states := [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	state := uint64(0)
	for message := frame[head:]; len(message) > 0; {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errors.New("its answer is no message of gRPC's health protocol")
		}
		message = message[n:]
		if number == 1 && kind == protowire.VarintType {
			state, n = protowire.ConsumeVarint(message)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return errors.New("its answer is no message of gRPC's health protocol")
		}
		message = message[n:]
	}
	switch {
	case state == 1:
		return nil
	case state < uint64(len(states)):
		return errors.New("it says " + states[state])
	default:
		return fmt.Errorf("it says %d", state)
	}
}
