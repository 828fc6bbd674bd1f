package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// Names of what replicas tell each other.
const (
	fieldManager    = "dragoman-controlplane"
	countsPrefix    = "dragoman-replica-"
	countsLabel     = "mesh.dragoman.io/replica"
	countsKey       = "counts.json.gz"
	renewAnnotation = "mesh.dragoman.io/renewed"
)

// Times of the counts.
const (
	countsInterval = time.Second      // at most one write in
	countsRenewal  = 15 * time.Second // at least one write in
	countsLife     = 50 * time.Second // without renewal: the replica is gone
	countsGone     = 10 * time.Minute // without renewal: what it left is removed
	maxCountsBytes = 16 << 20         // of JSON
)

// count is what a replica says of one object.
type count struct {
	UID      string   `json:"uid"`
	Proxies  int      `json:"proxies"`
	Running  int      `json:"running,omitempty"`
	Refused  int      `json:"refused,omitempty"`
	Refusals []string `json:"refusals,omitempty"`
	// Why some are not given it, and that in CamelCase.
	Denied       string `json:"denied,omitempty"`
	DeniedReason string `json:"deniedReason,omitempty"`
	// What is wrong although all run what they were given, in the same way.
	Problem       string `json:"problem,omitempty"`
	ProblemReason string `json:"problemReason,omitempty"`
}

func (c *count) add(other *count) {
	c.Proxies += other.Proxies
	c.Running += other.Running
	c.Refused += other.Refused
	c.Refusals = append(c.Refusals, other.Refusals...)
	if c.Denied == "" || other.Denied != "" && other.Denied < c.Denied {
		c.Denied, c.DeniedReason = other.Denied, other.DeniedReason
	}
	if c.Problem == "" || other.Problem != "" && other.Problem < c.Problem {
		c.Problem, c.ProblemReason = other.Problem, other.ProblemReason
	}
}

// counts is what a replica says, by object.
type counts map[string]count

// Keys are written "Ambassador/namespace/name".
func countsName(ref inventory.Ref) string { return ref.Kind.String() + "/" + ref.String() }

func countsRef(name string) (inventory.Ref, bool) {
	kind, rest, _ := strings.Cut(name, "/")
	namespace, object, ok := strings.Cut(rest, "/")
	for _, k := range []inventory.Kind{inventory.KindAmbassador, inventory.KindAdapter} {
		if ok && kind == k.String() {
			return inventory.Ref{Kind: k, Key: inventory.Key{Namespace: namespace, Name: object}}, true
		}
	}
	return inventory.Ref{}, false
}

func (c counts) encode() ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if err := errors.Join(json.NewEncoder(z).Encode(c), z.Close()); err != nil {
		return nil, fmt.Errorf("encoding counts: %w", err)
	}
	return out.Bytes(), nil
}

var errCountsTooLarge = errors.New("is larger than a replica makes it")

func decodeCounts(data []byte) (counts, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading counts: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxCountsBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading counts: %w", err)
	}
	if len(plain) > maxCountsBytes {
		return nil, fmt.Errorf("reading counts: %w", errCountsTooLarge)
	}
	var out counts
	if err := json.Unmarshal(plain, &out); err != nil {
		return nil, fmt.Errorf("reading counts: %w", err)
	}
	return out, nil
}

// others holds what the other replicas say.
type others struct {
	self    string           // name of the own ConfigMap
	changed func(ref string) // called for each object that is counted otherwise now

	mu  sync.Mutex // guards below
	all map[string]*report
}

// report is the newest of one replica.
type report struct {
	seen   time.Time // when it came, by the own clock
	counts counts
}

// set takes a replica's report; nil: it took it away.
func (o *others) set(k inventory.Key, c counts, at time.Time) {
	if k.Name == o.self {
		return
	}
	o.mu.Lock()
	var before counts
	if r := o.all[k.Name]; r != nil {
		before = r.counts
	}
	if c == nil {
		delete(o.all, k.Name)
	} else {
		o.all[k.Name] = &report{seen: at, counts: c}
	}
	o.mu.Unlock()
	o.tell(before, c)
}

// tell names the objects that differ.
func (o *others) tell(before, after counts) {
	for ref, a := range after {
		if b, ok := before[ref]; !ok || !sameCount(a, b) {
			o.changed(ref)
		}
	}
	for ref := range before {
		if _, ok := after[ref]; !ok {
			o.changed(ref)
		}
	}
}

func sameCount(a, b count) bool {
	return a.UID == b.UID && a.Proxies == b.Proxies && a.Running == b.Running && a.Refused == b.Refused &&
		a.Denied == b.Denied && a.DeniedReason == b.DeniedReason && a.Problem == b.Problem && a.ProblemReason == b.ProblemReason &&
		strings.Join(a.Refusals, "\n") == strings.Join(b.Refusals, "\n")
}

// sum adds what the others say of an object to c.
func (o *others) sum(ref string, c *count) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.all {
		if other, ok := r.counts[ref]; ok && other.UID == c.UID {
			c.add(&other)
		}
	}
}

// expire forgets the counts of replicas that have not renewed them, and gives the
// names of those that are gone for so long that what they left may be removed.
func (o *others) expire(now time.Time) (gone []string) {
	var lost []counts
	o.mu.Lock()
	for name, r := range o.all {
		age := now.Sub(r.seen)
		if age >= countsGone {
			gone = append(gone, name)
		}
		if age >= countsLife && len(r.counts) > 0 {
			lost = append(lost, r.counts)
			r.counts = nil
		}
	}
	o.mu.Unlock()
	for _, c := range lost {
		o.tell(c, nil)
	}
	return gone
}

// countsOf reads a replica's ConfigMap; what cannot be read counts nothing.
func countsOf(in *corev1.ConfigMap) counts {
	c, err := decodeCounts(in.BinaryData[countsKey])
	if err != nil || c == nil {
		return counts{}
	}
	return c
}

// publisher keeps the own ConfigMap.
type publisher struct {
	clients *Clients
	replica Replica
	last    counts
	at      time.Time // of the last write
}

// name is that of the ConfigMap, whatever the replica is called.
func (r Replica) countsName() string {
	clean := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '-'
	}, strings.ToLower(r.Name))
	return countsPrefix + strings.Trim(clean, "-.")
}

// publish writes the counts if they have changed or want renewal.
func (p *publisher) publish(ctx context.Context, now time.Time, c counts) error {
	if !p.at.IsZero() && now.Sub(p.at) < countsRenewal && maps.EqualFunc(p.last, c, sameCount) {
		return nil
	}
	data, err := c.encode()
	if err != nil {
		return err
	}
	config := applycorev1.ConfigMap(p.replica.countsName(), p.replica.Namespace).
		WithLabels(map[string]string{countsLabel: "true"}).
		WithAnnotations(map[string]string{renewAnnotation: now.UTC().Format(time.RFC3339)}).
		WithBinaryData(map[string][]byte{countsKey: data})
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	if _, err := p.clients.Typed.CoreV1().ConfigMaps(p.replica.Namespace).Apply(ctx, config, options); err != nil {
		return fmt.Errorf("writing the ConfigMap %s/%s: %w", p.replica.Namespace, p.replica.countsName(), err)
	}
	p.last, p.at = c, now
	return nil
}
