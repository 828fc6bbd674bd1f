package resource

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	templatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// maxRegex bounds a pattern, whose program and time grow with it.
const maxRegex = 4096

var errRegexLength = errors.New("it is longer")

func (r *reader) routeMatch(p *routev3.RouteMatch, path string) RouteMatch {
	r.only(p, path, "prefix", "path", "safe_regex", "path_separated_prefix", "path_match_policy", "case_sensitive",
		"runtime_fraction", "headers", "query_parameters", "grpc")
	m := RouteMatch{
		GRPC:     p.GetGrpc() != nil,
		Fraction: r.runtimeFraction(p.GetRuntimeFraction(), join(path, "runtime_fraction")),
	}
	m.Path.IgnoreCase = p.GetCaseSensitive() != nil && !p.GetCaseSensitive().GetValue()
	switch s := p.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		m.Path.Kind, m.Path.Value = PathPrefix, s.Prefix
	case *routev3.RouteMatch_Path:
		m.Path.Kind, m.Path.Value = PathExact, s.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		m.Path.Kind, m.Path.Value = PathSegments, s.PathSeparatedPrefix
		if v := s.PathSeparatedPrefix; !strings.HasPrefix(v, "/") || strings.HasSuffix(v, "/") || strings.ContainsAny(v, "?#") {
			r.fail(join(path, "path_separated_prefix"), "must begin with /, not end with it, and have no query")
		}
	case *routev3.RouteMatch_SafeRegex:
		m.Path.Kind, m.Path.Value = PathRegex, s.SafeRegex.GetRegex()
		m.Path.Regex = r.regex(s.SafeRegex, join(path, "safe_regex"))
	case *routev3.RouteMatch_PathMatchPolicy:
		at := join(path, "path_match_policy.typed_config")
		var t templatev3.UriTemplateMatchConfig
		if r.unpack(s.PathMatchPolicy.GetTypedConfig(), &t, at) {
			rx, err := parsePathTemplate(t.GetPathTemplate())
			if err != nil {
				r.fail(join(at, "path_template"), "%q %v", t.GetPathTemplate(), err)
			}
			m.Path.Kind, m.Path.Value, m.Path.Regex = PathTemplate, t.GetPathTemplate(), rx
		}
	default:
		r.fail(path, "needs prefix, path, safe_regex, path_separated_prefix or path_match_policy")
	}
	for i, h := range p.GetHeaders() {
		m.Headers = append(m.Headers, r.headerMatch(h, index(join(path, "headers"), i)))
	}
	for i, q := range p.GetQueryParameters() {
		m.Query = append(m.Query, r.queryMatch(q, index(join(path, "query_parameters"), i)))
	}
	return m
}

// regex compiles a pattern that must match all of a text. RE2 is also Go's.
func (r *reader) regex(p *matcherv3.RegexMatcher, path string) *regexp.Regexp {
	rx, err := compile("^(?:" + p.GetRegex() + ")$")
	if err != nil || p.GetRegex() == "" {
		r.fail(join(path, "regex"), "%q is not a regular expression of at most %d bytes: %v", p.GetRegex(), maxRegex, err)
	}
	return rx
}

func compile(s string) (*regexp.Regexp, error) {
	if len(s) > maxRegex {
		return nil, errRegexLength
	}
	return regexp.Compile(s)
}

func (r *reader) headerMatch(p *routev3.HeaderMatcher, path string) HeaderMatch {
	m := HeaderMatch{Name: p.GetName(), Invert: p.GetInvertMatch(), MissingIsEmpty: p.GetTreatMissingHeaderAsEmpty()}
	switch {
	case m.Name == ":method" || m.Name == ":path" || m.Name == ":authority" || m.Name == ":scheme":
	case strings.EqualFold(m.Name, "host"):
		m.Name = ":authority"
	case !ValidHeaderName(m.Name):
		r.fail(join(path, "name"), "%q is not the name of a header", m.Name)
	default:
		m.Name = http.CanonicalHeaderKey(m.Name)
	}
	text := func(kind StringKind, value, field string) {
		m.Kind, m.String = HeaderString, StringMatch{Kind: kind, Value: value}
		if value == "" && kind != StringExact {
			r.fail(join(path, field), "is empty")
		}
	}
	switch s := p.GetHeaderMatchSpecifier().(type) {
	case nil:
		m.Kind = HeaderPresent
	case *routev3.HeaderMatcher_PresentMatch:
		m.Kind, m.Absent = HeaderPresent, !s.PresentMatch
	case *routev3.HeaderMatcher_ExactMatch:
		text(StringExact, s.ExactMatch, "exact_match") //nolint:staticcheck // what older control planes send
	case *routev3.HeaderMatcher_PrefixMatch:
		text(StringPrefix, s.PrefixMatch, "prefix_match") //nolint:staticcheck // what older control planes send
	case *routev3.HeaderMatcher_SuffixMatch:
		text(StringSuffix, s.SuffixMatch, "suffix_match") //nolint:staticcheck // what older control planes send
	case *routev3.HeaderMatcher_ContainsMatch:
		text(StringContains, s.ContainsMatch, "contains_match") //nolint:staticcheck // what older control planes send
	case *routev3.HeaderMatcher_SafeRegexMatch:
		m.Kind, m.String.Kind = HeaderString, StringRegex
		m.String.Regex = r.regex(s.SafeRegexMatch, join(path, "safe_regex_match")) //nolint:staticcheck // as above
	case *routev3.HeaderMatcher_RangeMatch:
		m.Kind, m.Low, m.High = HeaderRange, s.RangeMatch.GetStart(), s.RangeMatch.GetEnd()
	case *routev3.HeaderMatcher_StringMatch:
		m.Kind, m.String = HeaderString, r.stringMatch(s.StringMatch, join(path, "string_match"))
	default:
		r.fail(path, "has a match that is not supported")
	}
	return m
}

func (r *reader) stringMatch(p *matcherv3.StringMatcher, path string) StringMatch {
	m := StringMatch{IgnoreCase: p.GetIgnoreCase()}
	switch s := p.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		m.Kind, m.Value = StringExact, s.Exact
	case *matcherv3.StringMatcher_Prefix:
		m.Kind, m.Value = StringPrefix, s.Prefix
	case *matcherv3.StringMatcher_Suffix:
		m.Kind, m.Value = StringSuffix, s.Suffix
	case *matcherv3.StringMatcher_Contains:
		m.Kind, m.Value = StringContains, s.Contains
	case *matcherv3.StringMatcher_SafeRegex:
		m.Kind, m.IgnoreCase = StringRegex, false
		m.Regex = r.regex(s.SafeRegex, join(path, "safe_regex"))
	default:
		r.fail(path, "needs exact, prefix, suffix, contains or safe_regex")
	}
	if m.IgnoreCase {
		m.Value = strings.ToLower(m.Value)
	}
	return m
}

func (r *reader) queryMatch(p *routev3.QueryParameterMatcher, path string) QueryMatch {
	m := QueryMatch{Name: p.GetName()}
	if m.Name == "" {
		r.fail(join(path, "name"), "is missing")
	}
	switch s := p.GetQueryParameterMatchSpecifier().(type) {
	case nil:
		m.Present = true
	case *routev3.QueryParameterMatcher_PresentMatch:
		if m.Present = true; !s.PresentMatch {
			r.fail(join(path, "present_match"), "must be true")
		}
	case *routev3.QueryParameterMatcher_StringMatch:
		m.String = r.stringMatch(s.StringMatch, join(path, "string_match"))
	}
	return m
}

// regexRewrite turns RE2's \1 into Go's ${1}.
func (r *reader) regexRewrite(p *matcherv3.RegexMatchAndSubstitute, path string) (*regexp.Regexp, string) {
	rx, err := compile(p.GetPattern().GetRegex())
	if err != nil {
		r.fail(join(path, "pattern.regex"), "%q is not a regular expression of at most %d bytes: %v", p.GetPattern().GetRegex(), maxRegex, err)
		return nil, ""
	}
	var out strings.Builder
	s := p.GetSubstitution()
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '$':
			out.WriteString("$$")
		case c == '\\' && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
			i++
			if int(s[i]-'0') > rx.NumSubexp() {
				r.fail(join(path, "substitution"), "has \\%c, and the pattern has %d groups", s[i], rx.NumSubexp())
			}
			out.WriteString("${" + string(s[i]) + "}")
		case c == '\\' && i+1 < len(s) && s[i+1] == '\\':
			i++
			out.WriteByte('\\')
		case c == '\\':
			r.fail(join(path, "substitution"), "has a \\ that is followed by neither a digit nor another one")
		default:
			out.WriteByte(c)
		}
	}
	return rx, out.String()
}
