package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
)

// What the conversion of JSON to gRPC is about: an order for a server that gives
// it a name.
const (
	creation = `{"shelf":"shelves/7","order":{"name":"1001","customerName":"Ada Lovelace, London","state":"PAID",` +
		`"items":[{"sku":"sku-1","count":2,"price":12.50},{"sku":"sku-2","count":1,"price":99.00},{"sku":"sku-3","count":12,"price":0.75}],` +
		`"labels":{"channel":"web","region":"eu-west"},"created":"2026-01-02T03:04:05Z","total":133.00,"serial":"9007199254740993","signature":"AQIDBAUGBwg="}}`

	// creationPath is that of a rule in the server's descriptors.
	creationPath = "/v1/orders:create"

	// creationDocument has the ports of the listener and of the origin, and a file of
	// descriptors.
	creationDocument = `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: bench}
spec:
  api:
    listen: {port: %d}
    upstream: {address: "127.0.0.1:%d"}
    grpc:
      direction: FromJSON
      descriptors: {file: %s}
      services: [%s]
`
)

// serveGRPC is the origin of calls, until it fails.
func serveGRPC(address string) error {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	grpctest.Register(s)
	return s.Serve(ln)
}

// convertGRPC makes calls of orders as somebody would write it who needs just
// this, until it fails. where is the address to listen on, a comma, and the
// origin's.
func convertGRPC(where string) error {
	listen, origin, _ := strings.Cut(where, ",")
	conn, err := grpc.NewClient(origin, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+creationPath, func(w http.ResponseWriter, r *http.Request) {
		if err := callCreate(conn, w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	err = (&http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe()
	return errors.Join(err, conn.Close())
}

func callCreate(conn *grpc.ClientConn, w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, mostBody))
	if err != nil {
		return err
	}
	in, out := &shop.CreateRequest{}, &shop.Order{}
	if err := protojson.Unmarshal(body, in); err != nil {
		return err
	}
	// What a generated client does.
	if err := conn.Invoke(r.Context(), "/"+grpctest.Orders+"/Create", in, out, grpc.StaticMethod()); err != nil {
		return err
	}
	if body, err = protojson.Marshal(out); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(body)
	return err
}
