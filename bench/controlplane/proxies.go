package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// fleet is the simulated proxies: each has a stream, and says ACK to everything.
type fleet struct {
	size size
	// perConnection is how many streams share a connection.
	perConnection int
	secure        bool
	conns         []*grpc.ClientConn
	cancel        context.CancelFunc
	streams       sync.WaitGroup
	// got counts resources that were received and acknowledged.
	got atomic.Int64
	// broken is the first stream that ended by itself.
	broken atomic.Pointer[error]
	// versions are what each proxy holds, if it remembers.
	remember bool
	mu       sync.Mutex
	versions []map[string]string
}

// brief is a response as far as a simulated proxy reads it, so that the proxies
// leave the machine's CPU to the server.
type brief struct {
	nonce     []byte
	resources int
	versions  map[string]string
}

// rawCodec sends bytes as they are, and reads responses briefly.
type rawCodec struct{ encoding.CodecV2 }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	r, ok := v.(*brief)
	if !ok {
		return fmt.Errorf("%T is not a brief", v)
	}
	return r.read(buf.ReadOnlyData())
}

func (r *brief) read(b []byte) error {
	const resources, nonce = 2, 5
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			return errors.New("not a DeltaDiscoveryResponse")
		}
		value, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return protowire.ParseError(m)
		}
		b = b[n+m:]
		switch number {
		case nonce:
			r.nonce = append(r.nonce[:0], value...)
		case resources:
			r.resources++
			if r.versions != nil {
				resource := &discoveryv3.Resource{}
				if err := proto.Unmarshal(value, resource); err != nil {
					return err
				}
				r.versions[resource.GetName()] = resource.GetVersion()
			}
		}
	}
	return nil
}

func newFleet(s size, st *settings) *fleet {
	return &fleet{size: s, perConnection: st.perConnection, secure: st.secure, versions: make([]map[string]string, s.Proxies)}
}

// connect opens all streams and asks for all names. again: the proxies say what
// they hold.
func (f *fleet) connect(address string, again bool) error {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.got.Store(0)
	f.broken.Store(nil)
	count := (f.size.Proxies + f.perConnection - 1) / f.perConnection
	f.conns = make([]*grpc.ClientConn, count)
	for i := range f.conns {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(proxyCredentials(f.secure)), grpc.WithReadBufferSize(4<<10),
			grpc.WithWriteBufferSize(4<<10), grpc.WithDisableServiceConfig(),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2(grpcproto.Name)})))
		if err != nil {
			return err
		}
		f.conns[i] = conn
	}
	errs := make(chan error, 32)
	for w := range cap(errs) {
		go func() {
			var first error
			for p := w; p < f.size.Proxies && first == nil; p += cap(errs) {
				first = f.open(ctx, p, again)
			}
			errs <- first
		}()
	}
	var all error
	for range cap(errs) {
		all = errors.Join(all, <-errs)
	}
	return all
}

func (f *fleet) open(ctx context.Context, proxy int, again bool) error {
	r := &discoveryv3.DeltaDiscoveryRequest{
		Node:    &corev3.Node{Id: nodeID(proxy), Cluster: "bench", UserAgentName: "dragoman"},
		TypeUrl: resourcev3.EndpointType,
	}
	for _, i := range f.size.names(proxy) {
		r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, serviceName(i))
	}
	if again {
		r.InitialResourceVersions = f.versions[proxy]
	}
	first, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	stream, err := f.conns[proxy/f.perConnection].NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(first); err != nil {
		return err
	}
	f.streams.Go(func() {
		if err := f.follow(stream, proxy); ctx.Err() == nil {
			f.broken.CompareAndSwap(nil, &err)
		}
	})
	return nil
}

// follow acknowledges what comes, until the stream ends.
func (f *fleet) follow(stream grpc.ClientStream, proxy int) error {
	var r brief
	ack := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), resourcev3.EndpointType)
	head := len(ack)
	for {
		r.resources = 0
		if f.remember {
			r.versions = map[string]string{}
		}
		if err := stream.RecvMsg(&r); err != nil {
			return err
		}
		if f.remember {
			f.keep(proxy, r.versions)
		}
		ack = protowire.AppendBytes(protowire.AppendTag(ack[:head], 6, protowire.BytesType), r.nonce)
		if err := stream.SendMsg(append([]byte(nil), ack...)); err != nil {
			return err
		}
		f.got.Add(int64(r.resources))
	}
}

func (f *fleet) keep(proxy int, versions map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.versions[proxy] == nil {
		f.versions[proxy] = map[string]string{}
	}
	maps.Copy(f.versions[proxy], versions)
}

// await waits until so many resources have come in all.
func (f *fleet) await(want int64) error {
	deadline := time.Now().Add(3 * time.Minute)
	for f.got.Load() < want {
		if err := f.broken.Load(); err != nil {
			return fmt.Errorf("a stream has ended: %w", *err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d resources have come", f.got.Load(), want)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// leave ends all streams and connections.
func (f *fleet) leave() {
	f.cancel()
	f.streams.Wait()
	for _, conn := range f.conns {
		conn.Close()
	}
	f.conns = nil
}
