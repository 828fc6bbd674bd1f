package try

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// errNoHead is the error of a file without the head of a message.
var errNoHead = errors.New("is no message of HTTP: it begins with a line as in GET /orders HTTP/1.1, or HTTP/1.1 200 OK")

// split takes a raw message apart. Lines of its head may end in LF alone, and what
// follows the empty line is the body; without a Content-Length, less a line feed
// at the end, which editors add.
func split(data []byte) (head []string, body []byte, err error) {
	text := string(data)
	for {
		line, rest, more := strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" || !more {
			if line != "" {
				head = append(head, line)
			}
			body = []byte(rest)
			break
		}
		head = append(head, line)
		text = rest
	}
	if len(head) == 0 {
		return nil, nil, errNoHead
	}
	said := false
	for _, line := range head[1:] {
		name, _, _ := strings.Cut(line, ":")
		said = said || strings.EqualFold(strings.TrimSpace(name), "Content-Length")
	}
	if !said {
		body = bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))
	}
	return head, body, nil
}

// withLength is a message whose Content-Length is that of its body.
func withLength(head []string, body []byte, always bool) io.Reader {
	lines := slices.DeleteFunc(slices.Clone(head), func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		return strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")
	})
	if len(body) > 0 || always {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	return io.MultiReader(strings.NewReader(strings.Join(lines, "\r\n")+"\r\n\r\n"), bytes.NewReader(body))
}

// parseRequest reads a raw request.
func parseRequest(data []byte) (*http.Request, error) {
	head, body, err := split(data)
	if err != nil {
		return nil, err
	}
	if fields := strings.Fields(head[0]); len(fields) == 2 {
		head[0] += " HTTP/1.1"
	}
	r, err := http.ReadRequest(bufio.NewReader(withLength(head, body, false)))
	if err != nil {
		return nil, fmt.Errorf(`reading the request: %w (it begins with a line such as "POST /v2/orders"; headers, an empty line and the body follow)`, err)
	}
	if r.Host == "" {
		r.Host = "localhost"
	}
	if len(body) > 0 {
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return r, nil
}

// parseResponse reads a raw response to a request of that method.
func parseResponse(data []byte, method string) (*http.Response, error) {
	head, body, err := split(data)
	if err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(withLength(head, body, true)), &http.Request{Method: method})
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	return resp, nil
}

// maxShown is how much of a body is shown.
const maxShown = 16 << 10

// show writes a text, each line of it behind a margin.
func show(w io.Writer, margin, text string) {
	if text == "" {
		return
	}
	more := ""
	if len(text) > maxShown {
		more = fmt.Sprintf("... and %d bytes more", len(text)-maxShown)
		text = text[:maxShown]
	}
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "%s%s\n", margin, printable(strings.TrimRight(line, "\r\n")))
	}
	if more != "" {
		fmt.Fprintf(w, "%s%s\n", margin, more)
	}
}

// printable shows what a terminal should not get as an escape.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == 0xfffd }) {
		return s
	}
	q := strconv.QuoteToGraphic(s)
	return q[1 : len(q)-1]
}

// headers writes them, sorted.
func headers(w io.Writer, margin string, h http.Header) {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range h[name] {
			fmt.Fprintf(w, "%s%s: %s\n", margin, name, printable(v))
		}
	}
}
