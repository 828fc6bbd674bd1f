package grpcjson

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// How descriptors are fetched.
const (
	fetchTimeout  = 10 * time.Second
	firstPause    = 200 * time.Millisecond // after a failure; it doubles
	longestPause  = 30 * time.Second
	refreshPeriod = time.Minute // a server may be exchanged for one with more methods
	maxFiles      = 4096
)

// fetched are the descriptors of one configuration, kept from one filter to the
// next.
type fetched struct {
	conf *resource.GRPCJSONFilter
	api  *transcode.API
}

// remember keeps what was fetched, in place of what was before.
func (b *Builder) remember(conf *resource.GRPCJSONFilter, api *transcode.API) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetched = slices.DeleteFunc(b.fetched, func(f fetched) bool { return f.conf.Reflection == conf.Reflection })
	b.fetched = append(b.fetched, fetched{conf, api})
}

// recall finds what a filter of the same configuration has fetched; nil: none has.
func (b *Builder) recall(conf *resource.GRPCJSONFilter) *transcode.API {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.fetched {
		if reflect.DeepEqual(f.conf, conf) {
			return f.api
		}
	}
	return nil
}

// fetch asks the upstream for its descriptors, beside, until Close.
func (f *filter) fetch(b *Builder, ctx filters.Context) error {
	cluster, ok := ctx.Clusters.Cluster(f.conf.Reflection)
	if !ok {
		return fmt.Errorf("descriptors by reflection: there is no cluster %q", f.conf.Reflection)
	}
	if api := b.recall(f.conf); api != nil {
		f.service.Store(b.counters.service(f.listener, api))
	}
	f.beside(func(running context.Context) { f.keepFetching(running, b, cluster) })
	return nil
}

func (f *filter) keepFetching(ctx context.Context, b *Builder, cluster filters.Cluster) {
	pause, said := firstPause, ""
	for {
		api, err := f.fetchOnce(ctx, cluster)
		wait := refreshPeriod
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if text := err.Error(); text != said {
				said = text
				f.log.Warn("fetching descriptors by reflection", "listener", f.listener, "cluster", cluster.Name(), "error", err)
			}
			wait = pause
			pause = min(2*pause, longestPause)
		default:
			pause, said = firstPause, ""
			f.service.Store(b.counters.service(f.listener, api))
			b.remember(f.conf, api)
		}
		t := time.NewTimer(wait + rand.N(wait/4)) // jitter, not a secret
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// fetchOnce asks one endpoint.
func (f *filter) fetchOnce(ctx context.Context, cluster filters.Cluster) (*transcode.API, error) {
	ep := anyEndpoint(cluster)
	if ep == nil {
		return nil, errors.New("no endpoint is there")
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	conn, err := dial(ep)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	files, err := askReflection(ctx, conn, f.conf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ep.Address, err)
	}
	registry, err := transcode.FromFiles(files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ep.Address, err)
	}
	o := f.conf.OptionsFor(transcode.Services(registry))
	api, err := transcode.Compile(registry, o)
	if err == nil || !f.conf.AllServices {
		return api, err
	}
	// Of services that nobody has named, those are left out that cannot be served.
	var good []string
	for _, name := range o.Services {
		alone := o
		alone.Services, alone.Rules = []string{name}, nil
		if _, bad := transcode.Compile(registry, alone); bad != nil {
			f.log.Warn("a service is left out", "listener", f.listener, "cluster", cluster.Name(), "service", name, "error", bad)
			continue
		}
		good = append(good, name)
	}
	if len(good) == len(o.Services) {
		return nil, err // they disagree with each other
	}
	o.Services = good
	return transcode.Compile(registry, o)
}

func anyEndpoint(cluster filters.Cluster) *filters.Endpoint {
	var all []*filters.Endpoint
	shards := cluster.Table().Shards
	for i := range shards {
		for _, e := range append([]*filters.Endpoint{shards[i].Primary}, shards[i].Replicas...) {
			if e != nil && e.Healthy() {
				all = append(all, e)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[rand.N(len(all))] // load balancing, not a secret
}

// dial prepares a connection, which is made when it is used.
func dial(ep *filters.Endpoint) (*grpc.ClientConn, error) {
	secure := insecure.NewCredentials()
	if ep.TLS != nil {
		c := ep.TLS.Clone()
		c.NextProtos = []string{"h2"}
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
		secure = credentials.NewTLS(c)
	}
	return grpc.NewClient("passthrough:///"+ep.Address,
		grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(transcode.MaxDescriptors)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, ep.Network, ep.Address)
		}))
}

// asker asks one server's reflection.
type asker struct {
	stream grpc.ClientStream
	files  map[string]*descriptorpb.FileDescriptorProto
	size   int
}

// askReflection fetches the files of the services, by v1 or else v1alpha.
func askReflection(ctx context.Context, conn *grpc.ClientConn, conf *resource.GRPCJSONFilter) ([]*descriptorpb.FileDescriptorProto, error) {
	for _, path := range [...]string{reflection, reflectionAlpha} {
		files, err := askVersion(ctx, conn, conf, path)
		if status.Code(errors.Unwrap(err)) == codes.Unimplemented && path == reflection {
			continue
		}
		return files, err
	}
	return nil, errors.New("the server has no reflection")
}

func askVersion(ctx context.Context, conn *grpc.ClientConn, conf *resource.GRPCJSONFilter, path string) ([]*descriptorpb.FileDescriptorProto, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, path)
	if err != nil {
		return nil, fmt.Errorf("asking for reflection: %w", err)
	}
	a := &asker{stream: stream, files: make(map[string]*descriptorpb.FileDescriptorProto)}
	services := conf.Options.Services
	if conf.AllServices {
		if services, err = a.list(); err != nil {
			return nil, err
		}
	}
	for _, name := range services {
		q := &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}
		if err := a.add(&reflectionpb.ServerReflectionRequest{MessageRequest: q}); err != nil {
			return nil, fmt.Errorf("service %q: %w", name, err)
		}
	}
	return a.complete()
}

func (a *asker) ask(q *reflectionpb.ServerReflectionRequest) (*reflectionpb.ServerReflectionResponse, error) {
	err := a.stream.SendMsg(q)
	out := &reflectionpb.ServerReflectionResponse{}
	if bad := a.stream.RecvMsg(out); bad != nil {
		err = bad // it says more than what sending says
	}
	if err != nil {
		return nil, fmt.Errorf("asking for reflection: %w", err)
	}
	if e := out.GetErrorResponse(); e != nil {
		return nil, fmt.Errorf("the server says %s: %s", codes.Code(e.GetErrorCode()), e.GetErrorMessage())
	}
	return out, nil
}

// list names the services that are the server's own.
func (a *asker) list() ([]string, error) {
	out, err := a.ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range out.GetListServicesResponse().GetService() {
		if !strings.HasPrefix(s.GetName(), "grpc.") {
			names = append(names, s.GetName())
		}
	}
	return names, nil
}

// add takes the files of an answer.
func (a *asker) add(q *reflectionpb.ServerReflectionRequest) error {
	out, err := a.ask(q)
	if err != nil {
		return err
	}
	for _, b := range out.GetFileDescriptorResponse().GetFileDescriptorProto() {
		f := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(b, f); err != nil {
			return fmt.Errorf("a descriptor cannot be decoded: %w", err)
		}
		if a.size += len(b); a.size > transcode.MaxDescriptors || len(a.files) > maxFiles {
			return errors.New("the descriptors are too large")
		}
		a.files[f.GetName()] = f
	}
	return nil
}

// complete fetches what the files import and the server has not sent with them.
func (a *asker) complete() ([]*descriptorpb.FileDescriptorProto, error) {
	for {
		missing := a.missing()
		if missing == "" {
			break
		}
		q := &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: missing}
		if err := a.add(&reflectionpb.ServerReflectionRequest{MessageRequest: q}); err != nil {
			return nil, fmt.Errorf("file %q: %w", missing, err)
		}
		if a.files[missing] == nil {
			return nil, fmt.Errorf("file %q: the server has sent another", missing)
		}
	}
	list := make([]*descriptorpb.FileDescriptorProto, 0, len(a.files))
	for _, f := range a.files {
		list = append(list, f)
	}
	slices.SortFunc(list, func(x, y *descriptorpb.FileDescriptorProto) int { return strings.Compare(x.GetName(), y.GetName()) })
	return list, nil
}

func (a *asker) missing() string {
	for _, f := range a.files {
		for _, name := range f.GetDependency() {
			if a.files[name] == nil && !transcode.Known(name) {
				return name
			}
		}
	}
	return ""
}
