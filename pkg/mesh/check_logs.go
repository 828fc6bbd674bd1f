package mesh

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
)

// logs checks a LogsAdapter.
func (c *checker) logs(l *LogsAdapter, at string) {
	c.require(len(l.Sources) > 0, at+".sources", "at least one is needed",
		"as in sources: [{name: access, paths: [/var/log/nginx/access.log], format: nginxCombined}]")
	names := make(map[string]bool, len(l.Sources))
	for i := range l.Sources {
		here := fmt.Sprintf("%s.sources[%d]", at, i)
		c.once(names, l.Sources[i].Name, here+".name")
		c.logSource(&l.Sources[i], here)
	}
	c.logResource(l.Resource, at+".resource")
	c.require(l.Positions == "" || path.IsAbs(l.Positions) && len(l.Positions) > 1, at+".positions", "must be the absolute path of a file", "")
	c.require(l.LogPositions(c.obj.Meta()) != "" || len(l.Sources) == 0 || len(l.Sources[0].Paths) == 0, at+".positions",
		"is missing, and the folder of the first path is a pattern", "name a file on a volume that lives as long as the logs")
	c.positive(l.RotateWait, at+".rotateWait")
	if m := l.Limits; m != nil {
		c.sizeFrom(m.Line, 256, 16<<20, at+".limits.line", "256Ki is the default")
		c.require(m.Files == nil || *m.Files >= 1 && *m.Files <= 65536, at+".limits.files", "must be from 1 to 65536", "1024 is the default")
	}
	if b := l.Batch; b != nil {
		c.sizeFrom(b.Bytes, 1<<10, 64<<20, at+".batch.bytes", "1Mi is the default")
		c.require(b.Records == nil || *b.Records >= 1 && *b.Records <= 1_000_000, at+".batch.records", "must be from 1 to 1000000", "10000 is the default")
		c.positive(b.Interval, at+".batch.interval")
	}
	c.logSink(&l.Sink, at+".sink")
}

func (c *checker) sizeFrom(b *Bytes, low, high Bytes, at, hint string) {
	c.require(b == nil || *b >= low && *b <= high, at, fmt.Sprintf("must be from %d to %d bytes", low, high), hint)
}

func (c *checker) logSource(s *LogSource, at string) {
	c.require(IsDNSLabel(s.Name), at+".name", fmt.Sprintf("%q is not a name", clip(s.Name)), "use lower-case letters, digits and -")
	c.require(len(s.Paths) > 0, at+".paths", "at least one is needed", "as in /var/log/nginx/access.log")
	for i, p := range s.Paths {
		here := fmt.Sprintf("%s.paths[%d]", at, i)
		c.require(path.IsAbs(p) && !strings.HasSuffix(p, "/"), here, fmt.Sprintf("%q is not the absolute path of a file", clip(p)), "")
		c.require(!strings.Contains(p, "**"), here, "** is not supported", "a * is for one name: write one path for each depth")
		c.globPattern(p, here)
	}
	for i, p := range s.Exclude {
		c.globPattern(p, fmt.Sprintf("%s.exclude[%d]", at, i))
	}
	c.require(s.OnUnparsable != RuleDrop || s.Format != "" && s.Format != "plain" || s.Runtime != "", at+".onUnparsable",
		"has no effect: every line is of format plain", "name a format")
	c.logResource(s.Resource, at+".resource")
	c.logParsing(s, at)
	if m := s.Multiline; m != nil {
		c.require(m.Start != "", at+".multiline.start", "is missing", `as in '^\d{4}-'`)
		if _, err := regexp.Compile(m.Start); err != nil {
			c.fail(at+".multiline.start", regexpReason(err), "the syntax is RE2's")
		}
		c.require(m.MaxLines == nil || *m.MaxLines >= 1 && *m.MaxLines <= 100_000, at+".multiline.maxLines", "must be from 1 to 100000", "500 is the default")
		c.positive(m.Timeout, at+".multiline.timeout")
	}
}

func regexpReason(err error) string {
	return "is not a regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

func (c *checker) globPattern(p, at string) {
	_, err := filepath.Match(p, "x")
	c.require(err == nil && p != "", at, fmt.Sprintf("%q is not a pattern", clip(p)), "* ? and [a-z] are for characters of one name")
}

// logParsing says where in the document what the parsers refuse is.
func (c *checker) logParsing(s *LogSource, at string) {
	structured := slices.Contains([]LogFormat{"json", "logfmt", "regex"}, s.Format)
	c.require(s.Pattern == "" || s.Format == "regex", at+".pattern", "goes with format regex only", "remove it, or set format: regex")
	c.require(s.Format != "regex" || s.Pattern != "", at+".pattern", "is missing", "as in '^(?P<level>[A-Z]+) (?P<message>.*)$'")
	c.require(s.Fields == nil || structured, at+".fields", "goes with the formats json, logfmt and regex only", "remove it")
	if s.Format == "regex" && s.Pattern == "" || s.Pattern != "" && s.Format != "regex" || s.Fields != nil && !structured {
		return
	}
	if f := s.Fields; f != nil {
		if _, err := parse.NewClock(f.TimeFormat); err != nil {
			c.fail(at+".fields.timeFormat", err.Error(), "auto, rfc3339, clf, unix, unixMilli, unixMicro, unixNano, or a layout")
			return
		}
	}
	if _, err := parse.New(s.ParseOptions()); err != nil {
		here := at + ".fields"
		if s.Format == "regex" && s.Fields == nil {
			here = at + ".pattern"
		}
		c.fail(here, strings.TrimPrefix(err.Error(), parse.ErrOptions.Error()+": "), "")
	}
}

func (c *checker) logResource(r map[string]string, at string) {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		c.require(name != "" && len(name) <= 253 && !strings.ContainsAny(name, " \t\r\n\x00"), join(at, name), "is not the name of an attribute", "as in service.name")
		c.require(len(r[name]) <= 4096, join(at, name), "is longer than 4096 bytes", "")
	}
}

func (c *checker) logSink(s *LogSink, at string) {
	c.require(count(s.Stdout != nil, s.OTLP != nil, s.Elasticsearch != nil, s.Loki != nil) == 1, at,
		"must say in exactly one way where records go", oneOf([]string{"stdout", "otlp", "elasticsearch", "loki"}))
	switch {
	case s.OTLP != nil:
		c.receiver(&s.OTLP.LogReceiver, at+".otlp", false)
		c.urlPath(s.OTLP.Path, at+".otlp.path")
		c.require(s.OTLP.Path == "" || s.OTLP.Protocol == "http", at+".otlp.path", "goes with protocol http only", "remove it, or set protocol: http")
	case s.Elasticsearch != nil:
		e := s.Elasticsearch
		c.receiver(&e.LogReceiver, at+".elasticsearch", true)
		c.urlPath(e.Path, at+".elasticsearch.path")
		c.require(isIndexName(e.Index), at+".elasticsearch.index", fmt.Sprintf("%q is not the name of an index or data stream", clip(e.Index)),
			"lower-case, as in logs-nginx-default")
		c.require(!strings.ContainsFunc(e.Pipeline, func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("-_.", r) }),
			at+".elasticsearch.pipeline", "is not the name of a pipeline", "letters, digits, and - _ .")
	case s.Loki != nil:
		c.receiver(&s.Loki.LogReceiver, at+".loki", false)
		c.loki(s.Loki, at+".loki")
	}
}

func (c *checker) loki(l *LokiSink, at string) {
	c.urlPath(l.Path, at+".path")
	c.labels(l.Labels, at+".labels")
	n := len(l.Labels) + len(l.LabelsFrom)
	c.require(n > 0, at+".labels", "at least one label is needed, here or in labelsFrom", "as in labels: {job: nginx}")
	c.require(n <= 15, at+".labels", "are more than 15, with those of labelsFrom", "Loki takes no more")
	seen := maps.Clone(l.Labels)
	if seen == nil {
		seen = map[string]string{}
	}
	for i, from := range l.LabelsFrom {
		here := fmt.Sprintf("%s.labelsFrom[%d]", at, i)
		name := LabelOf(from)
		c.require(isLabelName(name), here, fmt.Sprintf("%q cannot be the name of a label", clip(from)), "name an attribute of the resource, as in k8s.pod.name")
		_, twice := seen[name]
		c.require(!twice, here, fmt.Sprintf("the label %s is there twice", clip(name)), "remove one")
		seen[name] = ""
	}
	c.require(!strings.ContainsAny(l.Tenant, " \t\r\n\x00/\\"), at+".tenant", "is not the name of a tenant", "")
}

// LabelOf makes the name of a label of that of an attribute.
func LabelOf(attribute string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && isAlphanumeric(r) || r == '_' {
			return r
		}
		return '_'
	}, attribute)
}

// receiver checks how a server is reached; keys: it takes API keys.
func (c *checker) receiver(r *LogReceiver, at string, keys bool) {
	c.server(&Server{Address: r.Address, Service: r.Service}, at)
	c.upstreamTLS(r.TLS, at+".tls")
	if r.TLS != nil {
		c.require(!r.TLS.Direct, at+".tls.direct", "is for databases only", "remove it")
		c.require(r.TLS.Mode != TLSPrefer, at+".tls.mode", "prefer is for databases only", "use require, verify-ca or verify-full")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		here := join(at+".headers", name)
		c.require(isHeaderName(name), here, "is not the name of a header", "")
		c.require(!strings.ContainsAny(r.Headers[name], "\r\n\x00"), here, "has a value that no header can have", "")
		c.require(!strings.EqualFold(name, "authorization"), here, "would be in plain sight", "use auth")
	}
	c.positive(r.Timeout, at+".timeout")
	if r.Auth != nil {
		c.logAuth(r.Auth, at+".auth", keys)
	}
}

func (c *checker) logAuth(a *LogAuth, at string, keys bool) {
	n := count(a.APIKeyFile != "", a.APIKeyEnv != "", a.APIKeySecret != nil)
	if n == 0 {
		c.sourceAuth(&a.SourceAuth, at)
		return
	}
	c.require(keys, at, "an API key is for elasticsearch only", "use a password or a bearer token")
	c.require(n == 1 && a.SourceAuth == SourceAuth{}, at, "has an API key and something else", "keep one")
	if k := a.APIKeySecret; k != nil {
		c.secret(k.Name, at+".apiKeySecret", "use a file or a variable")
		c.dataKey(k.Key, at+".apiKeySecret.key")
	}
}

func (c *checker) urlPath(p, at string) {
	c.require(p == "" || isURLPath(p), at, "must be the path of a URL", "")
}

// isIndexName reports whether Elasticsearch takes a name.
func isIndexName(s string) bool {
	return s != "" && len(s) <= 255 && s != "." && s != ".." && !strings.ContainsAny(s[:1], "-_+") &&
		s == strings.ToLower(s) && !strings.ContainsAny(s, "\\/*?\"<>| ,#:\t\r\n\x00")
}
