package grpcjson_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// benchOrder is what shops have: texts, numbers, a list, a map, a time.
func benchOrder() string {
	var items strings.Builder
	for i := range 8 {
		fmt.Fprintf(&items, `{"sku": "SKU-%04d", "count": %d, "price": %d.5},`, i, i+1, i*10)
	}
	return `{"customerName": "Ada Lovelace, London", "state": "PAID", "items": [` + strings.TrimSuffix(items.String(), ",") +
		`], "labels": {"channel": "web", "region": "eu-west"}, "created": "2026-01-02T03:04:05Z", "total": 1234.5, "serial": "9007199254740993", "signature": "AQIDBAUGBwg="}`
}

// BenchmarkRequest makes the message of PATCH /v1/orders/5.
func BenchmarkRequest(b *testing.B) {
	body := []byte(benchOrder())
	b.Run("transcoded", func(b *testing.B) {
		api := benchAPI(b)
		o := &transcode.RequestOptions{}
		var out []byte
		b.ReportAllocs()
		for b.Loop() {
			call, ok := api.Match("PATCH", "/v1/orders/5")
			if !ok {
				b.Fatal("no rule")
			}
			if err := call.Head("", o); err != nil {
				b.Fatal(err)
			}
			var err error
			if out, err = call.JSON(out[:0], body, o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("handwritten", func(b *testing.B) {
		var out []byte
		b.ReportAllocs()
		for b.Loop() {
			id, ok := strings.CutPrefix("/v1/orders/5", "/v1/")
			if !ok {
				b.Fatal("no rule")
			}
			m := &shop.Order{}
			if err := protojson.Unmarshal(body, m); err != nil {
				b.Fatal(err)
			}
			m.Name = id
			var err error
			if out, err = (proto.MarshalOptions{}).MarshalAppend(out[:0], m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkResponse makes the JSON of an answer.
func BenchmarkResponse(b *testing.B) {
	m := &shop.Order{}
	if err := protojson.Unmarshal([]byte(benchOrder()), m); err != nil {
		b.Fatal(err)
	}
	wire, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("transcoded", func(b *testing.B) {
		call, _ := benchAPI(b).Match("PATCH", "/v1/orders/5")
		var out []byte
		b.ReportAllocs()
		for b.Loop() {
			if out, err = call.Response(out[:0], wire, pbjson.WriteOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("handwritten", func(b *testing.B) {
		var out []byte
		b.ReportAllocs()
		for b.Loop() {
			m := &shop.Order{}
			if err := proto.Unmarshal(wire, m); err != nil {
				b.Fatal(err)
			}
			if out, err = (protojson.MarshalOptions{}).MarshalAppend(out[:0], m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchAPI(b *testing.B) *transcode.API {
	b.Helper()
	files, err := transcode.Load(grpctest.Descriptors())
	if err != nil {
		b.Fatal(err)
	}
	api, err := transcode.Compile(files, transcode.Options{Services: []string{grpctest.Orders}})
	if err != nil {
		b.Fatal(err)
	}
	return api
}
