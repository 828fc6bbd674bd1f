package resource

import (
	"cmp"
	"os"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
)

// httpTracing reads which requests get spans. Where spans go is the process' own
// to know, and so is not read here.
func (r *reader) httpTracing(p *hcmv3.HttpConnectionManager_Tracing, path string) *HTTPTracing {
	if p == nil {
		return nil
	}
	r.only(p, path, "client_sampling", "random_sampling", "overall_sampling", "verbose", "max_path_tag_length", "custom_tags", "provider", "spawn_upstream_span")
	const defaultMaxPath = 256 // Envoy's
	t := &HTTPTracing{Sampling: 1, MaxPath: defaultMaxPath}
	if s := p.GetRandomSampling(); s != nil {
		t.Sampling = r.share(s.GetValue(), join(path, "random_sampling"))
	}
	if s := p.GetOverallSampling(); s != nil {
		t.Sampling = min(t.Sampling, r.share(s.GetValue(), join(path, "overall_sampling")))
	}
	if m := p.GetMaxPathTagLength(); m != nil {
		t.MaxPath = int(min(m.GetValue(), 1<<20))
	}
	for i, c := range p.GetCustomTags() {
		t.Tags = append(t.Tags, r.httpTag(c, index(join(path, "custom_tags"), i)))
	}
	return t
}

// share reads a percentage.
func (r *reader) share(percent float64, path string) float64 {
	if !(percent >= 0 && percent <= 100) { // NaN is none, too
		r.fail(path, "must be from 0 to 100")
		return 0
	}
	return percent / 100
}

func (r *reader) httpTag(p *tracingv3.CustomTag, path string) HTTPTag {
	t := HTTPTag{Name: p.GetTag()}
	if t.Name == "" {
		r.fail(join(path, "tag"), "is missing")
	}
	switch v := p.GetType().(type) {
	case *tracingv3.CustomTag_Literal_:
		t.Value = v.Literal.GetValue()
	case *tracingv3.CustomTag_Environment_:
		t.Value = cmp.Or(os.Getenv(v.Environment.GetName()), v.Environment.GetDefaultValue())
	case *tracingv3.CustomTag_RequestHeader:
		t.Header, t.Value = v.RequestHeader.GetName(), v.RequestHeader.GetDefaultValue()
		if t.Header == "" {
			r.fail(join(path, "request_header.name"), "is missing")
		}
	default:
		r.fail(path, "must be a literal, an environment or a request_header")
	}
	return t
}
