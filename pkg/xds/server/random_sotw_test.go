package server_test

import (
	"context"
	"math/rand/v2"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
)

// startSotw speaks state of the world: every request lists all names.
func (m *mirror) startSotw(ctx context.Context, client discoveryv3.AggregatedDiscoveryServiceClient) {
	stream, err := client.StreamAggregatedResources(ctx)
	if err != nil {
		m.w.t.Error(err)
		return
	}
	id := m.id
	nonces := map[string]string{}
	m.send = func(what string, _, _ []string, nonce string, refuse bool, _ map[string]string) error {
		if nonce != "" {
			nonces[what] = nonce
		}
		r := &discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: id}, TypeUrl: typeURLs[what], ResponseNonce: nonces[what]}
		for key := range m.wanted {
			if name, ok := strings.CutPrefix(key, what+"/"); ok {
				r.ResourceNames = append(r.ResourceNames, name)
			}
		}
		if refuse {
			r.ErrorDetail = &status.Status{Code: 3, Message: "no"}
		}
		return stream.Send(r)
	}
	random := rand.New(rand.NewPCG(m.random.Uint64(), 0))
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			m.mu.Lock()
			if ctx.Err() == nil {
				m.hearSotw(r)
				_ = m.send(short(r.GetTypeUrl()), nil, nil, r.GetNonce(), random.IntN(4) == 0, nil)
			}
			m.mu.Unlock()
		}
	}()
}

func (m *mirror) hearSotw(r *discoveryv3.DiscoveryResponse) {
	what := short(r.GetTypeUrl())
	if what != "eds" {
		for key := range m.held {
			if strings.HasPrefix(key, what+"/") {
				delete(m.held, key)
			}
		}
	}
	for _, a := range r.GetResources() {
		name, _, _ := strings.Cut(content(a), ":")
		if m.wants(what, name) {
			m.held[what+"/"+name] = content(a)
		}
	}
}
