package json

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
	"github.com/dragoman-mesh/dragoman/pkg/transform/jq"
)

// jqTime bounds a program, whatever the scraper allows.
const jqTime = 2 * time.Second

// maxJQ bounds the documents that programs are given, in values.
const maxJQ = 1 << 17

// Rule is a rule with JSONPath, or with a program of jq that gives numbers, or
// objects {"value": 1, "labels": {"a": "b"}}, or lists of them.
type Rule struct {
	rules.Rule
	JQ string // instead of Each, Value and Values; its Labels are not used, its Constants are
}

// RuleSet is a list of rules, compiled.
type RuleSet struct {
	paths    *rules.Set[tree.Value]
	programs []programRule
}

type programRule struct {
	rule    rules.Rule
	program *jq.Program
}

// CompileRules checks rules and makes them ready.
func CompileRules(list []Rule) (*RuleSet, error) {
	out := &RuleSet{}
	var paths []rules.Rule
	for i := range list {
		r := list[i]
		if r.JQ == "" {
			if _, err := rules.Compile([]rules.Rule{r.Rule}, rules.Language[tree.Value](Path{})); err != nil {
				return nil, fmt.Errorf("rules[%d] (%q): %w", i, r.Name, errors.Unwrap(err))
			}
			paths = append(paths, r.Rule)
			continue
		}
		if r.Each != "" || r.Value != "" || len(r.Values) > 0 || r.Timestamp != "" {
			return nil, fmt.Errorf("rules[%d] (%q): jq: the program takes the place of each, value and values", i, r.Name)
		}
		program, err := jq.Compile(r.JQ)
		if err != nil {
			return nil, fmt.Errorf("rules[%d] (%q): jq: %w", i, r.Name, err)
		}
		// Everything but the value is checked as in any other rule.
		check := r.Rule
		check.Value = "0"
		if len(r.Labels) > 0 {
			return nil, fmt.Errorf("rules[%d] (%q): labels: those of a program are in its output, others in double quotes", i, r.Name)
		}
		if _, err := rules.Compile([]rules.Rule{check}, rules.Language[tree.Value](Path{})); err != nil {
			return nil, fmt.Errorf("rules[%d] (%q): %w", i, r.Name, errors.Unwrap(err))
		}
		if r.Scale == 0 {
			r.Scale = 1
		}
		out.programs = append(out.programs, programRule{rule: r.Rule, program: program})
	}
	var err error
	out.paths, err = rules.Compile(paths, rules.Language[tree.Value](Path{}))
	return out, err
}

// Run makes the series of a document.
func (s *RuleSet) Run(ctx context.Context, doc tree.Value, out *families.Builder) error {
	errs := []error{s.paths.Run(doc, out)}
	if len(s.programs) == 0 {
		return errs[0]
	}
	if doc.Size() > maxJQ {
		return errors.Join(errs[0], fmt.Errorf("programs of jq get documents of %d values at most, and this one has %d", maxJQ, doc.Size()))
	}
	ctx, cancel := context.WithTimeout(ctx, jqTime)
	defer cancel()
	for i := range s.programs {
		// A program may change what it is given.
		errs = append(errs, s.programs[i].run(ctx, doc.Any(), out))
	}
	return errors.Join(errs...)
}

func (p *programRule) run(ctx context.Context, doc any, out *families.Builder) error {
	f := out.Family(p.rule.Name, p.rule.Help, p.rule.Type)
	problem := rules.Problem{Metric: p.rule.Name}
	err := p.program.Run(ctx, doc, func(v any) bool {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			if err := p.add(f, item); err != nil {
				if problem.Count++; problem.First == nil {
					problem.First = err
				}
			}
		}
		return out.Room()
	})
	if err != nil {
		return fmt.Errorf("metric %s: %w", p.rule.Name, err)
	}
	if problem.Count > 0 {
		return &problem
	}
	return nil
}

func (p *programRule) add(f *families.Family, item any) error {
	labels := make(map[string]string, len(p.rule.Constants))
	maps.Copy(labels, p.rule.Constants)
	if object, ok := item.(map[string]any); ok {
		item, ok = object["value"]
		if !ok {
			return errors.New(`the program gave an object without "value"`)
		}
		own, ok := object["labels"].(map[string]any)
		if !ok && object["labels"] != nil {
			return errors.New(`"labels" of the program's output is no object`)
		}
		for name, value := range own {
			labels[name] = text(value)
		}
	}
	v, err := rules.Number(text(item), p.rule.Words)
	if err != nil {
		return err
	}
	f.Add(v*p.rule.Scale, pairs(labels))
	return nil
}

func pairs(labels map[string]string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, 0, len(labels))
	for name, value := range labels {
		value = strings.ToValidUTF8(value, "\uFFFD")
		out = append(out, &dto.LabelPair{Name: &name, Value: &value})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].GetName() < out[j].GetName() })
	return out
}

// text is an output of a program as a text.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case *big.Int:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return "null"
	}
	out, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(out)
}
