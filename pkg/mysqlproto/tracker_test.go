package mysqlproto_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// hear tells a Tracker what a server sends, in pieces of the given size, passing rows by if asked to. It returns how many responses ended,
// and the state after each.
func hear(tr *mysqlproto.Tracker, f *mysqlproto.Framer, b []byte, size int, passRows bool) (states []string, err error) {
	for len(b) > 0 {
		piece := b[:min(size, len(b))]
		b = b[len(piece):]
		for {
			n, step := f.Next(piece, passRows && tr.InRows())
			piece = piece[n:]
			var payload []byte
			switch step {
			case mysqlproto.StepMore:
			case mysqlproto.StepHead:
				if want := tr.Want(f.Head()); want > 0 {
					f.Gather(want)
					continue
				}
			case mysqlproto.StepPayload:
				payload = f.Payload()
			}
			if step == mysqlproto.StepMore {
				break
			}
			end, err := tr.Server(f.Head(), payload)
			if err != nil {
				return append(states, err.Error()), err
			}
			if end {
				states = append(states, state(tr))
			}
		}
	}
	return states, nil
}

// say tells a Tracker what a client sends.
func say(tr *mysqlproto.Tracker, f *mysqlproto.Framer, b []byte) {
	for len(b) > 0 {
		n, step := f.Next(b, false)
		if b = b[n:]; step == mysqlproto.StepHead {
			tr.Client(f.Head(), b)
		}
	}
}

// packets makes packets of payloads, which are divided by bars.
func packets(payloads string) (b []byte) {
	for i, payload := range strings.Split(payloads, "|") {
		b = mysqlproto.AppendPacket(b, byte(i+1), []byte(payload))
	}
	return b
}

// TestTrackerOfMySQL has what MariaDB does not say.
func TestTrackerOfMySQL(t *testing.T) {
	t.Parallel()
	const (
		ok     = "\x00\x00\x00\x02\x00\x00\x00"
		end    = "\xfe\x00\x00\x02\x00\x00\x00" // OK that ends rows
		eof    = "\xfe\x00\x00\x02\x00"
		column = "\x03def"
		one    = "\x01\x00\x00\x00"
		two    = "\x02\x00\x00\x00"
		cursor = "\x01\x01|" + column + "|\xfe\x00\x00\x42\x00\x00\x00"
		last   = "\xfe\x00\x00\x82\x00\x00\x00"
	)
	modern := mysqlproto.DeprecateEOF | mysqlproto.OptionalMetadata
	tests := []struct {
		name   string
		caps   mysqlproto.Capabilities
		client []byte
		server string
		want   string // states after each response
	}{
		{"columns left out of rows", modern, query("x"), "\x02\x00|\x01a\x01b|\x01a\x01b|" + end, "idle"},
		{"columns kept", modern, query("x"), "\x02\x01|" + column + "|" + column + "|\x01a\x01b|" + end, "idle"},
		{"columns left out of COM_STMT_PREPARE", modern, command(mysqlproto.ComStmtPrepare, "x"), "\x00\x01\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00\x00", "idle"},
		{"columns kept in COM_STMT_PREPARE", modern, command(mysqlproto.ComStmtPrepare, "x"), "\x00\x01\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x01|" + column + "|" + column, "idle"},
		{"a server that ends an idle session", modern, nil, "\xff\xbf\x0f#HY000The client was disconnected", "at command, unsure"},
		{"the log, and its end", 0, command(mysqlproto.ComBinlogDump, "x"), "\x00event|\x00event|" + eof, "idle"},
		{"the log, and an error", 0, command(mysqlproto.ComBinlogDump, "x"), "\x00event|\xff\xd4\x04#HY000no", "at command, unsure"},
		{"a copy of the server is never done", 0, command(mysqlproto.ComClone, "x"), "\x00a|\x01b", ""},
		{"a long row whose first byte is that of EOF", 0, query("x"), "\x01|" + column + "|" + eof + "|\xfe\x09\x00\x00\x00\x00\x00\x00\x00123456789|" + eof, "idle"},
		{
			"a cursor, to its last row", modern, join(command(mysqlproto.ComStmtExecute, "x"), command(mysqlproto.ComStmtFetch, "x"), command(mysqlproto.ComStmtFetch, "x")),
			"\x01\x01|" + column + "|\xfe\x00\x00\x42\x00\x00\x00|\x00\x00a|\xfe\x00\x00\x42\x00\x00\x00|\xfe\x00\x00\x82\x00\x00\x00", "outstanding; outstanding; idle",
		},
		{
			"a cursor that fails", 0, join(command(mysqlproto.ComStmtExecute, "x"), command(mysqlproto.ComStmtFetch, "x"), command(mysqlproto.ComPing, "")),
			"\x01|" + column + "|\xfe\x00\x00\x42\x00|\xff\xd4\x04#HY000no|" + ok, "outstanding; unsure, outstanding; idle",
		},
		{
			"a cursor that is given up", 0, join(command(mysqlproto.ComStmtExecute, "x"), command(mysqlproto.ComStmtReset, "x")),
			"\x01|" + column + "|\xfe\x00\x00\x42\x00|" + ok, "outstanding; idle",
		},
		{
			"two cursors, of which one comes to its end", modern, join(execute(one, 1, ""), execute(two, 1, ""), fetch(one, 9), fetch(two, 9)),
			cursor + "|" + cursor + "|" + last + "|" + last, "outstanding; outstanding; outstanding; idle",
		},
		{"two cursors, of which one is closed", modern, join(execute(one, 1, ""), execute(two, 1, ""), command(mysqlproto.ComStmtClose, one)), cursor + "|" + cursor, "outstanding; at command"},
		{"a cursor, closed before its rows are there", modern, join(execute(one, 1, ""), command(mysqlproto.ComStmtClose, one)), cursor, "idle"},
		{
			"a cursor, closed by all that ends one", modern,
			join(execute(one, 1, ""), execute(two, 1, ""), execute(one, 0, ""), command(mysqlproto.ComStmtReset, two)), cursor + "|" + cursor + "|" + ok + "|" + ok,
			"outstanding; outstanding; outstanding; idle",
		},
		{
			"a cursor of the statement that was prepared last", modern,
			join(command(mysqlproto.ComStmtPrepare, "x"), execute("\xff\xff\xff\xff", 1, ""), command(mysqlproto.ComStmtPrepare, "y"), fetch(one, 9)),
			"\x00" + one + "\x00\x00\x00\x00\x00\x00\x00\x01|" + cursor + "|\x00" + two + "\x00\x00\x00\x00\x00\x00\x00\x01|" + last, "outstanding; outstanding; outstanding; idle",
		},
		{"cursors, and the session as new", modern, join(execute(one, 1, ""), execute(two, 1, ""), command(mysqlproto.ComResetConnection, "")), cursor + "|" + cursor + "|" + ok, "outstanding; outstanding; idle"},
		{"a cursor with rows left", 0, command(mysqlproto.ComStmtExecute, "x"), "\x01|" + column + "|\xfe\x00\x00\x42\x00", "at command"},
		{"fast authentication of another user", 0, command(mysqlproto.ComChangeUser, "x"), "\xfecaching_sha2_password\x00abc|\x01\x03|" + ok, "idle"},
		{"another user is refused", 0, command(mysqlproto.ComChangeUser, "x"), "\xff\x15\x04#28000no", "at command, unsure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 2, 5, 1000} {
				for _, pass := range []bool{false, true} {
					tr := mysqlproto.NewTracker(tt.caps, mysqlproto.StatusAutocommit)
					var out, in mysqlproto.Framer
					say(tr, &out, tt.client)
					states, err := hear(tr, &in, packets(tt.server), size, pass)
					if got := strings.Join(states, "; "); got != tt.want || err != nil {
						t.Errorf("in pieces of %d, rows passed by: %v: %q, %v; want %q", size, pass, got, err, tt.want)
					}
				}
			}
		})
	}
}

func TestTrackerIsBusyWhenInDoubt(t *testing.T) {
	t.Parallel()
	const ok = "\x00\x00\x00\x02\x00\x00\x00"
	for name, tt := range map[string]struct{ client, server, after []byte }{
		"a command behind a wish for a file": {join(query("LOAD"), query("x")), packets("\xfbfile|" + ok + "|" + ok), mysqlproto.AppendPacket(nil, 2, nil)},
		"an empty command":                   {mysqlproto.AppendPacket(nil, 0, nil), nil, nil},
		"an upload without an end":           {query("LOAD"), packets("\xfbfile|" + ok), query("x")},
	} {
		tr := mysqlproto.NewTracker(0, mysqlproto.StatusAutocommit)
		var out, in mysqlproto.Framer
		say(tr, &out, tt.client)
		if _, err := hear(tr, &in, tt.server, 1000, true); err != nil {
			t.Fatal(err)
		}
		say(tr, &out, tt.after)
		if tr.Idle() {
			t.Errorf("%s: idle", name)
		}
	}
}

func TestTrackerRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		client []byte
		server string
	}{
		"an answer to nothing":                      {nil, "\x00\x00\x00\x02\x00\x00\x00"},
		"an empty response":                         {query("x"), ""},
		"a short OK":                                {query("x"), "\x00\x00"},
		"a short error":                             {query("x"), "\xff\x00"},
		"too many columns":                          {query("x"), "\xfd\xff\xff\xff"},
		"a count of columns that is cut":            {query("x"), "\xfc\x01"},
		"a count of columns that is none":           {query("x"), "\xfc\x00\x00"},
		"a short answer to COM_STMT_PREPARE":        {command(mysqlproto.ComStmtPrepare, "x"), "\x00\x01\x00\x00\x00\x01"},
		"another answer to COM_STMT_PREPARE":        {command(mysqlproto.ComStmtPrepare, "x"), "\x01\x01\x00\x00\x00\x01\x00\x00\x00"},
		"something else in place of columns' end":   {query("x"), "\x01|\x03def|\x03def"},
		"something else as the end of a simple one": {command(mysqlproto.ComPing, ""), "\x05"},
	} {
		tr := mysqlproto.NewTracker(0, mysqlproto.StatusAutocommit)
		var out, in mysqlproto.Framer
		say(tr, &out, tt.client)
		if states, err := hear(tr, &in, packets(tt.server), 1000, false); err == nil {
			t.Errorf("%s: taken: %q", name, states)
		}
	}
}

func TestPacketsAreSplit(t *testing.T) {
	t.Parallel()
	for size, want := range map[int][]int{
		0: {0}, 1: {1}, mysqlproto.MaxPayload - 1: {mysqlproto.MaxPayload - 1}, mysqlproto.MaxPayload: {mysqlproto.MaxPayload, 0}, mysqlproto.MaxPayload + 1: {mysqlproto.MaxPayload, 1},
	} {
		b := mysqlproto.AppendPacket(nil, 254, bytes.Repeat([]byte("x"), size))
		var f mysqlproto.Framer
		n, step := f.Next(b, false)
		if step != mysqlproto.StepHead || f.Head().Len != want[0] || f.Head().Seq != 254 {
			t.Fatalf("%d bytes: %v, %v", size, step, f.Head())
		}
		m, step := f.Next(b[n:], false)
		if n+m != len(b) || step != mysqlproto.StepMore || !f.AtBoundary() || f.LastSeq() != byte(254+len(want)-1) {
			t.Errorf("%d bytes: %d of %d, %v, boundary %v, sequence %d", size, n+m, len(b), step, f.AtBoundary(), f.LastSeq())
		}
	}
	if _, _, _, err := mysqlproto.ParsePacket([]byte{0xff, 0xff, 0xff, 0}, mysqlproto.MaxHandshake); err == nil {
		t.Error("a handshake of 16 MiB is taken")
	}
	if _, _, _, err := mysqlproto.ParsePacket([]byte{1, 0, 2, 0}, mysqlproto.MaxHandshake); err == nil {
		t.Error("a handshake beyond the limit is taken")
	}
}

func TestRowsNeedNoMemory(t *testing.T) { // not parallel: allocations are counted for the whole process
	tr := mysqlproto.NewTracker(mysqlproto.DeprecateEOF, mysqlproto.StatusAutocommit)
	var out, in mysqlproto.Framer
	ask, rows := query("x"), packets("\x01|\x03def|\x01a|\x01b|\x01c|\xfe\x00\x00\x02\x00\x00\x00")
	allocs := testing.AllocsPerRun(100, func() {
		say(tr, &out, ask)
		for b := rows; len(b) > 0; {
			n, step := in.Next(b, tr.InRows())
			b = b[n:]
			var payload []byte
			switch step {
			case mysqlproto.StepHead:
				if want := tr.Want(in.Head()); want > 0 {
					in.Gather(want)
					continue
				}
			case mysqlproto.StepPayload:
				payload = in.Payload()
			default:
				continue
			}
			if _, err := tr.Server(in.Head(), payload); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs > 0 || !tr.Idle() {
		t.Errorf("%v allocations for a query; %s", allocs, state(tr))
	}
}
