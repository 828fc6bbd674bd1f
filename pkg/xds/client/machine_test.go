package client

import (
	stdcmp "cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestMachine plays the scripts of testdata/machine. A line at the left margin
// is what happens to the machine, the indented ones below it are what it does:
//
//	open delta|sotw NAME          a stream to server NAME is there
//	close                         it is gone
//	CDS 1 c1=a(e1,s1) -c2         a response with nonce 1: version a of c1, which
//	                              refers to e1 and s1; c2 is removed (delta).
//	                              "!" for a version is not valid, "c1~c9=a" says
//	                              c1 around and c9 inside, "c1=a/5s" has a TTL
//	                              and "c1=/5s" only renews it; "l1=a(s1?)" can
//	                              do without s1 for a while
//	runs | fails [CDS/c1] WHY     what the Consumer says
//	disk c1=a(e1) l1=b(c1)        the file is used
//	retry                         what was refused may go now
//	refetch s1                    somebody wants a secret sent once more
//	after 15s                     time goes by
//
// Several of these joined by " && " come together. A resource's first letter is
// its type: c, e, l, r, s, x.
func TestMachine(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/machine/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			goldentest.Compare(t, file, play(t, string(data)))
		})
	}
}

// player drives a machine by a script.
type player struct {
	t   *testing.T
	m   *machine
	now time.Time
	out strings.Builder
}

func play(t *testing.T, script string) string {
	t.Helper()
	o := Options{Node: &corev3.Node{Id: "n"}, ResourceTimeout: 15 * time.Second, MaxResources: 5}
	p := &player{t: t, m: newMachine(o), now: time.Unix(1000, 0)}
	for k := range numKinds {
		p.m.parse[k] = func(data []byte) (proto.Message, string, refs, error) { return parseScripted(k, data) }
	}
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "\t"):
			continue
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&p.out, line)
			continue
		}
		fmt.Fprintln(&p.out, line)
		for event := range strings.SplitSeq(line, " && ") {
			p.event(event)
		}
		p.settle()
	}
	return p.out.String()
}

func (p *player) event(line string) {
	words := strings.Fields(line)
	switch words[0] {
	case "option":
		p.option(words[1])
	case "open":
		mode, err := ParseMode(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		p.m.opened(p.now, words[2], mode)
	case "close":
		p.m.closed()
	case "runs":
		p.m.done(p.now, nil)
	case "fails":
		p.m.done(p.now, failure(words[1:]))
	case "retry":
		p.m.retry()
	case "refetch":
		p.m.refetch(secrets, words[1])
	case "disk":
		p.disk(words[1:])
	case "after":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		p.now = p.now.Add(d)
		p.m.tick(p.now)
	default:
		p.m.receive(p.now, p.response(words))
	}
}

func (p *player) option(name string) {
	if name != "explicit-wildcard" {
		p.t.Fatalf("unknown option %q", name)
	}
	p.m.explicit = true
}

func failure(words []string) error {
	var errs resource.Errors
	why := strings.Join(words, " ")
	for i, w := range words {
		typ, name, ok := strings.Cut(w, "/")
		if !ok {
			why = strings.Join(words[i:], " ")
			break
		}
		errs = append(errs, &resource.Error{TypeURL: typeOf(typ), Name: name})
	}
	for _, e := range errs {
		e.Reason = why
	}
	if len(errs) == 0 {
		return errors.New(why)
	}
	return fmt.Errorf("applying: %w", errs)
}

var shortNames = map[string]kind{"CDS": clusters, "EDS": endpoints, "LDS": listeners, "RDS": routes, "SDS": secrets, "ECDS": extensions}

func typeOf(short string) string {
	if k, ok := shortNames[short]; ok {
		return k.typeURL()
	}
	return "type.googleapis.com/" + short
}

func nameOf(typeURL string) string {
	for name, k := range shortNames {
		if k.typeURL() == typeURL {
			return name
		}
	}
	return typeURL
}

func (p *player) response(words []string) message {
	typeURL := typeOf(words[0])
	if p.m.stream.mode == SotW {
		out := &discoveryv3.DiscoveryResponse{TypeUrl: typeURL, Nonce: words[1], VersionInfo: "v" + words[1]}
		for _, w := range words[2:] {
			if v, ok := strings.CutPrefix(w, "version="); ok {
				out.VersionInfo = v
				continue
			}
			out.Resources = append(out.Resources, p.scripted(typeURL, w).GetResource())
		}
		return fromSotW(out)
	}
	out := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: words[1]}
	for _, w := range words[2:] {
		if name, ok := strings.CutPrefix(w, "-"); ok {
			out.RemovedResources = append(out.RemovedResources, name)
			continue
		}
		out.Resources = append(out.Resources, p.scripted(typeURL, w))
	}
	return fromDelta(out)
}

// scripted makes a resource of "name=version(refs)/ttl".
func (p *player) scripted(typeURL, word string) *discoveryv3.Resource {
	name, rest, ok := strings.Cut(word, "=")
	if !ok {
		p.t.Fatalf("%q is not a resource", word)
	}
	r := &discoveryv3.Resource{}
	content, ttl, limited := strings.Cut(rest, "/")
	if limited {
		d, err := time.ParseDuration(ttl)
		if err != nil {
			p.t.Fatal(err)
		}
		r.Ttl = durationpb.New(d)
	}
	outer, inner, differ := strings.Cut(name, "~")
	r.Name = outer
	if !differ {
		inner = outer
	}
	r.Version, _, _ = strings.Cut(content, "(")
	if content == "" {
		return r
	}
	if alien, ok := strings.CutPrefix(content, "type:"); ok {
		typeURL = "type.googleapis.com/" + alien
	}
	r.Resource = &anypb.Any{TypeUrl: typeURL, Value: []byte(inner + "=" + content)}
	return r
}

// parseScripted stands for the parsers of resources.
func parseScripted(k kind, data []byte) (proto.Message, string, refs, error) {
	name, content, ok := strings.Cut(string(data), "=")
	if !ok || content == "garbage" {
		return nil, "", refs{}, errors.New("not a resource")
	}
	msg := wrapperspb.String(string(data))
	if strings.HasPrefix(content, "!") {
		return msg, name, refs{}, resource.Errors{{TypeURL: k.typeURL(), Name: name, Path: "some.field", Reason: "is wrong" + content[1:]}}
	}
	var found refs
	if _, list, ok := strings.Cut(strings.TrimSuffix(content, ")"), "("); ok {
		for ref := range strings.SplitSeq(list, ",") {
			ref, later := strings.CutSuffix(ref, "?")
			to := kindOfScripted(ref)
			found[to] = append(found[to], ref)
			if later {
				found[late] = append(found[late], ref)
			}
		}
	}
	return msg, name, found, nil
}

func kindOfScripted(name string) kind {
	return map[byte]kind{'c': clusters, 'e': endpoints, 'l': listeners, 'r': routes, 's': secrets, 'x': extensions}[name[0]]
}

func (p *player) disk(words []string) {
	set := &diskset.Set{Node: "n", Server: "then"}
	for _, w := range words {
		name, _, _ := strings.Cut(w, "=")
		r := p.scripted(kindOfScripted(name).typeURL(), w)
		set.Resources = append(set.Resources, diskset.Resource{Name: r.GetName(), Version: r.GetVersion(), Body: r.GetResource()})
	}
	for _, err := range p.m.load(p.now, set) {
		fmt.Fprintf(&p.out, "\tdisk: %v\n", err)
	}
}

// settle lets the machine find out what to do, and writes that down.
func (p *player) settle() {
	p.m.tick(p.now)
	p.m.settle(p.now)
	todo := p.m.take()
	for _, r := range todo.requests {
		fmt.Fprintf(&p.out, "\t%s\n", p.request(r))
	}
	if todo.reopen {
		fmt.Fprintln(&p.out, "\treopen")
	}
	if todo.start != nil {
		fmt.Fprintf(&p.out, "\ttry %s\n", describe(todo.start))
	}
	if todo.persist {
		var names []string
		for _, v := range p.m.kept() {
			names = append(names, v.key.name)
		}
		slices.Sort(names)
		fmt.Fprintf(&p.out, "\tkeep %s\n", stdcmp.Or(strings.Join(names, " "), "nothing"))
	}
}

func describe(c *candidate) string {
	words := []string{"[" + c.update.Origin.String() + "]"}
	for _, k := range slices.SortedFunc(maps.Keys(c.chosen), compareKeys) {
		v := c.chosen[k]
		number := v.number
		if v.synthetic {
			number = "none"
		}
		words = append(words, k.name+"="+number)
	}
	for _, w := range c.update.Pending {
		words = append(words, "("+w.Name+" awaited for "+w.For+")")
	}
	for _, w := range c.update.Missing {
		words = append(words, "(no "+w.Name+" for "+w.For+": "+w.Reason+")")
	}
	return strings.Join(words, " ")
}

func (p *player) request(r proto.Message) string {
	var words []string
	var node *corev3.Node
	detail := ""
	switch r := r.(type) {
	case *discoveryv3.DeltaDiscoveryRequest:
		node, detail = r.GetNode(), r.GetErrorDetail().GetMessage()
		words = answerWords(nameOf(r.GetTypeUrl()), r.GetResponseNonce(), r.GetErrorDetail() != nil)
		for _, n := range r.GetResourceNamesSubscribe() {
			words = append(words, "+"+n)
		}
		for _, n := range r.GetResourceNamesUnsubscribe() {
			words = append(words, "-"+n)
		}
		for _, n := range slices.Sorted(maps.Keys(r.GetInitialResourceVersions())) {
			words = append(words, "have:"+n+"="+r.GetInitialResourceVersions()[n])
		}
	case *discoveryv3.DiscoveryRequest:
		node, detail = r.GetNode(), r.GetErrorDetail().GetMessage()
		words = answerWords(nameOf(r.GetTypeUrl()), r.GetResponseNonce(), r.GetErrorDetail() != nil)
		words = append(words, "version="+r.GetVersionInfo())
		words = append(words, r.GetResourceNames()...)
	}
	if node != nil {
		words = append(words, "node="+node.GetId())
	}
	if detail != "" {
		words = append(words, strconv.Quote(detail))
	}
	return strings.Join(words, " ")
}

func answerWords(typ, nonce string, refused bool) []string {
	switch {
	case nonce == "":
		return []string{"ask", typ}
	case refused:
		return []string{"NACK", typ, nonce}
	}
	return []string{"ACK", typ, nonce}
}

// stringOf is the text of a scripted resource.
func stringOf(m proto.Message) string {
	s, ok := m.(*wrapperspb.StringValue)
	if !ok {
		return ""
	}
	return s.GetValue()
}
