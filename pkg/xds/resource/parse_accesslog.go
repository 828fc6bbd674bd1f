package resource

import (
	"cmp"
	"maps"
	"slices"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// AccessLog is where a line is written for each request, and what is in it.
type AccessLog struct {
	Path      string // of a file; /dev/stdout and /dev/stderr are what they say
	Text      Format
	JSON      []LogField // not nil: a line is an object of these, in this order
	OmitEmpty bool       // leaves out what is not known
}

// LogField is one member of an object.
type LogField struct {
	Name  string
	Value Format
}

// defaultAccessLog is Envoy's default format.
const defaultAccessLog = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESPONSE_DURATION% ` +
	`"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

func (r *reader) accessLogs(list []*accesslogv3.AccessLog, path string) []AccessLog {
	var out []AccessLog
	for i, p := range list {
		at := index(path, i)
		r.only(p, at, "name", "typed_config")
		at = join(at, "typed_config")
		packed := p.GetTypedConfig()
		var l AccessLog
		switch packed.MessageName() {
		case nameOf(&filev3.FileAccessLog{}):
			var f filev3.FileAccessLog
			r.unpack(packed, &f, at)
			r.only(&f, at, "path", "log_format")
			if l.Path = f.GetPath(); l.Path == "" {
				r.fail(join(at, "path"), "is missing")
			}
			r.logFormat(f.GetLogFormat(), join(at, "log_format"), &l)
		case nameOf(&streamv3.StdoutAccessLog{}):
			var f streamv3.StdoutAccessLog
			r.unpack(packed, &f, at)
			l.Path = "/dev/stdout"
			r.logFormat(f.GetLogFormat(), join(at, "log_format"), &l)
		case nameOf(&streamv3.StderrAccessLog{}):
			var f streamv3.StderrAccessLog
			r.unpack(packed, &f, at)
			l.Path = "/dev/stderr"
			r.logFormat(f.GetLogFormat(), join(at, "log_format"), &l)
		default:
			r.fail(at, "%q is not an access log of this proxy", cmp.Or(packed.GetTypeUrl(), p.GetName()))
		}
		out = append(out, l)
	}
	return out
}

func (r *reader) logFormat(p *corev3.SubstitutionFormatString, path string, l *AccessLog) {
	r.only(p, path, "text_format_source", "text_format", "json_format", "omit_empty_values", "content_type", "json_format_options")
	l.OmitEmpty = p.GetOmitEmptyValues()
	text := defaultAccessLog
	switch f := p.GetFormat().(type) {
	case *corev3.SubstitutionFormatString_JsonFormat:
		l.JSON = r.logFields(f.JsonFormat, join(path, "json_format"))
		return
	case *corev3.SubstitutionFormatString_TextFormat:
		text = f.TextFormat //nolint:staticcheck // what control planes send
	case *corev3.SubstitutionFormatString_TextFormatSource:
		source := r.dataSource(f.TextFormatSource, join(path, "text_format_source"))
		if text = string(source.Inline); source.Filename != "" || source.Env != "" {
			r.fail(join(path, "text_format_source"), "must be inline")
		}
	}
	l.Text = r.format(text, path)
}

// logFields reads an object, whose members are written sorted, as Envoy does.
func (r *reader) logFields(s *structpb.Struct, path string) []LogField {
	out := make([]LogField, 0, len(s.GetFields()))
	for _, name := range slices.Sorted(maps.Keys(s.GetFields())) {
		v, ok := s.GetFields()[name].GetKind().(*structpb.Value_StringValue)
		if !ok {
			r.fail(join(path, name), "must be a text")
			continue
		}
		out = append(out, LogField{name, r.format(v.StringValue, join(path, name))})
	}
	return out
}
