package otlp

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/peer"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const exportMethod = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// client calls a collector. The cluster knows where it is and how TLS is spoken;
// gRPC sees a plain connection.
type client struct {
	config *resource.LogsPeer
	peer   *peer.Peer
	conn   *grpc.ClientConn
}

func newClient(config *resource.LogsPeer, p *peer.Peer) (*client, error) {
	c := &client{config: config, peer: p}
	return c, c.connect()
}

func (c *client) connect() error {
	conn, err := grpc.NewClient("passthrough:///"+c.config.Host,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.peer.Dial(ctx, "h2") }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(c.config.Host),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return fmt.Errorf("making a client of %s: %w", c.config.Host, err)
	}
	c.conn = conn
	return nil
}

func (c *client) close() error { return c.conn.Close() }

// renew connects anew after endpoints have come or gone.
func (c *client) renew() error {
	if !c.peer.Renew() {
		return nil
	}
	if err := c.conn.Close(); err != nil {
		return err
	}
	return c.connect()
}

// export sends a request, of parts, and gives the answer.
func (c *client) export(ctx context.Context, parts [][]byte) ([]byte, error) {
	if err := c.renew(); err != nil {
		return nil, err
	}
	headers, err := c.peer.Headers()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	md := metadata.MD{}
	for name, value := range headers {
		md.Set(strings.ToLower(name), value)
	}
	options := []grpc.CallOption{grpc.ForceCodecV2(bytesCodec{})}
	if c.config.Gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	var answer []byte
	if err := c.conn.Invoke(metadata.NewOutgoingContext(ctx, md), exportMethod, parts, &answer, options...); err != nil {
		return nil, judge(err)
	}
	return answer, nil
}

// judge follows the specification of OTLP, but for mistakes that somebody will
// mend: those are no reason to lose records.
func judge(err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.Internal, codes.AlreadyExists:
		return &sink.Refused{Err: err}
	case codes.ResourceExhausted:
		if s.Message() != "" && strings.Contains(s.Message(), "larger than max") {
			return &sink.Refused{TooLarge: true, Err: err}
		}
	}
	return &sink.Error{Reason: "grpc_" + strings.ToLower(s.Code().String()), After: retryInfo(s), Err: err}
}

func retryInfo(s *status.Status) time.Duration {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// bytesCodec passes messages that are encoded already.
type bytesCodec struct{}

// Name implements encoding.CodecV2; it is the content type's.
func (bytesCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2. gRPC copies before Invoke returns, or it
// compresses.
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	parts, ok := v.([][]byte)
	if !ok {
		return nil, fmt.Errorf("a request is a %T", v)
	}
	var out mem.BufferSlice
	for _, p := range parts {
		out = append(out, mem.SliceBuffer(p))
	}
	return out, nil
}

// Unmarshal implements encoding.CodecV2.
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	into, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("an answer is a %T", v)
	}
	*into = data.Materialize()
	return nil
}
