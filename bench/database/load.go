package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// sample is what one run of one contender showed. A unit is a transaction, or a
// MiB of COPY.
type sample struct {
	Throughput float64 `json:"throughput"` // units/s
	P50        float64 `json:"p50"`        // ms; 0: not measured
	P99        float64 `json:"p99"`        // ms; 0: not measured
	CPU        float64 `json:"cpu"`        // us of the proxy per unit

	units float64
}

// errLoad says that a load generator did not measure what it should.
var errLoad = errors.New("load generator")

const mib = 1 << 20

// measure puts a load through a contender.
func measure(ctx context.Context, tb *testbed, c *contender, s shape, o *options) (sample, error) {
	before, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	var got sample
	switch {
	case s.isCopy():
		got, err = copyRows(ctx, c, s, o.copyBytes)
	case s.server == mariadb:
		got, err = sysbench(ctx, c, s, o.runTime)
	default:
		got, err = pgbench(ctx, tb, c, s, o.runTime)
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s: %w", c.name, s, err)
	}
	after, err := c.cpu()
	if err != nil {
		return sample{}, err
	}
	got.CPU = float64((after - before).Nanoseconds()) / 1e3 / got.units
	return got, nil
}

// cpu is the CPU time that the contender has used; 0 without a process.
func (c *contender) cpu() (time.Duration, error) {
	if c.proc == nil {
		return 0, nil
	}
	return gauge.CPUTime(c.proc.PID())
}

// pgbench takes the time of each transaction from pgbench's log: it says no
// percentiles itself.
func pgbench(ctx context.Context, tb *testbed, c *contender, s shape, d time.Duration) (sample, error) {
	logs, err := os.MkdirTemp(tb.dir, "pgbench")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(logs)
	cmd := exec.CommandContext(ctx, tb.postgres.Program("pgbench"), pgbenchArgs(c.port, s, d)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+dbtest.Password)
	cmd.Dir = logs
	out, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("%w: pgbench: %w: %s", errLoad, err, out)
	}
	got, err := parsePgbench(string(out))
	if err != nil || s.kind == connects { // whose times in the log leave the connecting out
		return got, err
	}
	times, err := readTimes(logs)
	if err != nil {
		return sample{}, err
	}
	got.P50, got.P99 = percentile(times, .5), percentile(times, .99)
	return got, nil
}

func pgbenchArgs(port int, s shape, d time.Duration) []string {
	args := []string{
		"-n", "-S", "-M", s.mode, "-c", strconv.Itoa(s.clients), "-j", strconv.Itoa(min(s.clients, 2)),
		"-T", strconv.Itoa(max(1, int(math.Round(d.Seconds())))), "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", dbtest.SCRAMUser,
	}
	if s.kind == connects {
		return append(args, "-C", dbtest.Database)
	}
	return append(args, "-l", dbtest.Database)
}

// parsePgbench reads pgbench's report.
func parsePgbench(text string) (sample, error) {
	n, err := number(text, `number of transactions actually processed: (\d+)`)
	if err != nil {
		return sample{}, err
	}
	tps, err := number(text, `tps = ([\d.]+)`)
	if err != nil {
		return sample{}, err
	}
	if failed, err := number(text, `number of failed transactions: (\d+)`); err == nil && failed > 0 {
		return sample{}, fmt.Errorf("%w: %v transactions failed", errLoad, failed)
	}
	return sample{Throughput: tps, units: n}, nil
}

// number finds a number in a report.
func number(text, pattern string) (float64, error) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%w: nothing like %q in its report: %s", errLoad, pattern, text)
	}
	return strconv.ParseFloat(m[1], 64)
}

// readTimes reads the third column of pgbench's logs, in ms.
func readTimes(dir string) ([]float64, error) {
	files, err := filepath.Glob(filepath.Join(dir, "pgbench_log.*"))
	if err != nil {
		return nil, err
	}
	var times []float64
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 3 {
				continue // the last line may be cut
			}
			if us, err := strconv.ParseFloat(fields[2], 64); err == nil {
				times = append(times, us/1e3)
			}
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("%w: pgbench has logged nothing", errLoad)
	}
	slices.Sort(times)
	return times, nil
}

// percentile of sorted values.
func percentile(sorted []float64, p float64) float64 {
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

func sysbenchArgs(port int) []string {
	return []string{
		"oltp_point_select", "--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-port=" + strconv.Itoa(port), "--mysql-user=" + dbtest.NativeUser,
		"--mysql-password=" + dbtest.Password, "--mysql-db=" + dbtest.Database, "--tables=1", "--table-size=100000", "--percentile=99",
	}
}

func sysbench(ctx context.Context, c *contender, s shape, d time.Duration) (sample, error) {
	args := append(sysbenchArgs(c.port), "--threads="+strconv.Itoa(s.clients), "--time="+strconv.Itoa(max(1, int(math.Round(d.Seconds())))), "run")
	out, err := exec.CommandContext(ctx, "sysbench", args...).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("%w: sysbench: %w: %s", errLoad, err, out)
	}
	return parseSysbench(string(out))
}

// parseSysbench reads sysbench's report.
func parseSysbench(text string) (sample, error) {
	var got sample
	for pattern, to := range map[string]*float64{
		`transactions: +(\d+)`: &got.units, `transactions: .*\(([\d.]+) per sec`: &got.Throughput,
		`avg: +([\d.]+)`: &got.P50, `99th percentile: +([\d.]+)`: &got.P99,
	} {
		var err error
		if *to, err = number(text, pattern); err != nil {
			return sample{}, err
		}
	}
	return got, nil
}

// rowLen is the length of a row of COPY with its line feed, bytes.
const rowLen = 1000

// copyRows moves so many bytes out of the database or into it. What goes in is
// not kept: a disk is not what is to be measured.
func copyRows(ctx context.Context, c *contender, s shape, size int64) (sample, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return sample{}, err
	}
	defer conn.Close(ctx)
	rows := size / rowLen
	began := time.Now()
	if s.kind == copyIn {
		in := &repeated{row: []byte(strings.Repeat("x", rowLen-1) + "\n"), left: rows * rowLen}
		_, err = conn.CopyFrom(ctx, in, "copy sink from stdin where false")
	} else {
		out := &counted{}
		_, err = conn.CopyTo(ctx, out, fmt.Sprintf("copy (select repeat('x', %d) from generate_series(1, %d)) to stdout", rowLen-1, rows))
		if err == nil && out.n != rows*rowLen {
			err = fmt.Errorf("%w: COPY brought %d bytes, want %d", errLoad, out.n, rows*rowLen)
		}
	}
	units := float64(rows*rowLen) / mib
	return sample{Throughput: units / time.Since(began).Seconds(), units: units}, err
}

// connect opens a session through the contender.
func (c *contender) connect(ctx context.Context) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable", c.port, dbtest.SCRAMUser, dbtest.Database))
	if err != nil {
		return nil, err
	}
	cfg.Password = dbtest.Password
	return pgconn.ConnectConfig(ctx, cfg)
}

// repeated is a reader of the same row again and again.
type repeated struct {
	row  []byte
	at   int
	left int64
}

// Read implements io.Reader.
func (r *repeated) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) && r.left > 0 {
		k := copy(b[n:min(int64(len(b)), int64(n)+r.left)], r.row[r.at:])
		n, r.at, r.left = n+k, (r.at+k)%len(r.row), r.left-int64(k)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// counted counts what is written to it.
type counted struct{ n int64 }

// Write implements io.Writer.
func (c *counted) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}
