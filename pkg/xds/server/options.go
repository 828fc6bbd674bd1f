package server

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Options say how a [Server] is to work. Nodes is needed, the rest is not.
type Options struct {
	Nodes    Nodes
	Finder   Finder
	Observer Observer
	// Logger gets refusals and NACKs; absent: slog.Default().
	Logger *slog.Logger
	Limits Limits
}

// Limits bound what clients may take of the server. A field that is 0 has its
// default.
type Limits struct {
	// Streams bounds streams in total (20,000); Pending those among them that have
	// not been admitted yet (2,000); StreamsPerIdentity those of one identity (16).
	Streams, Pending, StreamsPerIdentity int
	// Connections bounds those of a listener (20,000), if it is wrapped by
	// [Server.Limit]. ConnectionIdle is how long one may be without a stream (1 min).
	Connections    int
	ConnectionIdle time.Duration
	// StreamsPerConnection bounds streams of one connection (100).
	StreamsPerConnection uint32
	// Connects is how many streams may begin per second (1,000) once Burst of them
	// (2,000) have begun at once.
	Connects float64
	Burst    int
	// Requests is how many requests a stream may send per second (100) beside those
	// that answer a response, once RequestBurst of them (1,000) have come at once.
	// Further ones wait.
	Requests     float64
	RequestBurst int
	// RetryWithin is the span (15 s) over which refused clients are told to
	// spread their next attempts.
	RetryWithin time.Duration
	// FirstRequest is how long a stream may take for its first request (15 s).
	FirstRequest time.Duration
	// RequestBytes bounds a request (2 MiB), Names its names and versions, and the
	// names that a stream may be subscribed to per type (20,000), NameBytes a name
	// (1024), Types the resource types of a stream (16), NodeBytes what a node says of
	// itself (64 KiB).
	RequestBytes, Names, NameBytes, Types, NodeBytes int
	// ResponseBytes is the size from which a response is split up (1 MiB). A single
	// larger resource is still sent.
	ResponseBytes int
	// ConnectionAge is when a connection is told to go (30 min, 10% more or less);
	// ConnectionGrace (30 s) is how long it may take. A negative age: never.
	ConnectionAge, ConnectionGrace time.Duration
	// PingAfter is how long a connection may be silent before it is asked whether it
	// is still there (30 s), and PingTimeout how long the answer may take (20 s).
	// PingMinimum is how often a client may ask (10 s).
	PingAfter, PingTimeout, PingMinimum time.Duration
	// Drain is over how long [Server.Shutdown] spreads its farewells (10 s), if its
	// context allows.
	Drain time.Duration
}

func orDefault[T int | uint32 | float64 | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

func (l *Limits) fill() {
	orDefault(&l.Streams, 20_000)
	orDefault(&l.Pending, 2_000)
	orDefault(&l.StreamsPerIdentity, 16)
	orDefault(&l.Connections, 20_000)
	orDefault(&l.ConnectionIdle, time.Minute)
	orDefault(&l.StreamsPerConnection, 100)
	orDefault(&l.Connects, 1_000)
	orDefault(&l.Burst, 2_000)
	orDefault(&l.Requests, 100)
	orDefault(&l.RequestBurst, 1_000)
	orDefault(&l.RetryWithin, 15*time.Second)
	orDefault(&l.FirstRequest, 15*time.Second)
	orDefault(&l.RequestBytes, 2<<20)
	orDefault(&l.Names, 20_000)
	orDefault(&l.NameBytes, maxNameBytes)
	orDefault(&l.Types, 16)
	orDefault(&l.NodeBytes, 64<<10)
	orDefault(&l.ResponseBytes, 1<<20)
	orDefault(&l.ConnectionAge, 30*time.Minute)
	orDefault(&l.ConnectionGrace, 30*time.Second)
	orDefault(&l.PingAfter, 30*time.Second)
	orDefault(&l.PingTimeout, 20*time.Second)
	orDefault(&l.PingMinimum, 10*time.Second)
	orDefault(&l.Drain, 10*time.Second)
}

// Sizes of a connection's buffers. Those for writing are shared; so are those for
// reading, but not with TLS, which has a buffer of its own beneath.
const (
	readBufferBytes  = 2 << 10
	writeBufferBytes = 8 << 10
)

// GRPCOptions are what the gRPC server that this one is registered with must be
// made with: the encoding of responses, how streams are ended, and the limits.
// Credentials are added to them.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	l := s.options.Limits
	age := l.ConnectionAge
	if age < 0 {
		age = math.MaxInt64
	}
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.InTapHandle(s.tap),
		grpc.MaxRecvMsgSize(l.RequestBytes),
		grpc.MaxSendMsgSize(maxResourceBytes + 2*l.ResponseBytes),
		grpc.MaxConcurrentStreams(l.StreamsPerConnection),
		grpc.MaxHeaderListSize(64 << 10), // a service account's token is 1 to 2 KiB
		grpc.HeaderTableSize(0),          // one stream per connection: nothing is said twice, and tokens are not kept
		grpc.ConnectionTimeout(20 * time.Second),
		grpc.ReadBufferSize(readBufferBytes),
		grpc.WriteBufferSize(writeBufferBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: l.ConnectionIdle, MaxConnectionAge: age, MaxConnectionAgeGrace: l.ConnectionGrace,
			Time: l.PingAfter, Timeout: l.PingTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: l.PingMinimum, PermitWithoutStream: true}),
	}
}

// spread is a random part of a span.
func spread(span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	return rand.N(span)
}
