package http_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sizes of bodies: none, short, around buffers and chunks, and more than any buffer
// takes at once.
func anySize(r *rand.Rand) int {
	list := []int{0, 1, 13, 1 << 10, 4<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 100_001, 300 << 10}
	return list[r.IntN(len(list))]
}

// anyRequest writes a request, and gives its method.
func anyRequest(r *rand.Rand, b *bytes.Buffer) string {
	methods := []string{"GET", "HEAD", "POST", "PUT", "DELETE"}
	method := methods[r.IntN(len(methods))]
	kinds := []string{"length", "chunks", "echo", "unread", "flushed", "empty", "none", "unchanged", "interim"}
	fmt.Fprintf(b, "%s /%s/%d?a=b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-a: 2\r\n", method, kinds[r.IntN(len(kinds))], anySize(r))
	body := bytes.Repeat([]byte("body "), anySize(r)/5)
	switch {
	case method == "GET" || method == "HEAD":
		b.WriteString("\r\n")
	case r.IntN(2) == 0:
		fmt.Fprintf(b, "Content-Length: %d\r\n\r\n", len(body))
		b.Write(body)
	default:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for len(body) > 0 {
			n := min(1+r.IntN(20_000), len(body))
			fmt.Fprintf(b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		b.WriteString("0\r\n\r\n")
	}
	return method
}

// anyAnswer answers as the path says.
func anyAnswer(w http.ResponseWriter, r *http.Request) {
	kind, text, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n, _ := strconv.Atoi(text)
	w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header["X-A"], " ", r.ContentLength))
	if kind != "unread" && kind != "echo" {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Body", fmt.Sprint(len(body), " ", err))
	}
	answer := bytes.Repeat([]byte("answer "), n/7)
	switch kind {
	case "length":
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	case "echo":
		_ = http.NewResponseController(w).EnableFullDuplex() // net/http has it
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	case "flushed":
		for len(answer) > 0 {
			n := min(10_000, len(answer))
			_, _ = w.Write(answer[:n])
			_ = http.NewResponseController(w).Flush()
			answer = answer[n:]
		}
	case "none":
		w.WriteHeader(http.StatusNoContent)
	case "unchanged":
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	case "interim":
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = w.Write(answer)
	case "empty":
	default:
		_, _ = w.Write(answer)
	}
}

// TestEnginesAgree sends what two engines must answer the same: requests of all
// kinds on one connection, cut anywhere, some of them at once.
func TestEnginesAgree(t *testing.T) {
	t.Parallel()
	fronts := map[engine]*host{}
	for _, e := range []engine{loops, goroutines} {
		fronts[e] = e.before(t, anyAnswer)
	}
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var all [2][]string
			for i, e := range []engine{loops, goroutines} {
				all[i] = converse(t, fronts[e], rand.New(rand.NewPCG(seed, 1)))
			}
			if diff := cmp.Diff(all[1], all[0]); diff != "" {
				t.Errorf("answers (-goroutines +loops):\n%s", diff)
			}
		})
	}
}

// converse sends some requests, and tells of their answers.
func converse(t *testing.T, h *host, r *rand.Rand) []string {
	t.Helper()
	var out bytes.Buffer
	var methods []string
	for range 1 + r.IntN(8) {
		methods = append(methods, anyRequest(r, &out))
	}
	c := h.dial()
	go func() { // an early end is seen by who reads
		for b := out.Bytes(); len(b) > 0; {
			n := min(1+r.IntN(50_000), len(b))
			if r.IntN(3) == 0 {
				n = min(1+r.IntN(40), len(b))
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}()
	var got []string
	in := bufio.NewReader(c)
	for _, method := range methods {
		for {
			resp, err := http.ReadResponse(in, &http.Request{Method: method})
			if err != nil {
				return append(got, "the end")
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Errorf("a body has ended with %v", err)
			}
			h := resp.Header
			length := resp.ContentLength
			if !strings.Contains(h.Get("X-Seen"), "/length/") {
				length = 0 // whether a short body has chunks depends on when they come
			}
			got = append(got, fmt.Sprint(resp.StatusCode, " ", len(body), " ", length, " ", resp.Close, " ",
				h["X-Seen"], h["X-Body"], h["Link"], h["Etag"], h["Server"]))
			if resp.StatusCode >= 200 {
				break
			}
		}
	}
	return got
}
