package pgproto_test

import (
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// BenchmarkRows is the cost of following a result: a thousand rows of 100 bytes, passed by.
func BenchmarkRows(b *testing.B) {
	const rows = 1000
	stop, lim := pgproto.ServerTypes(), pgproto.DefaultLimits()
	stream := pgproto.AppendMessage(nil, pgproto.TypeRowDescription, make([]byte, 30))
	for range rows {
		stream = pgproto.AppendMessage(stream, pgproto.TypeDataRow, make([]byte, 100))
	}
	stream = pgproto.AppendMessage(stream, pgproto.TypeCommandComplete, []byte("SELECT 1000\x00"))
	stream = pgproto.AppendReadyForQuery(stream, pgproto.TxIdle)
	var tr pgproto.Tracker
	var f pgproto.Framer
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		tr.Client(pgproto.TypeQuery)
		follow(b, &tr, &f, stream, &stop, &lim)
	}
	if !tr.Idle() {
		b.Fatal("not idle")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

// BenchmarkSelect is the cost of following one prepared select of one row, in both directions.
func BenchmarkSelect(b *testing.B) {
	clientStop, serverStop, lim := pgproto.ClientTypes(), pgproto.ServerTypes(), pgproto.DefaultLimits()
	ask := extended("select 1", 'S')
	answer := bare('1', '2')
	answer = pgproto.AppendMessage(answer, pgproto.TypeDataRow, make([]byte, 20))
	answer = pgproto.AppendMessage(answer, pgproto.TypeCommandComplete, []byte("SELECT 1\x00"))
	answer = pgproto.AppendReadyForQuery(answer, pgproto.TxIdle)
	var tr pgproto.Tracker
	var out, in pgproto.Framer
	b.ReportAllocs()
	for b.Loop() {
		for rest := ask; len(rest) > 0; {
			n, step, err := out.Next(rest, &clientStop, &lim)
			if err != nil {
				b.Fatal(err)
			}
			if rest = rest[n:]; step == pgproto.StepHead {
				tr.Client(out.Head().Type)
			}
		}
		follow(b, &tr, &in, answer, &serverStop, &lim)
	}
	if !tr.Idle() {
		b.Fatal("not idle")
	}
}

// follow tells a Tracker what a server sends.
func follow(b *testing.B, tr *pgproto.Tracker, f *pgproto.Framer, stream []byte, stop *pgproto.TypeSet, lim *pgproto.Limits) {
	for len(stream) > 0 {
		n, step, err := f.Next(stream, stop, lim)
		if err != nil {
			b.Fatal(err)
		}
		stream = stream[n:]
		switch {
		case step == pgproto.StepHead && f.Head().Type == pgproto.TypeReadyForQuery:
			f.Gather(1)
		case step == pgproto.StepHead:
			tr.Server(f.Head().Type, 0)
		case step == pgproto.StepPayload:
			tr.Server(f.Head().Type, f.Payload()[0])
		}
	}
}

// BenchmarkDeriveSCRAM is what a login costs the client, unless it has kept the keys.
func BenchmarkDeriveSCRAM(b *testing.B) {
	for b.Loop() {
		if _, err := pgproto.DeriveSCRAM("a password", []byte("0123456789abcdef"), 4096); err != nil {
			b.Fatal(err)
		}
	}
}
