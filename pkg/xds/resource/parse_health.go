package resource

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	redishealthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/health_checkers/redis/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	databasehealthv1 "github.com/dragoman-mesh/dragoman/api/dragoman/health_checkers/database/v1"
)

// Defaults of Envoy's outlier detection.
const (
	defaultOutlierFailures = 5
	defaultOutlierInterval = 10 * time.Second
	defaultBaseEjection    = 30 * time.Second
	defaultMaxEjection     = 5 * time.Minute
	defaultEjectionPercent = 10
)

func (r *reader) healthCheck(checks []*corev3.HealthCheck) *HealthCheck {
	if len(checks) == 0 {
		return nil
	}
	if len(checks) > 1 {
		r.fail("health_checks", "must be at most one")
	}
	p := checks[0]
	const path = "health_checks[0]"
	// The other intervals of Envoy's spare quiet or unhealthy hosts; here all
	// are asked alike.
	r.only(p, path, "name", "timeout", "interval", "interval_jitter_percent", "unhealthy_threshold", "healthy_threshold",
		"tcp_health_check", "http_health_check", "grpc_health_check", "custom_health_check", "reuse_connection", "no_traffic_interval", "no_traffic_healthy_interval",
		"unhealthy_interval", "unhealthy_edge_interval", "healthy_edge_interval",
		"always_log_health_check_failures", "always_log_health_check_success")
	h := &HealthCheck{
		Interval:           r.required(p.GetInterval(), join(path, "interval")),
		Timeout:            r.required(p.GetTimeout(), join(path, "timeout")),
		Jitter:             float64(min(p.GetIntervalJitterPercent(), 100)) / 100,
		UnhealthyThreshold: r.atLeast(p.GetUnhealthyThreshold(), join(path, "unhealthy_threshold"), 1, 1),
		HealthyThreshold:   r.atLeast(p.GetHealthyThreshold(), join(path, "healthy_threshold"), 1, 1),
	}
	r.healthChecker(p, path, h)
	return h
}

// required is a duration that must be there, and not 0.
func (r *reader) required(d *durationpb.Duration, path string) time.Duration {
	if d == nil {
		r.fail(path, "is missing")
		return time.Second
	}
	return r.positive(d, path, time.Second)
}

func (r *reader) healthChecker(p *corev3.HealthCheck, path string, h *HealthCheck) {
	if t := p.GetTcpHealthCheck(); t != nil {
		r.only(t, join(path, "tcp_health_check"))
		return
	}
	if c := p.GetHttpHealthCheck(); c != nil {
		r.httpCheck(c, join(path, "http_health_check"), h)
		return
	}
	if c := p.GetGrpcHealthCheck(); c != nil {
		r.grpcCheck(c, join(path, "grpc_health_check"), h)
		return
	}
	custom := p.GetCustomHealthCheck()
	if custom == nil {
		r.fail(path, "must be a tcp_health_check, an http_health_check, a grpc_health_check or a custom_health_check for Redis or a database")
		return
	}
	path = join(path, "custom_health_check.typed_config")
	if custom.GetTypedConfig().MessageName() == nameOf(&databasehealthv1.DatabaseCheck{}) {
		r.databaseCheck(custom.GetTypedConfig(), path, h)
		return
	}
	var c redishealthv3.Redis
	if r.unpack(custom.GetTypedConfig(), &c, path) {
		r.only(&c, path, "key")
		h.Kind, h.Key = HealthCheckRedis, c.GetKey()
	}
}

func (r *reader) databaseCheck(packed *anypb.Any, path string, h *HealthCheck) {
	var c databasehealthv1.DatabaseCheck
	if !r.unpack(packed, &c, path) {
		return
	}
	switch c.GetProtocol() {
	case databasehealthv1.DatabaseCheck_POSTGRES:
		h.Kind = HealthCheckPostgres
	case databasehealthv1.DatabaseCheck_MYSQL:
		h.Kind = HealthCheckMySQL
	default:
		r.fail(join(path, "protocol"), "has the unknown value %d", c.GetProtocol())
	}
	h.Database = DatabaseCheck{
		Login:       r.databaseLogin(c.GetLogin(), join(path, "login")),
		TLSOptional: c.GetTlsOptional(),
		ProbeRole:   c.GetProbeRole(),
		RequireAuth: r.loginMethods(c.GetRequireAuth(), join(path, "require_auth")),
	}
	if h.Kind == HealthCheckMySQL && h.Database.RequireAuth != 0 {
		r.fail(join(path, "require_auth"), "goes with protocol POSTGRES only")
	}
}

// outlier reads Envoy's consecutive failures. There are no HTTP codes here: a
// failed request counts as a 5xx and as a gateway failure does in Envoy.
func (r *reader) outlier(p *clusterv3.OutlierDetection) *Outlier {
	if p == nil {
		return nil
	}
	const path = "outlier_detection"
	// The success rate and failure percentage only eject where they are
	// enforced; Envoy enforces the rate unless told otherwise, which a handful
	// of Redis servers never has enough hosts for (success_rate_minimum_hosts).
	r.only(p, path, "consecutive_5xx", "interval", "base_ejection_time", "max_ejection_percent", "enforcing_consecutive_5xx",
		"enforcing_success_rate", "success_rate_minimum_hosts", "success_rate_request_volume", "success_rate_stdev_factor",
		"consecutive_gateway_failure", "enforcing_consecutive_gateway_failure", "max_ejection_time",
		"always_eject_one_host", "successful_active_health_check_uneject_host")
	if e := p.GetEnforcingConsecutive_5Xx(); e != nil && e.GetValue() != 100 {
		if e.GetValue() != 0 {
			r.fail(join(path, "enforcing_consecutive_5xx"), "must be 0 or 100")
		}
		return nil
	}
	o := &Outlier{
		ConsecutiveFailures: r.atLeast(p.GetConsecutive_5Xx(), join(path, "consecutive_5xx"), defaultOutlierFailures, 1),
		Interval:            r.positive(p.GetInterval(), join(path, "interval"), defaultOutlierInterval),
		BaseEjection:        r.positive(p.GetBaseEjectionTime(), join(path, "base_ejection_time"), defaultBaseEjection),
		MaxEjectionPercent:  min(r.atLeast(p.GetMaxEjectionPercent(), join(path, "max_ejection_percent"), defaultEjectionPercent, 0), 100),
	}
	o.MaxEjection = r.positive(p.GetMaxEjectionTime(), join(path, "max_ejection_time"), max(o.BaseEjection, defaultMaxEjection))
	if o.MaxEjection < o.BaseEjection {
		r.fail(join(path, "max_ejection_time"), "must not be shorter than base_ejection_time")
	}
	return o
}
