// Package mysql makes metrics of the status of MySQL and MariaDB, under the names
// that mysqld_exporter gives them. Its server may be an Ambassador's port.
package mysql

import (
	"context"
	"errors"
	"strings"

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
func New(cfg *resource.MySQLSource, env metrics.Env) (*Source, error) {
	return &Source{Server: sqlstats.NewServer(&cfg.ServerSource, sqlprobe.MySQL, env), env: env, questions: questions()}, nil
}

const status = "SHOW GLOBAL STATUS"

// Gather implements metrics.Source: mysql_up is 0 while the server is away.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	b := &families.Builder{Limit: s.env.MaxSeries}
	up := 0.0
	problems := s.Scrape(ctx, status, func(ctx context.Context, answer *sqlprobe.Rows) error {
		up = 1
		for _, row := range answer.Rows {
			if len(row) == 2 {
				variable(b, row[0], row[1])
			}
		}
		return errors.Join(s.Ask(ctx, b, s.questions), s.version(ctx, b), s.replica(ctx, b))
	})
	b.Gauge("mysql_up", "Whether the MySQL server is up.", up)
	out, err := b.Done()
	return out, errors.Join(problems, s.Note(err))
}

func questions() []sqlstats.Question {
	return []sqlstats.Question{{
		SQL: "SELECT @@global.max_connections, @@global.read_only, @@global.innodb_buffer_pool_size",
		Metrics: []sqlstats.Metric{
			{Name: "mysql_global_variables_max_connections", Help: "Generic gauge metric from SHOW GLOBAL VARIABLES."},
			{Name: "mysql_global_variables_read_only", Help: "Generic gauge metric from SHOW GLOBAL VARIABLES."},
			{Name: "mysql_global_variables_innodb_buffer_pool_size", Help: "Generic gauge metric from SHOW GLOBAL VARIABLES."},
		},
	}}
}

func (s *Source) version(ctx context.Context, b *families.Builder) error {
	rows, err := s.Query(ctx, "SELECT @@global.version, @@global.version_comment")
	if err != nil {
		return err
	}
	if len(rows.Rows) == 1 && len(rows.Rows[0]) == 2 {
		b.Gauge("mysql_version_info", "MySQL version and distribution.", 1, "version", rows.Rows[0][0], "version_comment", rows.Rows[0][1])
	}
	return nil
}

// grouped are variables that are one metric with a label, as mysqld_exporter has
// them.
func grouped() []struct{ prefix, metric, label, help string } {
	return []struct{ prefix, metric, label, help string }{
		{"com_", "commands_total", "command", "Total number of executed MySQL commands."},
		{"handler_", "handlers_total", "handler", "Total number of executed MySQL handlers."},
		{"connection_errors_", "connection_errors_total", "error", "Total number of MySQL connection errors."},
		{"innodb_rows_", "innodb_row_ops_total", "operation", "Total number of MySQL InnoDB row operations."},
		{"performance_schema_", "performance_schema_lost_total", "instrumentation", "Total number of MySQL instrumentations that could not be loaded or created due to memory constraints."},
	}
}

// variable adds a line of SHOW GLOBAL STATUS. The server doesn't say which of them
// only grow, so most are untyped.
func variable(b *families.Builder, name, value string) {
	v, ok := sqlstats.Number(value)
	if !ok {
		return
	}
	name = families.Name(strings.ToLower(name))
	const prefix = "mysql_global_status_"
	for _, g := range grouped() {
		if rest, ok := strings.CutPrefix(name, g.prefix); ok && rest != "" {
			b.Counter(prefix+g.metric, g.help, v, g.label, rest)
			return
		}
	}
	if rest, ok := strings.CutPrefix(name, "innodb_buffer_pool_pages_"); ok {
		switch rest {
		case "data", "free", "misc", "old":
			b.Gauge(prefix+"buffer_pool_pages", "Innodb buffer pool pages by state.", v, "state", rest)
		case "dirty":
			b.Gauge(prefix+"buffer_pool_dirty_pages", "Innodb buffer pool dirty pages.", v)
		case "total":
			b.Gauge(prefix+"innodb_buffer_pool_pages_total", "Generic metric from SHOW GLOBAL STATUS.", v)
		default:
			b.Counter(prefix+"buffer_pool_page_changes_total", "Innodb buffer pool page state changes.", v, "operation", rest)
		}
		return
	}
	b.Family(prefix+name, "Generic metric from SHOW GLOBAL STATUS.", dto.MetricType_UNTYPED).Add(v, nil)
}

// replica adds the state of replication, of a server that is a replica and a user
// who may see it. MySQL 8.4 knows the second question alone, MariaDB before 10.5
// the first.
func (s *Source) replica(ctx context.Context, b *families.Builder) error {
	var answered *sqlprobe.AnswerError
	for _, sql := range []string{"SHOW SLAVE STATUS", "SHOW REPLICA STATUS"} {
		rows, err := s.Query(ctx, sql)
		if errors.As(err, &answered) {
			continue
		}
		if err != nil {
			return err
		}
		for i := range rows.Rows {
			link(b, func(names ...string) string {
				for _, name := range names {
					if v := rows.Get(i, name); v != "" {
						return v
					}
				}
				return ""
			})
		}
		return nil
	}
	if answered.Denied {
		return nil
	}
	s.Add("unreadable", 1)
	return answered
}

// link adds one connection to a primary; get finds a column by its old or its new
// name.
func link(b *families.Builder, get func(names ...string) string) {
	labels := []string{
		"channel_name", get("Channel_Name", "Connection_name"), "connection_name", get("Connection_name"),
		"master_host", get("Master_Host", "Source_Host"), "master_uuid", get("Master_UUID", "Source_UUID"),
	}
	for _, m := range []struct {
		metric  string
		columns []string
	}{
		{"seconds_behind_master", []string{"Seconds_Behind_Master", "Seconds_Behind_Source"}},
		{"slave_io_running", []string{"Slave_IO_Running", "Replica_IO_Running"}},
		{"slave_sql_running", []string{"Slave_SQL_Running", "Replica_SQL_Running"}},
		{"read_master_log_pos", []string{"Read_Master_Log_Pos", "Read_Source_Log_Pos"}},
		{"exec_master_log_pos", []string{"Exec_Master_Log_Pos", "Exec_Source_Log_Pos"}},
		{"relay_log_space", []string{"Relay_Log_Space"}},
		{"last_errno", []string{"Last_Errno"}},
		{"last_io_errno", []string{"Last_IO_Errno"}},
		{"last_sql_errno", []string{"Last_SQL_Errno"}},
	} {
		text := get(m.columns...)
		if strings.EqualFold(text, "Connecting") {
			text = "No"
		}
		if v, ok := sqlstats.Number(text); ok {
			b.Family("mysql_slave_status_"+m.metric, "Generic metric from SHOW SLAVE STATUS.", dto.MetricType_UNTYPED).Add(v, families.Labels(labels...))
		}
	}
}
