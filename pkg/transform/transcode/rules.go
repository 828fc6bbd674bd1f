package transcode

import (
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
)

// Rule is one of google.api.http, as configuration says it.
type Rule struct {
	Selector     string // full name of a method
	Method       string // of HTTP; "*": any
	Path         string // a template
	Body         string // a field, "*" or nothing
	ResponseBody string // a field or nothing
}

// HTTPRules makes rules of google.api.http. Those of the same method are ways to
// it.
func HTTPRules(list []Rule) []*annotations.HttpRule {
	first := make(map[string]*annotations.HttpRule)
	var rules []*annotations.HttpRule
	for _, r := range list {
		rule := &annotations.HttpRule{
			Selector: r.Selector, Body: r.Body, ResponseBody: r.ResponseBody,
			Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Kind: r.Method, Path: r.Path}},
		}
		if before := first[r.Selector]; before != nil {
			before.AdditionalBindings = append(before.AdditionalBindings, rule)
			continue
		}
		first[r.Selector] = rule
		rules = append(rules, rule)
	}
	return rules
}

// Own leaves services of gRPC itself out: reflection, health, channelz.
func Own(services []string) []string {
	var own []string
	for _, name := range services {
		if !strings.HasPrefix(name, "grpc.") {
			own = append(own, name)
		}
	}
	return own
}
