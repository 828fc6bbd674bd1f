package grpcjson_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
)

// TestReverseUpload has a stream of messages become the body of one request.
func TestReverseUpload(t *testing.T) {
	t.Parallel()
	orders := func(names ...string) (list []*shop.Order) {
		for _, name := range names {
			list = append(list, &shop.Order{Name: name})
		}
		return list
	}
	many := strings.Fields(strings.Repeat("order ", 5000))
	for name, tt := range map[string]struct {
		more string
		send []*shop.Order
		want string
	}{
		"none":       {"", nil, "application/json []"},
		"one":        {"", orders("a"), `application/json [{"name":"a"}]`},
		"several":    {"", orders("a", "b", "c"), `application/json [{"name":"a"},{"name":"b"},{"name":"c"}]`},
		"lines":      {`, "print_options": {"stream": "NDJSON"}`, orders("a", "b"), "application/x-ndjson {\"name\":\"a\"}\n{\"name\":\"b\"}\n"},
		"many":       {"", orders(many...), `application/json [` + strings.TrimSuffix(strings.Repeat(`{"name":"order"},`, len(many)), ",") + `]`},
		"no message": {`, "print_options": {"stream": "NDJSON"}`, nil, "application/x-ndjson "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := importing(t, startReverse(t, tt.more))
			for _, o := range tt.send {
				if err := s.SendMsg(o); err != nil {
					t.Fatal(err)
				}
			}
			var got shop.ListResponse
			if err := errors.Join(s.CloseSend(), s.RecvMsg(&got)); err != nil || got.GetNextPageToken() != tt.want {
				t.Errorf("%v, the app was asked with %.200q, want %.200q", err, got.GetNextPageToken(), tt.want)
			}
		})
	}
}

func importing(t *testing.T, c *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/"+grpctest.Orders+"/Import")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReverseUploadIsWrong: a message that is too large ends the call, whether it is
// the first or comes when the app is already asked.
func TestReverseUploadIsWrong(t *testing.T) {
	t.Parallel()
	c := startReverse(t, `, "max_request_bytes": 1024`)
	for _, before := range []int{0, 3} {
		s := importing(t, c)
		for range before {
			if err := s.SendMsg(&shop.Order{Name: "a"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SendMsg(&shop.Order{Name: strings.Repeat("x", 2000)}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		_ = s.CloseSend() // the answer says what is wrong
		if err := s.RecvMsg(&shop.ListResponse{}); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("after %d messages: %v", before, err)
		}
	}
}
