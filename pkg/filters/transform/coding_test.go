package transform_test

import (
	"bytes"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// codingAPI moves a to b, and makes records of CSV.
const codingAPI = `
    limits: {bodyBytes: 1Ki}
    routes:
    - match: {method: POST, path: /}
      request: {body: {from: json, to: json, map: {move: {a: b}}}}
    - match: {method: GET, path: /}
      response: {body: {from: json, to: json, map: {move: {a: b}}}}
    - match: {method: POST, path: /csv}
      request: {body: {from: csv, to: ndjson, map: {coerce: {n: number}}}}
`

// coded is a text in a coding, as a client's library makes it.
func coded(t testing.TB, coding, text string) string {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		return zipped(t, text)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		e, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = e
	default:
		return text
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// plain undoes the coding of an answer.
func plain(t testing.TB, coding, text string) string {
	t.Helper()
	var r io.Reader
	switch in := strings.NewReader(text); coding {
	case "gzip":
		return unzipped(t, text)
	case "br":
		r = brotli.NewReader(in)
	case "zstd":
		d, err := zstd.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		r = d
	default:
		r = in
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRequestCodings reads requests in every coding, and refuses what is broken or
// would grow too large.
func TestRequestCodings(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		replies(200, r.Header.Get("Content-Encoding")+string(b), "Content-Type", "text/plain")(w, r)
	}
	wide := func(bits int) string { // a frame that needs a window of so many bits
		var out bytes.Buffer
		e, err := zstd.NewWriter(&out, zstd.WithWindowSize(1<<bits), zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // flushed, so that the frame does not say how long it is
			if _, err := io.WriteString(e, `{"a":1} `[:7]); err != nil {
				t.Fatal(err)
			}
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			t.Parallel()
			h := serve(t, codingAPI, echo)
			ask := func(body, path, contentType string) string {
				t.Helper()
				return h.ask("POST", path, body, "Content-Encoding", coding, "Content-Type", contentType).String()
			}
			const json = "application/json"
			good := coded(t, coding, `{"a":1}`)
			bomb := coded(t, coding, strings.Repeat(" ", 4<<20))
			cases := []struct{ name, got, want string }{
				{"whole", ask(good, "/", json), "200 text/plain\n" + `{"b":1}`},
				{"records", ask(coded(t, coding, "n,s\n1,a\n"), "/csv", "text/csv"), "200 text/plain\n" + `{"n":1,"s":"a"}` + "\n"},
				{"a bomb", ask(bomb, "/", json), problemOf(413, "Request Entity Too Large", "the body has more than 1024 bytes")},
				{"cut short", ask(good[:len(good)-3], "/", json), problemOf(400, "Bad Request", "the body is cut short")},
				{"not it", ask(strings.Repeat("\xff", 32), "/", json), problemOf(400, "Bad Request", coding+": it cannot be decoded")},
			}
			if coding == "zstd" {
				cases = append(cases, struct{ name, got, want string }{
					"a window too large", ask(wide(24), "/", json), problemOf(413, "Request Entity Too Large", "zstd: its window is larger than 8 MiB"),
				})
			}
			for _, tt := range cases {
				if tt.got != tt.want {
					t.Errorf("%s: %s\nwant %s", tt.name, tt.got, tt.want)
				}
			}
		})
	}
}

// TestWindowsAreGivenBack decodes more windows, one after the other, than may be
// there at once.
func TestWindowsAreGivenBack(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := brotli.NewWriterOptions(&out, brotli.WriterOptions{Quality: 1, LGWin: 24})
	if _, err := io.WriteString(w, `{"a":1}`); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h := serve(t, codingAPI, replies(200, "well", "Content-Type", "text/plain"))
	for range 40 { // 16 MiB each, of 256 MiB
		if got := h.ask("POST", "/", out.String(), "Content-Encoding", "br", "Content-Type", "application/json").String(); got != "200 text/plain\nwell" {
			t.Fatal(got)
		}
	}
}

// TestResponseCodings has the app asked for the codings that the client takes, and
// answers in the app's, if the client takes that.
func TestResponseCodings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ accept, asked, app, want string }{
		{"gzip, deflate, br, zstd", "zstd, br, gzip", "br", "br"},
		{"gzip, deflate, br, zstd", "zstd, br, gzip", "zstd", "zstd"},
		{"gzip, deflate, br, zstd", "zstd, br, gzip", "deflate", "gzip"},
		{"gzip, deflate, br, zstd", "zstd, br, gzip", "", ""},
		{"gzip", "gzip", "br", "gzip"},
		{"br;q=0, *", "zstd, gzip", "br", "gzip"},
		{"zstd;q=0.1", "zstd", "gzip", ""},
		{"identity", "identity", "zstd", ""},
		{"compress", "identity", "br", ""},
	} {
		h := serve(t, codingAPI, func(w http.ResponseWriter, r *http.Request) {
			header := []string{"Content-Type", "application/json"}
			if tt.app != "" {
				header = append(header, "Content-Encoding", tt.app)
			}
			replies(200, coded(t, tt.app, `{"a":"`+r.Header.Get("Accept-Encoding")+`"}`), header...)(w, r)
		})
		got := h.ask("GET", "/", "", "Accept-Encoding", tt.accept)
		coding := got.head.Get("Content-Encoding")
		if body := plain(t, coding, got.body); coding != tt.want || body != `{"b":"`+tt.asked+`"}` {
			t.Errorf("%q of an app in %q: %q, %s, want %q and that it was asked for %q", tt.accept, tt.app, coding, body, tt.want, tt.asked)
		}
	}
}
