package resource

import (
	"fmt"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// reader collects what is wrong in one resource, and the secrets in it.
type reader struct {
	typeURL string
	name    string
	errs    Errors
	secrets []*Secret
}

func (r *reader) fail(path, format string, args ...any) {
	r.errs = append(r.errs, &Error{
		TypeURL: r.typeURL, Name: r.name, Path: path, Reason: fmt.Sprintf(format, args...),
	})
}

// only refuses every field of m that is set and not among those named. What is
// named is either read or known to change nothing here.
func (r *reader) only(m proto.Message, path string, fields ...string) {
	var refused []string
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := string(f.Name()); !slices.Contains(fields, name) {
			refused = append(refused, name)
		}
		return true
	})
	slices.Sort(refused)
	for _, name := range refused {
		r.fail(join(path, name), "is not supported")
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// unpack opens an Any that must hold a message of type into.
func (r *reader) unpack(a *anypb.Any, into proto.Message, path string) bool {
	if a == nil {
		r.fail(path, "is missing")
		return false
	}
	if a.MessageName() != into.ProtoReflect().Descriptor().FullName() {
		r.fail(path, "must be a %s, is %q", into.ProtoReflect().Descriptor().FullName(), a.GetTypeUrl())
		return false
	}
	if err := proto.Unmarshal(a.GetValue(), into); err != nil {
		r.fail(path, "cannot be decoded: %v", err)
		return false
	}
	return true
}

// duration gives fallback for an absent value and refuses negative ones.
func (r *reader) duration(d *durationpb.Duration, path string, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	if err := d.CheckValid(); err != nil || d.GetSeconds() < 0 || d.GetNanos() < 0 {
		r.fail(path, "is not a duration of 0 or more")
		return fallback
	}
	return d.AsDuration()
}

// positive is a duration that must not be 0.
func (r *reader) positive(d *durationpb.Duration, path string, fallback time.Duration) time.Duration {
	v := r.duration(d, path, fallback)
	if v == 0 {
		r.fail(path, "must be longer than 0")
		return fallback
	}
	return v
}

// atLeast gives fallback for an absent value and refuses smaller ones than low.
func (r *reader) atLeast(v *wrapperspb.UInt32Value, path string, fallback, low uint32) uint32 {
	if v == nil {
		return fallback
	}
	if v.GetValue() < low {
		r.fail(path, "must be at least %d", low)
		return fallback
	}
	return v.GetValue()
}

// dataSource reads where bytes come from.
func (r *reader) dataSource(d *corev3.DataSource, path string) DataSource {
	if d == nil || d.GetSpecifier() == nil {
		r.fail(path, "is missing")
		return DataSource{}
	}
	r.only(d, path, "filename", "inline_bytes", "inline_string", "environment_variable", "watched_directory")
	switch s := d.GetSpecifier().(type) {
	case *corev3.DataSource_Filename:
		return DataSource{Filename: s.Filename}
	case *corev3.DataSource_EnvironmentVariable:
		return DataSource{Env: s.EnvironmentVariable}
	case *corev3.DataSource_InlineString:
		return DataSource{Inline: []byte(s.InlineString)}
	}
	return DataSource{Inline: d.GetInlineBytes()}
}

// lift makes a secret of what stands inline at path, and gives its name.
func (r *reader) lift(s *Secret, path string) string {
	s.Name = r.name + "#" + path
	r.secrets = append(r.secrets, s)
	return s.Name
}

// liftGeneric makes a generic secret of an inline data source; of an absent or
// empty one it makes none.
func (r *reader) liftGeneric(d *corev3.DataSource, path string) SecretKey {
	if d == nil || d.GetSpecifier() == nil || proto.Equal(d, emptyInline()) {
		return SecretKey{}
	}
	value := r.dataSource(d, path)
	return SecretKey{Name: r.lift(&Secret{Generic: map[string]DataSource{"": value}}, path)}
}

// emptyInline is what stands where a data source is demanded and none is meant.
func emptyInline() *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{}}
}

// sds gives the name of a secret that is delivered like all other resources.
func (r *reader) sds(c *secretv3.SdsSecretConfig, path string) string {
	if c.GetName() == "" {
		r.fail(join(path, "name"), "is missing")
	}
	if s := c.GetSdsConfig(); s != nil {
		r.aggregated(s, join(path, "sds_config"))
	}
	return c.GetName()
}

// aggregated refuses any source of resources but the stream that is there.
func (r *reader) aggregated(c *corev3.ConfigSource, path string) {
	r.only(c, path, "ads", "self", "resource_api_version", "initial_fetch_timeout")
	if c.GetAds() == nil && c.GetSelf() == nil {
		r.fail(path, "must be ads or self")
	}
}

func (r *reader) err() error {
	if len(r.errs) == 0 {
		return nil
	}
	return r.errs
}
