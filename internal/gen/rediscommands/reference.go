package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// published is one command in the published reference.
type published struct {
	Arity      int             `json:"arity"`
	Since      string          `json:"since"`
	Group      string          `json:"group"`
	Module     string          `json:"module"`
	Categories []string        `json:"acl_categories"`
	Flags      []string        `json:"command_flags"`
	Hints      []string        `json:"hints"`
	KeySpecs   []publishedSpec `json:"key_specs"`
}

type publishedSpec struct {
	Begin publishedSearch
	Find  publishedSearch
	Flags []string
}

type publishedSearch struct {
	Type string                     `json:"type"`
	Spec map[string]json.RawMessage `json:"spec"`
}

// UnmarshalJSON reads an object in which every flag is a key of its own.
func (p *publishedSpec) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	if err := json.Unmarshal(fields["begin_search"], &p.Begin); err != nil {
		return err
	}
	if err := json.Unmarshal(fields["find_keys"], &p.Find); err != nil {
		return err
	}
	for name, value := range fields {
		if string(value) == "true" {
			p.Flags = append(p.Flags, name)
		}
	}
	slices.Sort(p.Flags)
	return nil
}

// readReference returns the commands of the published reference, those that
// modules keep for themselves left out.
func readReference(file string) ([]*command, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all map[string]published
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	table := map[string]*command{}
	for _, name := range sortedKeys(all) {
		if strings.HasPrefix(name, "_") {
			continue
		}
		p := all[name]
		c, err := p.command(strings.ToLower(name))
		if err != nil {
			return nil, err
		}
		container, _, isSub := strings.Cut(c.name, " ")
		if !isSub {
			table[c.name] = c
			continue
		}
		c.name = strings.Replace(c.name, " ", "|", 1)
		if parent := table[container]; parent != nil {
			parent.subs[c.name] = c
		}
	}
	var cmds []*command
	for _, name := range sortedKeys(table) {
		cmds = append(cmds, table[name])
	}
	return cmds, nil
}

func (p *published) command(name string) (*command, error) {
	c := &command{
		name: name, arity: p.Arity, flags: p.Flags, categories: p.Categories,
		tips: p.Hints, since: p.Since, group: p.Group, subs: map[string]*command{},
	}
	if p.Module != "" {
		c.group = strings.ToLower(p.Module)
	}
	for _, k := range p.KeySpecs {
		begin, err := k.Begin.search()
		if err != nil {
			return nil, err
		}
		find, err := k.Find.search()
		if err != nil {
			return nil, err
		}
		c.keySpecs = append(c.keySpecs, keySpec{flags: k.Flags, begin: begin, find: find})
	}
	c.legacyRange()
	return c, nil
}

func (p *publishedSearch) search() (search, error) {
	s := search{kind: p.Type, args: map[string]int{}}
	for name, raw := range p.Spec {
		if name == "keyword" {
			if err := json.Unmarshal(raw, &s.keyword); err != nil {
				return s, err
			}
			continue
		}
		var n int
		if err := json.Unmarshal(raw, &n); err != nil {
			return s, err
		}
		s.args[name] = n
	}
	return s, nil
}
