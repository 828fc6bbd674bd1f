package client

import (
	"errors"
	"fmt"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// message is a response of either protocol.
type message struct {
	typeURL   string
	nonce     string
	version   string // of the whole; may be "" with delta
	resources []incoming
	removed   []string
	whole     bool // SotW: listeners and clusters that are not in it are gone
}

// incoming is one resource of a message.
type incoming struct {
	name    string // "": only the resource itself says
	version string
	body    *anypb.Any // nil: a heartbeat, which only renews the TTL
	ttl     time.Duration
	err     error // why the wrapping is broken
}

// fromDelta reads an incremental response.
func fromDelta(p *discoveryv3.DeltaDiscoveryResponse) message {
	m := message{
		typeURL: p.GetTypeUrl(), nonce: p.GetNonce(), version: p.GetSystemVersionInfo(),
		removed: p.GetRemovedResources(),
	}
	for _, n := range p.GetRemovedResourceNames() {
		m.removed = append(m.removed, n.GetName())
	}
	for _, r := range p.GetResources() {
		m.resources = append(m.resources, fromResource(r))
	}
	return m
}

// fromSotW reads a state-of-the-world response, whose resources may be wrapped.
func fromSotW(p *discoveryv3.DiscoveryResponse) message {
	m := message{typeURL: p.GetTypeUrl(), nonce: p.GetNonce(), version: p.GetVersionInfo(), whole: true}
	for _, body := range p.GetResources() {
		in := incoming{body: body}
		if body.MessageIs((*discoveryv3.Resource)(nil)) {
			in = unwrap(body)
		}
		if in.version == "" {
			in.version = p.GetVersionInfo()
		}
		m.resources = append(m.resources, in)
	}
	return m
}

func unwrap(body *anypb.Any) incoming {
	var r discoveryv3.Resource
	if err := proto.Unmarshal(body.GetValue(), &r); err != nil {
		return incoming{err: fmt.Errorf("the wrapping cannot be decoded: %w", err)}
	}
	return fromResource(&r)
}

func fromResource(r *discoveryv3.Resource) incoming {
	in := incoming{name: r.GetName(), version: r.GetVersion(), body: r.GetResource()}
	if in.name == "" {
		in.name = r.GetResourceName().GetName()
	}
	if r.GetTtl() != nil {
		in.ttl = r.GetTtl().AsDuration()
		if r.GetTtl().CheckValid() != nil || in.ttl <= 0 {
			in.err = errors.New("the ttl is not a duration above 0")
		}
	}
	return in
}
