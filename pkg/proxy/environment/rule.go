package environment

import (
	"errors"
	"fmt"
	"strings"
)

// Rule names the environment of namespaces whose name fits a pattern.
type Rule struct {
	Pattern     string // with at most one *
	Environment string
}

// ErrRule is what a malformed rule gives.
var ErrRule = errors.New("malformed environment rule")

// ParseRule reads "*-prod=production". Without "=" the environment is what the
// pattern leaves without its * and the dashes around: "*-prod" names prod.
func ParseRule(s string) (Rule, error) {
	pattern, env, given := strings.Cut(s, "=")
	if strings.Count(pattern, "*") > 1 {
		return Rule{}, fmt.Errorf("%w %q: more than one *", ErrRule, s)
	}
	if !given {
		env = strings.Trim(strings.Replace(pattern, "*", "", 1), "-_.")
	}
	if pattern == "" || env == "" {
		return Rule{}, fmt.Errorf("%w %q: want PATTERN or PATTERN=ENVIRONMENT", ErrRule, s)
	}
	return Rule{Pattern: pattern, Environment: env}, nil
}

// ParseRules reads several rules, separated by commas or given apart.
func ParseRules(list []string) ([]Rule, error) {
	var rules []Rule
	var errs []error
	for _, item := range list {
		for s := range strings.SplitSeq(item, ",") {
			if s = strings.TrimSpace(s); s == "" {
				continue
			}
			r, err := ParseRule(s)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			rules = append(rules, r)
		}
	}
	return rules, errors.Join(errs...)
}

// Match tells whether the rule fits a namespace, and what it is then.
func (r Rule) Match(namespace string) (string, bool) {
	before, after, wild := strings.Cut(r.Pattern, "*")
	if !wild {
		return r.Environment, namespace == r.Pattern
	}
	ok := len(namespace) > len(before)+len(after) &&
		strings.HasPrefix(namespace, before) && strings.HasSuffix(namespace, after)
	return r.Environment, ok
}

// String spells the rule as ParseRule reads it.
func (r Rule) String() string { return r.Pattern + "=" + r.Environment }
