package grpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // clients may ask for it
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
)

// Serve runs a server until the test ends, and gives its address. register may
// add services of its own.
func Serve(tb testing.TB, register ...func(*grpc.Server)) string {
	tb.Helper()
	l := NewLate(tb)
	l.Start(register...)
	return l.Addr
}

// Late is a server that has an address already, and begins to answer at Start.
type Late struct {
	Addr string

	tb testing.TB
	ln net.Listener
}

// NewLate takes an address until the test ends.
func NewLate(tb testing.TB) *Late {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return &Late{Addr: ln.Addr().String(), tb: tb, ln: ln}
}

// Start serves until the test ends.
func (l *Late) Start(register ...func(*grpc.Server)) {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20))
	Register(s)
	for _, more := range register {
		more(s)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l.ln) // until Stop
	}()
	l.tb.Cleanup(func() {
		s.Stop()
		<-done
	})
}

// Register has a server do what this one does.
func Register(s *grpc.Server) {
	for _, d := range services() {
		s.RegisterService(d, struct{}{})
	}
}

// services describes what the server does, as generated code would.
func services() []*grpc.ServiceDesc {
	return []*grpc.ServiceDesc{{
		ServiceName: Orders, HandlerType: (*any)(nil), Metadata: "shop/shop.proto",
		Methods: []grpc.MethodDesc{
			unary("Get", get), unary("Create", create), unary("Update", update), unary("List", list), unary("Delete", remove), unary("Echo", echo),
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "Watch", Handler: watch, ServerStreams: true},
			{StreamName: "Import", Handler: load, ClientStreams: true},
			{StreamName: "Chat", Handler: chat, ClientStreams: true, ServerStreams: true},
		},
	}, {
		ServiceName: Files, HandlerType: (*any)(nil), Metadata: "shop/shop.proto",
		Methods: []grpc.MethodDesc{unary("Convert", convert)},
		Streams: []grpc.StreamDesc{
			{StreamName: "Upload", Handler: upload, ClientStreams: true},
			{StreamName: "Download", Handler: download, ServerStreams: true},
		},
	}}
}

// message is a pointer to a generated one.
type message[T any] interface {
	*T
	proto.Message
}

func unary[T any, P message[T]](name string, serve func(context.Context, P) (proto.Message, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := P(new(T))
		if err := decode(in); err != nil {
			return nil, err
		}
		return serve(ctx, in)
	}}
}

// get answers with the order, or fails as its name says.
func get(ctx context.Context, in *shop.GetRequest) (proto.Message, error) {
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-cost", "5"))
	switch _, name, _ := strings.Cut(in.GetName(), "/"); {
	case name == "missing":
		s, err := status.New(codes.NotFound, "no order \"missing\": 100% gone, é").WithDetails(
			&errdetails.ErrorInfo{Reason: "GONE", Domain: "shop"}, &shop.Item{Sku: "s"})
		if err != nil {
			return nil, err
		}
		return nil, s.Err()
	case strings.HasPrefix(name, "code-"):
		var c codes.Code
		if err := c.UnmarshalJSON([]byte(name[len("code-"):])); err != nil {
			return nil, err
		}
		return nil, status.Error(c, "as asked")
	case name == "slow":
		deadline, ok := ctx.Deadline()
		<-ctx.Done()
		return nil, status.Errorf(codes.DeadlineExceeded, "deadline %v %v", ok, !deadline.IsZero())
	case name == "large":
		return &shop.Order{Name: in.GetName(), CustomerName: strings.Repeat("x", 3<<20)}, nil
	}
	order := &shop.Order{Name: in.GetName(), State: in.GetState(), Serial: int64(in.GetRevision()), Labels: map[string]string{}}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		for name, values := range md {
			if strings.HasPrefix(name, "x-") && !strings.HasPrefix(name, "x-envoy") && !strings.HasPrefix(name, "x-forwarded") && name != "x-request-id" {
				order.Labels[name] = strings.Join(values, ",")
			}
		}
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-seen", strings.Join(md["x-tenant"], ",")))
	}
	if f := in.GetFilter(); f != nil {
		order.CustomerName = f.String()
		order.Created = f.GetSince()
	}
	return order, nil
}

func create(_ context.Context, in *shop.CreateRequest) (proto.Message, error) {
	o := in.GetOrder()
	if o == nil {
		o = &shop.Order{}
	}
	o.Name = in.GetShelf() + "/" + o.GetName()
	if in.GetDryRun() {
		o.State = shop.State_OPEN
	}
	return o, nil
}

func update(_ context.Context, in *shop.Order) (proto.Message, error) { return in, nil }

func echo(_ context.Context, in *shop.Everything) (proto.Message, error) { return in, nil }

func remove(context.Context, *shop.GetRequest) (proto.Message, error) { return &emptypb.Empty{}, nil }

func list(_ context.Context, in *shop.ListRequest) (proto.Message, error) {
	out := &shop.ListResponse{NextPageToken: in.GetPageToken()}
	for i := range in.GetPageSize() {
		out.Orders = append(out.Orders, order(i))
	}
	for _, s := range in.GetStates() {
		out.Orders = append(out.Orders, &shop.Order{State: s})
	}
	return out, nil
}

func order(i int32) *shop.Order {
	return &shop.Order{
		Name: fmt.Sprintf("orders/%d", i), Serial: int64(i), Items: []*shop.Item{{Sku: "a", Count: 1, Price: 1.5}},
		Created: &timestamppb.Timestamp{Seconds: 1700000000},
	}
}

// watch sends as many orders as a page has. A page token is an error at the end.
func watch(_ any, s grpc.ServerStream) error {
	in := &shop.ListRequest{}
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	if in.GetPageToken() == "refused" {
		return status.Error(codes.PermissionDenied, "not this one")
	}
	for i := range in.GetPageSize() {
		if err := s.SendMsg(order(i)); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("x-cost", "7"))
	if in.GetAll() { // wait for the client to go
		<-s.Context().Done()
	}
	if t := in.GetPageToken(); t != "" {
		return status.Error(codes.DataLoss, t)
	}
	return nil
}

func load(_ any, s grpc.ServerStream) error {
	out := &shop.ListResponse{}
	for {
		in := &shop.Order{}
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return s.SendMsg(out)
		}
		if err != nil {
			return err
		}
		if in.GetName() == "stop" {
			return status.Error(codes.ResourceExhausted, "enough")
		}
		out.Orders = append(out.Orders, in)
	}
}

func chat(_ any, s grpc.ServerStream) error {
	for {
		in := &shop.Order{}
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		in.Serial++
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}

func convert(_ context.Context, in *httpbody.HttpBody) (proto.Message, error) {
	return &httpbody.HttpBody{ContentType: "text/x-" + in.GetContentType(), Data: append([]byte("got "), in.GetData()...)}, nil
}

// upload counts what it is sent.
func upload(_ any, s grpc.ServerStream) error {
	size, first := 0, ""
	for n := 0; ; n++ {
		in := &httpbody.HttpBody{}
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return s.SendMsg(&shop.ListResponse{NextPageToken: fmt.Sprintf("%s %d", first, size)})
		}
		if err != nil {
			return err
		}
		if n == 0 {
			first = in.GetContentType()
		}
		size += len(in.GetData())
	}
}

func download(_ any, s grpc.ServerStream) error {
	in := &shop.GetRequest{}
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	for _, part := range []string{"one ", "two ", in.GetName()} {
		if err := s.SendMsg(&httpbody.HttpBody{ContentType: "text/plain", Data: []byte(part)}); err != nil {
			return err
		}
	}
	return nil
}
