package twemproxy

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// MaxSize bounds a configuration file, in bytes.
const MaxSize = 4 << 20

// Parse reads a nutcracker.yml. On success the errors are empty; otherwise the
// configuration is nil and the errors are all that is wrong with the file.
func Parse(file string, data []byte) (*Config, problem.List) {
	p := parser{file: file}
	root := p.document(data)
	if root == nil {
		return nil, p.errs.Sorted()
	}
	cfg := &Config{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if pool, ok := p.pool(root.Content[i], root.Content[i+1]); ok {
			cfg.Pools = append(cfg.Pools, pool)
		}
	}
	if len(root.Content) == 0 {
		p.errs.Add(file, 0, "", "has no pools")
	}
	p.across(cfg.Pools)
	if len(p.errs) > 0 {
		return nil, p.errs.Sorted()
	}
	return cfg, nil
}

type parser struct {
	file string
	errs problem.List
}

func (p *parser) fail(line int, path, format string, args ...any) {
	p.errs.Add(p.file, line, path, format, args...)
}

// document returns the mapping of pools, or nil with errors noted.
func (p *parser) document(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		p.fail(0, "", "is larger than %d bytes", MaxSize)
		return nil
	}
	if !p.markers(data) {
		return nil
	}
	var doc yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		p.fail(0, "", "is empty: at least one pool is needed")
		return nil
	case err != nil:
		line, reason := problem.YAML(data, err)
		p.fail(line, "", "%s", reason)
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		p.fail(root.Line, "", "must be a mapping of pool names to pools")
		return nil
	}
	if !p.plain(root) {
		return nil
	}
	return root
}

// markers refuses what splits a file into documents: nutcracker wants exactly
// one, without its markers.
func (p *parser) markers(data []byte) bool {
	ok := true
	n := 0
	for line := range bytes.Lines(data) {
		n++
		word := strings.TrimRight(string(line), "\r\n")
		if word, _, _ = strings.Cut(word, " "); word == "---" || word == "..." {
			p.fail(n, "", "document marker %q is not allowed", word)
			ok = false
		}
	}
	return ok
}

// plain refuses the parts of YAML that nutcracker refuses.
func (p *parser) plain(n *yaml.Node) bool {
	before := len(p.errs)
	switch {
	case n.Kind == yaml.AliasNode:
		p.fail(n.Line, "", "alias *%s is not allowed", n.Value)
		return false
	case n.Anchor != "":
		p.fail(n.Line, "", "anchor &%s is not allowed", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		p.fail(n.Line, "", "tag %s is not allowed", n.Tag)
	case n.Style&yaml.FlowStyle != 0:
		p.fail(n.Line, "", "flow style ({} or []) is not allowed: write it as a block, or quote a string")
	}
	for _, c := range n.Content {
		p.plain(c)
	}
	return len(p.errs) == before
}

// across checks what concerns several pools.
func (p *parser) across(pools []Pool) {
	names := map[string]int{}
	listens := map[string]string{}
	for _, pool := range pools {
		if line, dup := names[pool.Name]; dup {
			p.fail(pool.Line, pool.Name, "pool is a duplicate of the one in line %d", line)
		}
		names[pool.Name] = pool.Line
		addr := pool.Listen.String()
		if other, dup := listens[addr]; dup {
			p.fail(pool.Line, pool.Name+".listen", "address %q is the one of pool %q", addr, other)
		}
		listens[addr] = pool.Name
	}
}

// quote makes a YAML scalar of s that reads back as s.
func quote(s string) string {
	if plainScalar.MatchString(s) {
		return s
	}
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: s})
	if err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(string(out), "\n")
}
