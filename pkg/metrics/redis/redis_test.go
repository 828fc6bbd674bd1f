package redis_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/redis"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// secrets is a filters.SecretSource.
type secrets map[string]string

func (s secrets) Secret(name string) (string, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return "", fmt.Errorf("no secret %q", name)
}

func gather(t *testing.T, cfg resource.ServerSource, env metrics.Env) (map[string]*dto.MetricFamily, string, error) {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	s, err := redis.New(&resource.RedisSource{ServerSource: cfg}, env)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := s.Gather(t.Context())
	byName := make(map[string]*dto.MetricFamily)
	for _, mf := range list {
		byName[mf.GetName()] = mf
	}
	return byName, tooltest.Text(t, list), err
}

// TestRealServer: the families of a server that has done something, with what
// the server itself says.
func TestRealServer(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithConfig("latency-tracking yes"))
	node.Do("SET", "a", "1")
	node.Do("SET", "b", "2", "EX", "1000")
	node.Do("GET", "a")
	node.Do("GET", "missing")
	if reply, err := node.TryDo("NOSUCH"); err != nil {
		t.Fatal(reply, err)
	}
	got, text, err := gather(t, resource.ServerSource{Address: node.Addr()}, metrics.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"redis_up 1\n", "redis_db_keys{db=\"db0\"} 2\n", "redis_db_keys_expiring{db=\"db0\"} 1\n",
		"redis_keyspace_hits_total 1\n", "redis_keyspace_misses_total 1\n", "redis_commands_total{cmd=\"set\"} 2\n",
		"redis_errors_total{err=\"ERR\"} 1\n", "redis_rdb_last_bgsave_status 1\n", "# TYPE redis_latency_percentiles_usec summary\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", strings.TrimSpace(want), text)
		}
	}
	if v := got["redis_uptime_in_seconds"].GetMetric()[0].GetGauge().GetValue(); v < 0 || v > 3600 {
		t.Errorf("up for %v seconds", v)
	}
	for name, typ := range map[string]dto.MetricType{
		"redis_memory_used_bytes": dto.MetricType_GAUGE, "redis_commands_processed_total": dto.MetricType_COUNTER,
		"redis_connected_clients": dto.MetricType_GAUGE, "redis_net_input_bytes_total": dto.MetricType_COUNTER,
		"redis_cpu_user_seconds_total": dto.MetricType_COUNTER, "redis_commands_duration_seconds_total": dto.MetricType_COUNTER,
		"redis_memory_max_bytes": dto.MetricType_GAUGE, "redis_latest_fork_seconds": dto.MetricType_GAUGE,
	} {
		if mf := got[name]; mf == nil || mf.GetType() != typ || len(mf.Metric) == 0 {
			t.Errorf("%s is %v, want a %v", name, mf, typ)
		}
	}
	labels := tooltest.Labels(got["redis_instance_info"].GetMetric()[0])
	if labels["redis_version"] != node.Info("redis_version") || labels["role"] != "master" || labels["tcp_port"] != strconv.Itoa(node.Port()) {
		t.Errorf("instance_info has %v", labels)
	}
}

// TestReplication: the primary tells of its replica, the replica of its link.
func TestReplication(t *testing.T) {
	t.Parallel()
	primary := redistest.Server(t)
	replica := redistest.Server(t, redistest.WithReplicaOf(primary))
	redistest.Eventually(t, time.Minute, "link", func() error {
		if _, text, err := gather(t, resource.ServerSource{Address: replica.Addr()}, metrics.Env{}); err != nil || !strings.Contains(text, "redis_master_link_up{master_host=\"127.0.0.1\",master_port=\""+strconv.Itoa(primary.Port())+"\"} 1\n") {
			return fmt.Errorf("%w: %s", errors.Join(err, errors.New("no link")), text)
		}
		_, text, err := gather(t, resource.ServerSource{Address: primary.Addr()}, metrics.Env{})
		if err != nil || !strings.Contains(text, "redis_connected_slave_lag_seconds{slave_ip=\"127.0.0.1\",slave_port=\""+strconv.Itoa(replica.Port())+"\",slave_state=\"online\"}") {
			return fmt.Errorf("%w: %s", errors.Join(err, errors.New("no replica")), text)
		}
		return nil
	})
}

// TestLogin: with a user, over TLS; and a password that is wrong is told, and
// shown nowhere.
func TestLogin(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki), redistest.WithUser("scrape", "s3cret", "+info +auth"))
	env := metrics.Env{Secrets: secrets{"ok": "s3cret", "pair/wrong": "other-s3cret"}}
	cfg := resource.ServerSource{
		Address: node.Addr(), TLS: &resource.MetricsTLS{CAFile: pki.CAFile, ServerName: "localhost"},
		Auth: resource.MetricsAuth{Username: "scrape", Password: resource.SecretKey{Name: "ok"}},
	}
	if _, text, err := gather(t, cfg, env); err != nil || !strings.Contains(text, "redis_up 1\n") {
		t.Errorf("%v: %s", err, text)
	}
	cfg.Auth.Password = resource.SecretKey{Name: "pair", Key: "wrong"}
	_, text, err := gather(t, cfg, env)
	if _, ok := errors.AsType[*probe.ReplyError](err); !ok || strings.Contains(err.Error(), "s3cret") || !strings.Contains(text, "redis_up 0\n") {
		t.Errorf("a wrong password: %v: %s", err, text)
	}
	cfg.Auth.Password = resource.SecretKey{Name: "gone"}
	if _, _, err := gather(t, cfg, env); err == nil {
		t.Error("a secret that is not there is no error")
	}
	cfg.TLS = &resource.MetricsTLS{}
	if _, _, err := gather(t, cfg, env); err == nil {
		t.Error("a certificate of nobody is trusted")
	}
}

// TestServersThatAreNone: redis_up is 0, and the error says why, in time.
func TestServersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"garbage": "HTTP/1.1 400 Bad Request\r\n", "nothing": "", "an error": "-ERR no\r\n", "too much": "$99999999999\r\n", "a list": "*1\r\n",
		"half": "$100\r\nabc", "no number": "$x\r\n", "a long line": strings.Repeat("x", 10_000), "null": "$-1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, answer) // what the test is about
				if name != "nothing" {
					return
				}
				_, _ = io.Copy(io.Discard, c) // until the other end has had enough
			}()
			_, text, err := gather(t, resource.ServerSource{Address: l.Addr().String(), Timeout: 200 * time.Millisecond}, metrics.Env{})
			if err == nil || text != "# HELP redis_up Information about the Redis instance\n# TYPE redis_up gauge\nredis_up 0\n" {
				t.Errorf("%v: %s", err, text)
			}
			_ = l.Close() // the goroutine has accepted, or need not any more
			<-done
		})
	}
	if _, _, err := gather(t, resource.ServerSource{Address: tooltest.FreeAddress(t)}, metrics.Env{}); err == nil {
		t.Error("nobody is there, and that is no error")
	}
}

func FuzzInfo(f *testing.F) {
	f.Add("# Replication\r\nrole:master\r\nslave0:ip=1,port=2,state=online,offset=3,lag=4\r\n# Keyspace\r\ndb0:keys=1,expires=2,avg_ttl=3\r\n")
	f.Add("cmdstat_get:calls=1,usec=2\r\nlatency_percentiles_usec_get:p50=1,p99.9=2\r\nused_memory:1e999\r\nx y:5%\r\n")
	f.Fuzz(func(t *testing.T, info string) {
		b := &families.Builder{Limit: 50}
		redis.Info(b, strings.ToValidUTF8(info, "?"))
		list, _ := b.Done() // an error says that there were too many
		tooltest.Text(t, list)
	})
}
