package e2e

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// throughAmbassador is an Adapter of a database behind the Ambassador of the same
// process, which has the credentials, and says where the database is.
func throughAmbassador(port int, kind string) string {
	return "---\n" + adapterDocument(port, fmt.Sprintf("{name: db, %s: {address: AMBASSADOR, auth: {username: anybody}}}", kind))
}

// TestPostgresStatusThroughAmbassador: the adapter sees the PostgreSQL of the
// environment that the proxy is in, with TLS and credentials that are the
// Ambassador's alone, and goes with it.
func TestPostgresStatusThroughAmbassador(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	d := startDatabases(t, throughAmbassador(port, "postgres"))
	uri := "http://" + loopback(port) + "/metrics"
	shows := func(user, database string) []string {
		return []string{
			"pg_up 1", `adapter_source_up{source="db"} 1`, "pg_replication_is_replica 0",
			fmt.Sprintf(`pg_stat_activity_count{datname=%q,state="active",usename=%q} 1`, database, user),
		}
	}
	awaitPage(t, uri, shows(dbtest.MD5User, dbtest.DatabaseDev))
	writeFile(t, d.labels, labels("prod"))
	awaitPage(t, uri, shows(dbtest.TLSUser, dbtest.DatabaseProd), dbtest.MD5User)
	d.prod.Kill()
	awaitPage(t, uri, []string{"pg_up 0", `adapter_source_up{source="db"} 0`}, "pg_stat")
}

// TestMySQLStatusThroughAmbassador is the same with MariaDB.
func TestMySQLStatusThroughAmbassador(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	d := startStock(t, throughAmbassador(port, "mysql"))
	uri := "http://" + loopback(port) + "/metrics"
	if _, err := d.dev.TrySQL(dbtest.DatabaseDev, "set global max_connections = 111"); err != nil {
		t.Fatal(err)
	}
	up := []string{"mysql_up 1", `adapter_source_up{source="db"} 1`}
	awaitPage(t, uri, append(up, "mysql_global_variables_max_connections 111"))
	writeFile(t, d.labels, labels("prod"))
	awaitPage(t, uri, up, "mysql_global_variables_max_connections 111")
	d.prod.Kill()
	awaitPage(t, uri, []string{"mysql_up 0", `adapter_source_up{source="db"} 0`}, "mysql_global")
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
