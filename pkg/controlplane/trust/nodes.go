package trust

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// minToken is the length of a token below which it could be guessed.
const minToken = 16

// maxNodes bounds the file of nodes, in bytes.
const maxNodes = 16 << 20

// Node is a proxy outside Kubernetes, as a nodes file describes it. It is known
// by a token, by a client certificate, or by either.
type Node struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"` // default: that of objects that name none
	// Token is shown as a bearer token; TokenSHA256 is its hash, in hex, which
	// keeps the token itself out of the file.
	Token       string `yaml:"token"`
	TokenSHA256 string `yaml:"tokenSHA256"`
	// Expires ends the token; absent: it does not end.
	Expires time.Time `yaml:"expires"`
	// CommonName and URI are those of a client certificate.
	CommonName string `yaml:"commonName"`
	URI        string `yaml:"uri"`

	Labels      map[string]string `yaml:"labels"`
	Environment string            `yaml:"environment"` // stands for the label of that meaning
	Zone        string            `yaml:"zone"`

	hash [sha256.Size]byte // of the token
}

// hasToken reports whether a token is known.
func (n *Node) hasToken() bool { return n.hash != [sha256.Size]byte{} }

// uid tells the node from a pod of the same name.
func (n *Node) uid() string { return "external:" + n.Namespace + "/" + n.Name }

// Pod is the node as the inventory knows it.
func (n *Node) Pod() *inventory.Pod {
	labels := maps.Clone(n.Labels)
	if n.Environment != "" {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[mesh.EnvironmentLabel] = n.Environment
	}
	return &inventory.Pod{
		Key: inventory.Key{Namespace: n.Namespace, Name: n.Name},
		UID: n.uid(), Labels: labels, NodeName: n.Name, Zone: n.Zone,
	}
}

func (n *Node) identity(expires time.Time) inventory.Identity {
	return inventory.Identity{Namespace: n.Namespace, Pod: n.Name, PodUID: n.uid(), Expires: expires}
}

// Nodes are all proxies outside Kubernetes.
type Nodes struct{ list []Node }

// ErrNodes is what a nodes file gives that is wrong.
var ErrNodes = errors.New("nodes file")

// ReadNodes reads a nodes file.
func ReadNodes(name string) (*Nodes, error) {
	text, err := readBounded(name, maxNodes)
	if err != nil {
		return nil, err
	}
	return ParseNodes(name, text)
}

// ParseNodes reads what is in a nodes file; file is its name for errors. Errors
// hold no token.
func ParseNodes(file string, text []byte) (*Nodes, error) {
	var doc struct {
		Nodes []yaml.Node `yaml:"nodes"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w: %s", file, ErrNodes, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	out := &Nodes{list: make([]Node, len(doc.Nodes))}
	var errs []error
	for i := range doc.Nodes {
		if err := out.list[i].parse(&doc.Nodes[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w: nodes[%d]: %w", file, doc.Nodes[i].Line, ErrNodes, i, err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, out.unique(file))
	}
	return out, errors.Join(errs...)
}

func (n *Node) parse(y *yaml.Node) error {
	// A node decoded by itself is not strict any more; so its text is read anew.
	text, err := yaml.Marshal(y)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(n); err != nil {
		if t := (*yaml.TypeError)(nil); errors.As(err, &t) {
			return errors.New(withoutLine(t.Errors[0]))
		}
		return err
	}
	n.Namespace = cmp.Or(n.Namespace, mesh.DefaultNamespace)
	switch {
	case n.Name == "":
		return errors.New("name: is missing")
	case n.Token != "" && n.TokenSHA256 != "":
		return errors.New("token and tokenSHA256 exclude each other")
	case n.Token != "" && len(n.Token) < minToken:
		return fmt.Errorf("token: shorter than %d characters; head -c 32 /dev/urandom | base64 makes a good one", minToken)
	case n.Token == "" && n.TokenSHA256 == "" && n.CommonName == "" && n.URI == "":
		return errors.New("nothing tells who it is: give a token, a tokenSHA256, a commonName or a uri")
	}
	if n.Token != "" {
		n.hash, n.Token = sha256.Sum256([]byte(n.Token)), ""
	}
	if n.TokenSHA256 != "" {
		b, err := hex.DecodeString(n.TokenSHA256)
		if err != nil || len(b) != sha256.Size {
			return errors.New("tokenSHA256: want 64 hexadecimal digits; printf %s TOKEN | sha256sum gives them")
		}
		n.hash = [sha256.Size]byte(b)
	}
	return nil
}

// withoutLine drops the line, which is that within the copy.
func withoutLine(text string) string {
	if _, rest, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(text, "line ") {
		return rest
	}
	return text
}

// unique refuses nodes that could be taken for each other.
func (ns *Nodes) unique(file string) error {
	seen := map[string]string{}
	for i := range ns.list {
		n := &ns.list[i]
		marks := []string{"name " + n.Namespace + "/" + n.Name}
		if n.hasToken() {
			marks = append(marks, "token "+string(n.hash[:]))
		}
		if n.CommonName != "" {
			marks = append(marks, "commonName "+n.CommonName)
		}
		if n.URI != "" {
			marks = append(marks, "uri "+n.URI)
		}
		for _, mark := range marks {
			if other, ok := seen[mark]; ok {
				what, _, _ := strings.Cut(mark, " ")
				return fmt.Errorf("%s: %w: %s and %s/%s have the same %s", file, ErrNodes, other, n.Namespace, n.Name, what)
			}
			seen[mark] = n.Namespace + "/" + n.Name
		}
	}
	return nil
}

// Pods are the nodes as the inventory knows them.
func (ns *Nodes) Pods() []*inventory.Pod {
	pods := make([]*inventory.Pod, len(ns.list))
	for i := range ns.list {
		pods[i] = ns.list[i].Pod()
	}
	return pods
}

// byToken finds the node of a token in a time that says nothing of it.
func (ns *Nodes) byToken(token string) *Node {
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i := range ns.list {
		known := ns.list[i].hasToken()
		if subtle.ConstantTimeCompare(hash[:], ns.list[i].hash[:]) == 1 && known {
			found = i
		}
	}
	if found < 0 {
		return nil
	}
	return &ns.list[found]
}

// byCertificate finds the node that a verified certificate names.
func (ns *Nodes) byCertificate(commonName string, uris []*url.URL) *Node {
	i := slices.IndexFunc(ns.list, func(n Node) bool {
		return n.CommonName != "" && n.CommonName == commonName ||
			n.URI != "" && slices.ContainsFunc(uris, func(u *url.URL) bool { return u.String() == n.URI })
	})
	if i < 0 {
		return nil
	}
	return &ns.list[i]
}
