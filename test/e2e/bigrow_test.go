package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// hugeValue is as much as PostgreSQL can send or take as one value: the message with it has to be less than 1 GiB.
const hugeValue = 1<<30 - 1<<10

// TestPostgresHugeRow sends a value of 1 GB in each direction. The client begins to read late: neither it nor the proxy ever has the row as
// a whole.
func TestPostgresHugeRow(t *testing.T) {
	t.Parallel()
	d := startDatabases(t, postgresKind(), "")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	conn, err := pgconn.Connect(ctx, d.address())
	if err != nil {
		t.Fatal(err)
	}
	h, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Conn.Close()
	_ = h.Conn.SetDeadline(time.Now().Add(8 * time.Minute))
	before := d.memory("VmRSS")

	if _, err := h.Conn.Write(pgproto.AppendQuery(nil, fmt.Sprintf("select repeat(repeat('x', 1024), %d)", hugeValue/1024))); err != nil {
		t.Fatal(err)
	}
	// A server on a busy machine makes the value for a minute before it sends the first byte.
	redistest.Eventually(t, 3*time.Minute, "the proxy to be filled while nobody reads", func() error {
		if n := d.counter("dragoman_postgres_downstream_sent_bytes_total"); n < 1<<20 {
			return fmt.Errorf("%v bytes have come from the server", n)
		}
		return nil
	})
	in := bufio.NewReaderSize(h.Conn, 64<<10)
	if err := readHuge(in); err != nil {
		t.Errorf("the row: %v", err)
	}
	if err := writeHuge(h.Conn); err != nil {
		t.Errorf("the parameter: %v", err)
	}
	row, err := message(in, pgproto.TypeDataRow)
	if err != nil || string(row[6:]) != strconv.Itoa(hugeValue) {
		t.Errorf("the server has got %q bytes, %v", row, err)
	}
	// The race detector takes several bytes for each of the program's.
	const most = 128 << 20
	grown := d.memory("VmHWM") - before
	t.Logf("at most %d KiB more than before were resident", grown>>10)
	if grown > most {
		t.Errorf("at most %d bytes more than before were resident, want at most %d", grown, most)
	}
}

// message skips what comes before a message of a type, and returns its payload.
func message(in *bufio.Reader, typ byte) ([]byte, error) {
	for {
		got, size, err := head(in)
		if err != nil {
			return nil, err
		}
		if size > 1<<10 {
			return nil, fmt.Errorf("message %q of %d bytes", got, size)
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return nil, err
		}
		switch got {
		case typ:
			return payload, nil
		case pgproto.TypeErrorResponse:
			return nil, fmt.Errorf("the server says %q", payload)
		}
	}
}

// head reads the head of a message.
func head(in *bufio.Reader) (typ byte, size int, err error) {
	var b [5]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return 0, 0, err
	}
	return b[0], int(binary.BigEndian.Uint32(b[1:])) - 4, nil
}

// readHuge reads a row with nothing but one value, all of it "x".
func readHuge(in *bufio.Reader) error {
	if _, err := message(in, pgproto.TypeRowDescription); err != nil {
		return err
	}
	typ, size, err := head(in)
	if err != nil || typ != pgproto.TypeDataRow || size != hugeValue+6 {
		return fmt.Errorf("message %q of %d bytes, %w", typ, size, err)
	}
	if _, err := in.Discard(6); err != nil {
		return err
	}
	want, got := bytes.Repeat([]byte("x"), 1<<20), make([]byte, 1<<20)
	for left := hugeValue; left > 0; {
		n := min(left, len(got))
		if _, err := io.ReadFull(in, got[:n]); err != nil {
			return fmt.Errorf("%d bytes before its end: %w", left, err)
		}
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("%d bytes before its end it is another", left)
		}
		left -= n
	}
	_, err = message(in, pgproto.TypeReadyForQuery)
	return err
}

// writeHuge asks how long a parameter is.
func writeHuge(conn net.Conn) error {
	out := pgproto.AppendMessage(nil, pgproto.TypeParse, []byte("\x00select octet_length($1::bytea)\x00\x00\x00"))
	out = append(out, pgproto.TypeBind)
	bind := append([]byte{0, 0}, 0, 1, 0, 1, 0, 1) // no names; one format, which is binary; one parameter
	bind = binary.BigEndian.AppendUint32(bind, hugeValue)
	out = binary.BigEndian.AppendUint32(out, uint32(4+len(bind)+hugeValue+2))
	if _, err := conn.Write(append(out, bind...)); err != nil {
		return err
	}
	piece := make([]byte, 1<<20)
	for left := hugeValue; left > 0; left -= len(piece) {
		piece = piece[:min(left, len(piece))]
		if _, err := conn.Write(piece); err != nil {
			return fmt.Errorf("%d bytes before its end: %w", left, err)
		}
	}
	out = pgproto.AppendMessage([]byte{0, 0}, pgproto.TypeExecute, []byte{0, 0, 0, 0, 0}) // all results as texts
	out = pgproto.AppendMessage(out, pgproto.TypeSync, nil)
	_, err := conn.Write(out)
	return err
}
