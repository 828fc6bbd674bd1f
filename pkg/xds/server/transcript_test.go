package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestTranscripts plays the scripts in testdata: what clients say, what the
// server must answer. Each line is one step.
//
//	publish cds/a=1 eds/b=-      publish versions, in one batch; - is gone; lds/a@dev is a variant of lds/a
//	grant cds/a lds/a@dev        what the node may have; before connect, and after it; of keep:a@a/dev nothing is known
//	connect [sotw]               a new stream, in place of the last one
//	> cds +a -b have:c=1         delta: subscribe to a, unsubscribe from b, has c in version 1
//	> cds a b                    sotw: the names asked for
//	> cds ack                    the newest nonce of the type is answered; #3: that nonce
//	> cds ack !message           the same, as a NACK
//	< cds a=1 -c                 what must come next: a in version 1, c removed (sotw: the contents)
//	quiet                        nothing else has come
//	synced                       the server has heard all answers, and nothing waits
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{world: newWorld(t, server.Limits{}), t: t}
			p.publish(syncs("=1")...)
			for i, line := range strings.Split(string(text), "\n") {
				words := strings.Fields(line)
				if len(words) == 0 || strings.HasPrefix(words[0], "//") {
					continue
				}
				p.at = fmt.Sprintf("%s:%d: %s", filepath.Base(file), i+1, line)
				p.step(words)
			}
		})
	}
}

// conversation is a client's stream: it speaks the transcripts' language.
type conversation interface {
	say(short string, words []string) error
	hear() (string, error)
	end()
}

type player struct {
	*world
	t      *testing.T
	at     string
	stream conversation
	node   *server.Node
	syncs  int
	asked  []string
}

func (p *player) step(words []string) {
	p.t.Helper()
	var err error
	switch verb, rest := words[0], words[1:]; verb {
	case "publish":
		p.publish(rest...)
	case "grant":
		g := p.grant(append(rest, syncs("")...)...)
		p.people.give(g)
		if p.node != nil {
			p.node.SetGrant(g)
		}
	case "connect":
		p.connect(slices.Contains(rest, "sotw"))
	case ">":
		if err = p.stream.say(rest[0], rest[1:]); err == nil && p.node == nil {
			p.node = next(p.t, "the node's arrival", p.people.arrived)
		}
	case "<":
		p.expect(strings.Join(rest, " "))
	case "quiet":
		p.quiet()
	case "synced":
		eventually(p.t, "the server has heard all answers", func() bool { return p.node.Status().Synced() })
	default:
		p.t.Fatalf("%s: what is %q?", p.at, verb)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
}

func (p *player) connect(sotw bool) {
	if p.stream != nil {
		p.stream.end()
	}
	p.node, p.asked = nil, nil
	if sotw {
		p.stream = newSotwClient(p.world)
	} else {
		p.stream = newDeltaClient(p.world)
	}
}

func (p *player) expect(want string) {
	p.t.Helper()
	got, err := p.stream.hear()
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	if got != want {
		p.t.Fatalf("%s\n got: %s\nwant: %s", p.at, got, want)
	}
}

// syncs are what quiet asks for.
func syncs(suffix string) []string {
	words := make([]string, 20)
	for i := range words {
		words[i] = fmt.Sprintf("sync/s%d%s", i+1, suffix)
	}
	return words
}

// quiet asks for something else: the answer to that must be the next thing that
// comes, because whatever was due would have come before it.
func (p *player) quiet() {
	p.t.Helper()
	p.syncs++
	name := fmt.Sprintf("s%d", p.syncs)
	ask, want := []string{"+" + name}, "sync "+name+"=1"
	ack := []string{"ack"}
	if _, ok := p.stream.(*sotwClient); ok {
		p.asked = append(p.asked, name)
		ask, want = append(p.asked, "ack"), "sync 1"
		ack = ask
	}
	if err := p.stream.say("sync", ask); err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	p.expect(want)
	if err := p.stream.say("sync", ack); err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
}

func short(typeURL string) string {
	for name, url := range typeURLs {
		if url == typeURL {
			return name
		}
	}
	return typeURL
}

func content(a *anypb.Any) string {
	v := &wrapperspb.StringValue{}
	if err := proto.Unmarshal(a.GetValue(), v); err != nil {
		return "unreadable: " + err.Error()
	}
	return v.GetValue()
}

// deltaClient speaks the delta protocol.
type deltaClient struct {
	w      *world
	cancel context.CancelFunc
	stream grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	nonces map[string]string
}

func newDeltaClient(w *world) *deltaClient {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	stream, err := w.dial().DeltaAggregatedResources(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &deltaClient{w: w, cancel: cancel, stream: stream, nonces: map[string]string{}}
}

func (c *deltaClient) end() { c.cancel() }

func (c *deltaClient) say(what string, words []string) error {
	r := &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "n1"}, TypeUrl: typeURLs[what]}
	for i, word := range words {
		rest := word[1:]
		switch {
		case word == "ack":
			r.ResponseNonce = c.nonces[what]
		case word[0] == '+':
			r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, rest)
		case word[0] == '-':
			r.ResourceNamesUnsubscribe = append(r.ResourceNamesUnsubscribe, rest)
		case word[0] == '#':
			r.ResponseNonce = rest
		case word[0] == '!':
			r.ErrorDetail = &status.Status{Code: 3, Message: strings.Join(append([]string{rest}, words[i+1:]...), " ")}
			return c.stream.Send(r)
		case strings.HasPrefix(word, "have:"):
			name, version, _ := strings.Cut(strings.TrimPrefix(word, "have:"), "=")
			if r.InitialResourceVersions == nil {
				r.InitialResourceVersions = map[string]string{}
			}
			r.InitialResourceVersions[name] = c.w.resource(what, name, version).Version()
		default:
			return fmt.Errorf("what is %q?", word)
		}
	}
	return c.stream.Send(r)
}

func (c *deltaClient) hear() (string, error) {
	m, err := c.stream.Recv()
	if err != nil {
		return "", err
	}
	var words []string
	for _, r := range m.GetResources() {
		words = append(words, r.GetName()+"="+content(r.GetResource()))
		if want := c.w.resource(short(m.GetTypeUrl()), r.GetName(), content(r.GetResource())).Version(); r.GetVersion() != want {
			return "", fmt.Errorf("%s has version %s, want %s", r.GetName(), r.GetVersion(), want)
		}
		if r.GetResource().GetTypeUrl() != m.GetTypeUrl() {
			return "", fmt.Errorf("%s has type %s in a response of type %s", r.GetName(), r.GetResource().GetTypeUrl(), m.GetTypeUrl())
		}
	}
	for _, name := range m.GetRemovedResources() {
		words = append(words, "-"+name)
	}
	slices.Sort(words)
	what := short(m.GetTypeUrl())
	c.nonces[what] = m.GetNonce()
	return strings.Join(append([]string{what}, words...), " "), nil
}

// sotwClient speaks the state-of-the-world protocol.
type sotwClient struct {
	cancel   context.CancelFunc
	stream   grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	nonces   map[string]string
	seen     map[string]string
	accepted map[string]string
}

func newSotwClient(w *world) *sotwClient {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	stream, err := w.dial().StreamAggregatedResources(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return &sotwClient{cancel: cancel, stream: stream, nonces: map[string]string{}, seen: map[string]string{}, accepted: map[string]string{}}
}

func (c *sotwClient) end() { c.cancel() }

func (c *sotwClient) say(what string, words []string) error {
	r := &discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "n1"}, TypeUrl: typeURLs[what]}
	for i, word := range words {
		switch {
		case word == "ack":
			r.ResponseNonce = c.nonces[what]
		case word[0] == '#':
			r.ResponseNonce = word[1:]
		case word[0] == '!':
			r.ErrorDetail = &status.Status{Code: 3, Message: strings.Join(append([]string{word[1:]}, words[i+1:]...), " ")}
		default:
			if r.ErrorDetail == nil {
				r.ResourceNames = append(r.ResourceNames, word)
			}
		}
	}
	if r.ResponseNonce != "" && r.ErrorDetail == nil {
		c.accepted[what] = c.seen[what]
	}
	r.VersionInfo = c.accepted[what]
	return c.stream.Send(r)
}

func (c *sotwClient) hear() (string, error) {
	m, err := c.stream.Recv()
	if err != nil {
		return "", err
	}
	what := short(m.GetTypeUrl())
	c.seen[what] = m.GetVersionInfo()
	c.nonces[what] = m.GetNonce()
	words := []string{what}
	for _, a := range m.GetResources() {
		words = append(words, content(a))
	}
	return strings.Join(words, " "), nil
}
