package postgres

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// twoEnvironments starts a filter that leads to dev, and makes prod.
func twoEnvironments(t *testing.T) (f *fixture, dev, prod *dbtest.Postgres, next *resource.PostgresFilter) {
	t.Helper()
	dev, prod = dbtest.StartPostgres(t), dbtest.StartPostgres(t)
	f = start(t, config())
	filtertest.TwoEnvironments(f.world, &dev.Server, &prod.Server)
	next = config()
	next.Cluster = "prod"
	return f, dev, prod, next
}

// TestDrainCopy: COPY is one transaction, and comes to its end.
func TestDrainCopy(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	conn := f.connect()
	more, written := make(chan struct{}), 0
	source := pgx.CopyFromFunc(func() ([]any, error) {
		if written == 5000 {
			<-more
		}
		written++
		if written > 20_000 {
			return nil, nil
		}
		return []any{int32(1), int32(written), int32(1)}, nil
	})
	ended := make(chan error, 1)
	go func() {
		_, err := conn.CopyFrom(context.Background(), pgx.Identifier{"log"}, []string{"worker", "n", "part"}, source)
		ended <- err
	}()
	eventually(t, "COPY to run", func() bool {
		return dev.SQL("select count(*) from pg_stat_activity where query like 'copy%stdin%'") == "1"
	})
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	close(more)
	if err := <-ended; err != nil {
		t.Errorf("COPY: %v", err)
	}
	<-done
	if got := dev.SQL("select count(*) from log"); got != "20000" {
		t.Errorf("dev has %s rows", got)
	}
}

// TestDrainOfAlwaysAhead: a client that writes without waiting for answers is
// answered up to some query, and then told 57P01; until it has read that, it can
// write.
func TestDrainOfAlwaysAhead(t *testing.T) {
	t.Parallel()
	f, _, _, next := twoEnvironments(t)
	c := f.dial()
	if _, err := c.Write(hello(t)); err != nil {
		t.Fatal(err)
	}
	var answered atomic.Int64
	end, last := make(chan struct{}), ""
	go func() {
		defer close(end)
		in := bufio.NewReader(c)
		var head [5]byte
		for {
			if _, err := io.ReadFull(in, head[:]); err != nil {
				return
			}
			payload := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
			if _, err := io.ReadFull(in, payload); err != nil {
				return
			}
			last = string(head[:1]) + string(payload)
			if head[0] == pgproto.TypeReadyForQuery {
				answered.Add(1)
			}
		}
	}()
	query := pgproto.AppendQuery(nil, "select 1")
	writing := make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				writing <- nil
				return
			default:
			}
			if _, err := c.Write(query); err != nil {
				writing <- err
				return
			}
		}
	}()
	eventually(t, "queries to be answered", func() bool { return answered.Load() > 100 })
	<-f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	<-end
	if !strings.HasPrefix(last, "E") || !strings.Contains(last, "C57P01") {
		t.Errorf("the last message is %q", last)
	}
	if err := <-writing; err != nil {
		t.Errorf("writing before that was read: %v", err)
	}
}
