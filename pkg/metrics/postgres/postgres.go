// Package postgres makes metrics of PostgreSQL's statistics views, under the names
// that postgres_exporter gives them. Its server may be an Ambassador's port.
package postgres

import (
	"context"
	"errors"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sqlstats"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/sqlprobe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Source is a server.
type Source struct {
	*sqlstats.Server

	env       metrics.Env
	questions []sqlstats.Question
}

// New makes a source. It does not connect.
func New(cfg *resource.PostgresSource, env metrics.Env) (*Source, error) {
	return &Source{Server: sqlstats.NewServer(&cfg.ServerSource, sqlprobe.Postgres, env), env: env, questions: questions()}, nil
}

const version = "SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num')"

// Gather implements metrics.Source: pg_up is 0 while the server is away.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	b := &families.Builder{Limit: s.env.MaxSeries}
	up := 0.0
	problems := s.Scrape(ctx, version, func(ctx context.Context, answer *sqlprobe.Rows) error {
		up = 1
		if len(answer.Rows) == 1 && len(answer.Rows[0]) == 2 {
			b.Gauge("pg_static", "Version string as reported by postgres", 1,
				"version", answer.Rows[0][0], "short_version", answer.Rows[0][1])
		}
		return s.Ask(ctx, b, s.questions)
	})
	b.Gauge("pg_up", "Whether the last scrape of metrics from PostgreSQL was able to connect to the server (1 for yes, 0 for no).", up)
	out, err := b.Done()
	return out, errors.Join(problems, s.Note(err))
}

// questions are asked at each scrape. All of them can be asked by a user who may
// log in; pg_monitor sees more.
func questions() []sqlstats.Question {
	return []sqlstats.Question{
		{
			SQL: "SELECT datid, datname, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, tup_fetched, tup_inserted, tup_updated, " +
				"tup_deleted, conflicts, temp_files, temp_bytes, deadlocks, blk_read_time, blk_write_time, pg_catalog.date_part('epoch', stats_reset) " +
				"FROM pg_catalog.pg_stat_database WHERE datname IS NOT NULL",
			Labels: []string{"datid", "datname"},
			Metrics: []sqlstats.Metric{
				{Name: "pg_stat_database_numbackends", Help: "Number of backends currently connected to this database."},
				count("xact_commit", "Number of transactions in this database that have been committed"),
				count("xact_rollback", "Number of transactions in this database that have been rolled back"),
				count("blks_read", "Number of disk blocks read in this database"),
				count("blks_hit", "Number of times disk blocks were found already in the buffer cache"),
				count("tup_returned", "Number of rows returned by queries in this database"),
				count("tup_fetched", "Number of rows fetched by queries in this database"),
				count("tup_inserted", "Number of rows inserted by queries in this database"),
				count("tup_updated", "Number of rows updated by queries in this database"),
				count("tup_deleted", "Number of rows deleted by queries in this database"),
				count("conflicts", "Number of queries canceled due to conflicts with recovery in this database"),
				count("temp_files", "Number of temporary files created by queries in this database"),
				count("temp_bytes", "Total amount of data written to temporary files by queries in this database"),
				count("deadlocks", "Number of deadlocks detected in this database"),
				count("blk_read_time", "Time spent reading data file blocks by backends in this database, in milliseconds"),
				count("blk_write_time", "Time spent writing data file blocks by backends in this database, in milliseconds"),
				{Name: "pg_stat_database_stats_reset", Help: "Time at which these statistics were last reset, in seconds since 1970"},
			},
		},
		{
			SQL: "SELECT datname, coalesce(state, ''), coalesce(usename, ''), pg_catalog.count(*), " +
				"coalesce(pg_catalog.max(pg_catalog.date_part('epoch', pg_catalog.now() - xact_start)), 0) " +
				"FROM pg_catalog.pg_stat_activity WHERE datname IS NOT NULL GROUP BY 1, 2, 3",
			Labels: []string{"datname", "state", "usename"},
			Metrics: []sqlstats.Metric{
				{Name: "pg_stat_activity_count", Help: "number of connections in this state"},
				{Name: "pg_stat_activity_max_tx_duration", Help: "max duration in seconds any active transaction has been running"},
			},
		},
		{
			SQL: "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN 0 " +
				"WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0 " +
				"ELSE greatest(0, pg_catalog.date_part('epoch', pg_catalog.now() - pg_catalog.pg_last_xact_replay_timestamp())) END, " +
				"pg_catalog.pg_is_in_recovery()",
			Metrics: []sqlstats.Metric{
				{Name: "pg_replication_lag_seconds", Help: "Replication lag behind master in seconds"},
				{Name: "pg_replication_is_replica", Help: "Indicates if the server is a replica"},
			},
		},
		{
			SQL: "SELECT application_name, coalesce(client_addr::text, ''), coalesce(state, ''), pg_catalog.pg_wal_lsn_diff(" +
				"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, replay_lsn) " +
				"FROM pg_catalog.pg_stat_replication",
			Labels:   []string{"application_name", "client_addr", "state"},
			Metrics:  []sqlstats.Metric{{Name: "pg_stat_replication_pg_wal_lsn_diff", Help: "Lag in bytes between master and slave"}},
			Optional: true,
		},
		{
			SQL: "SELECT pg_catalog.current_setting('max_connections'), pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())",
			Metrics: []sqlstats.Metric{
				{Name: "pg_settings_max_connections", Help: "Server Parameter: max_connections"},
				{Name: "pg_postmaster_start_time_seconds", Help: "Time at which postmaster started"},
			},
		},
	}
}

func count(column, help string) sqlstats.Metric {
	return sqlstats.Metric{Name: "pg_stat_database_" + column, Help: help, Counter: true}
}
