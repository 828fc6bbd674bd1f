package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// throughAmbassador is an Adapter of what is behind an Ambassador of the same
// documents, which has the credentials, and says where that is.
func throughAmbassador(port int, kind, name string) string {
	return "---\n" + adapterDocument(port, fmt.Sprintf("{name: db, %s: {ambassador: {name: %s}}}", kind, name))
}

// TestPostgresStatusThroughAmbassador: the adapter sees the PostgreSQL of the
// environment that the proxy is in, with TLS and credentials that are the
// Ambassador's alone, and goes with it.
func TestPostgresStatusThroughAmbassador(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	d := startDatabases(t, postgresKind(), throughAmbassador(port, "postgres", "orders"))
	uri := "http://" + loopback(port) + "/metrics"
	shows := func(user, database string) []string {
		return []string{
			"pg_up 1", `adapter_source_up{source="db"} 1`, "pg_replication_is_replica 0",
			fmt.Sprintf(`pg_stat_activity_count{datname=%q,state="active",usename=%q} 1`, database, user),
		}
	}
	awaitPage(t, uri, shows(dbtest.MD5User, dbtest.DatabaseDev))
	filetest.Put(t, d.labels, labels("prod"))
	awaitPage(t, uri, shows(dbtest.TLSUser, dbtest.DatabaseProd), dbtest.MD5User)
	d.prod.Kill()
	awaitPage(t, uri, []string{"pg_up 0", `adapter_source_up{source="db"} 0`}, "pg_stat")
}

// TestMySQLStatusThroughAmbassador is the same with MariaDB.
func TestMySQLStatusThroughAmbassador(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	d := startDatabases(t, mariadbKind(), throughAmbassador(port, "mysql", "orders"))
	uri := "http://" + loopback(port) + "/metrics"
	if _, err := d.dev.TrySQL(dbtest.DatabaseDev, "set global max_connections = 111"); err != nil {
		t.Fatal(err)
	}
	up := []string{"mysql_up 1", `adapter_source_up{source="db"} 1`}
	awaitPage(t, uri, append(up, "mysql_global_variables_max_connections 111"))
	filetest.Put(t, d.labels, labels("prod"))
	awaitPage(t, uri, up, "mysql_global_variables_max_connections 111")
	d.prod.Kill()
	awaitPage(t, uri, []string{"mysql_up 0", `adapter_source_up{source="db"} 0`}, "mysql_global")
}

// TestRedisStatusThroughAmbassador is the same with Redis: of the shards of an
// environment INFO is the sum.
func TestRedisStatusThroughAmbassador(t *testing.T) {
	t.Parallel()
	const password = "the-ambassadors-alone"
	dev, first, second := redistest.Server(t, redistest.WithPassword(password)), redistest.Server(t), redistest.Server(t)
	port, ambassador := redistest.Port(t), redistest.Port(t)
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache}
spec:
  protocol: redis
  listen: {port: %d}
  environments:
    dev: {shards: [{primary: {address: %q}}], credentials: {passwordEnv: REDIS_PASSWORD}}
    prod: {shards: [{primary: {address: %q}}, {primary: {address: %q}}]}
%s`, ambassador, dev.Addr(), first.Addr(), second.Addr(), throughAmbassador(port, "redis", "cache")))
	labelsFile := filetest.Put(t, filepath.Join(t.TempDir(), "labels"), labels("dev"))
	p := launch(t, []string{"REDIS_PASSWORD=" + password}, "run", "-f", file, "--labels-file", labelsFile)
	p.awaitReady()
	for n, key := range []string{"a", "b", "c"} {
		for _, node := range []*redistest.Node{first, second}[:min(n+1, 2)] {
			node.Do("SET", key, "v")
		}
	}
	dev.Do("SET", "k", "v")
	uri := "http://" + loopback(port) + "/metrics"
	up := []string{"redis_up 1", `adapter_source_up{source="db"} 1`}
	page := awaitPage(t, uri, append(up, `redis_db_keys{db="db0"} 1`))
	if strings.Contains(page, password) {
		t.Error("the page has the password")
	}
	filetest.Put(t, labelsFile, labels("prod"))
	awaitPage(t, uri, append(up, `redis_db_keys{db="db0"} 5`))
	first.Kill()
	awaitPage(t, uri, []string{"redis_up 0", `adapter_source_up{source="db"} 0`}, "redis_db")
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
