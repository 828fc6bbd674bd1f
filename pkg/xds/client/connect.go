package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// event is what a connector tells the client.
type event struct {
	opened *link    // a stream is there
	msg    *message // a response has come on link from
	from   *link
	closed error // the stream or the attempt to have one has ended, always with a reason
	server string
}

// link is an open stream, as the client sees it.
type link struct {
	server string
	mode   Mode
	out    chan proto.Message // requests, in order
	cancel context.CancelCauseFunc
	heard  bool // a response has come; the client's own
}

// maxQueued bounds the requests that a server does not read.
const maxQueued = 4096

var (
	errNotRead  = errors.New("the control plane does not read requests")
	errGone     = errors.New("the control plane ended the stream")
	errTellAnew = errors.New("the control plane is told anew what is here: it had not answered when the set on disk was used")
)

// send queues a request; a server that reads none loses the stream.
func (l *link) send(p proto.Message) {
	select {
	case l.out <- p:
	default:
		l.cancel(errNotRead)
	}
}

// connector keeps one stream open, to one server after the other.
type connector struct {
	opts   *Options
	events chan<- event
	pause  func(context.Context, time.Duration) error

	current int // index of the server
	failed  int // attempts in a row without an answer
	short   int // streams in a row that answered and ended soon
	// told is how long a server has told us to stay away, since all were tried.
	told time.Duration
}

// run connects until ctx is done.
func (c *connector) run(ctx context.Context) {
	for {
		server := c.opts.Servers[c.current]
		begun := time.Now()
		good, err := c.serve(ctx, server)
		if ctx.Err() != nil {
			return
		}
		if !c.tell(ctx, event{closed: err, server: server}) {
			return
		}
		c.told = max(c.told, retryDelay(err))
		if c.pause(ctx, c.after(good, time.Since(begun))) != nil {
			return
		}
	}
}

// after gives the pause before the next attempt. A server that has answered is
// tried first again. Of others, each is tried once without a pause; only when
// all have failed it is waited, longer each time, and as long as one of them has
// asked for. Pauses are jittered, so that
// many clients of one server do not come back at the same time.
func (c *connector) after(good bool, lasted time.Duration) time.Duration {
	told := c.told
	if good {
		c.failed, c.told = 0, 0
		if c.short++; lasted > c.opts.BackoffMax {
			c.short = 1
		}
		return max(c.backoff(c.short), told)
	}
	c.failed++
	c.current = (c.current + 1) % len(c.opts.Servers)
	if c.failed%len(c.opts.Servers) != 0 {
		return 0
	}
	c.told = 0
	return max(c.backoff(c.failed/len(c.opts.Servers)), told)
}

// maxTold bounds how long a server can have us stay away.
const maxTold = 2 * time.Minute

// retryDelay is how long a server that is too busy wants to be left alone.
func retryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().CheckValid() == nil {
			return max(min(info.GetRetryDelay().AsDuration(), maxTold), 0)
		}
	}
	return 0
}

// backoff is the pause before the nth attempt, from 1.
func (c *connector) backoff(n int) time.Duration {
	pause := c.opts.BackoffBase
	for range n - 1 {
		if pause >= c.opts.BackoffMax/2 {
			pause = c.opts.BackoffMax
			break
		}
		pause *= 2
	}
	return jitter(pause)
}

// jitter gives half of d to one and a half of it.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d)+1))
}

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (c *connector) tell(ctx context.Context, e event) bool {
	select {
	case c.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve connects to one server and reads from it until that ends. good says
// that it has sent something.
func (c *connector) serve(ctx context.Context, server string) (good bool, err error) {
	conn, err := c.dial(server)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if c.opts.Mode != SotW {
		good, err = c.stream(ctx, conn, server, Delta)
		if c.opts.Mode == Delta || good || status.Code(err) != codes.Unimplemented {
			return good, err
		}
		c.opts.Log.Info("the control plane has no delta protocol, asking for the state of the world", "server", server)
	}
	return c.stream(ctx, conn, server, SotW)
}

// Times of keepalive: pings as rare as every server allows, and TCP's own.
const (
	pingEvery   = 5 * time.Minute
	pingTimeout = 20 * time.Second
)

func (c *connector) dial(server string) (*grpc.ClientConn, error) {
	creds, err := c.opts.Credentials(server)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", server, err)
	}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(dialTCP),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.opts.MaxMessageBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: c.opts.ConnectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
	}, c.opts.DialOptions...)
	conn, err := grpc.NewClient(server, options...)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", server, err)
	}
	return conn, nil
}

// dialTCP finds a dead server in about a minute by itself. Proxies of the
// environment are for the application, not for this.
func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return d.DialContext(ctx, "unix", strings.TrimPrefix(path, "//"))
	}
	return d.DialContext(ctx, "tcp", address)
}

// adsStream is what both protocols' streams have in common.
type adsStream interface {
	grpc.ClientStream
	receive() (message, error)
}

type deltaStream struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (s deltaStream) receive() (message, error) {
	p, err := s.Recv()
	if err != nil {
		return message{}, err
	}
	return fromDelta(p), nil
}

type sotwStream struct {
	discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
}

func (s sotwStream) receive() (message, error) {
	p, err := s.Recv()
	if err != nil {
		return message{}, err
	}
	return fromSotW(p), nil
}

func open(ctx context.Context, conn *grpc.ClientConn, mode Mode) (adsStream, error) {
	ads := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	if mode == SotW {
		s, err := ads.StreamAggregatedResources(ctx)
		return sotwStream{s}, err
	}
	s, err := ads.DeltaAggregatedResources(ctx)
	return deltaStream{s}, err
}

// stream opens a stream and reads it to its end. All that it starts has ended
// when it returns.
func (c *connector) stream(parent context.Context, conn *grpc.ClientConn, server string, mode Mode) (good bool, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel(errGone)
	authorized, err := c.authorize(ctx)
	if err != nil {
		return false, err
	}
	s, err := open(authorized, conn, mode)
	if err != nil {
		return false, fmt.Errorf("connecting to %s: %w", server, err)
	}
	l := &link{server: server, mode: mode, out: make(chan proto.Message, maxQueued), cancel: cancel}
	if !c.tell(ctx, event{opened: l}) {
		return false, context.Cause(ctx)
	}
	sender.Go(func() { sendAll(ctx, s, l.out) })
	for {
		msg, err := s.receive()
		if err != nil {
			return good, c.ended(ctx, server, err)
		}
		good = true
		if !c.tell(ctx, event{msg: &msg, from: l}) {
			return good, context.Cause(ctx)
		}
	}
}

// ended says why a stream has ended.
func (c *connector) ended(ctx context.Context, server string, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		err = errGone
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("stream to %s: %w", server, err)
}

// sendAll sends requests until ctx is done. That the server has gone shows when
// reading.
func sendAll(ctx context.Context, s adsStream, out <-chan proto.Message) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-out:
			if err := s.SendMsg(p); err != nil {
				return
			}
		}
	}
}

// authorize adds the token, read anew.
func (c *connector) authorize(ctx context.Context) (context.Context, error) {
	if c.opts.Token == nil {
		return ctx, nil
	}
	token, err := c.opts.Token(ctx)
	if err != nil {
		return ctx, fmt.Errorf("reading the token for the control plane: %w", err)
	}
	if token == "" {
		return ctx, nil
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}
