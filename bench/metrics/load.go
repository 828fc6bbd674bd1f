package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// get fetches a page.
func get(ctx context.Context, address, path string, headers map[string]string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return "", err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
	}
	return string(body), err
}

// plainText are the headers of a scraper that takes the text format, uncompressed.
func plainText() map[string]string { return map[string]string{"Accept-Encoding": "identity"} }

// asPrometheus are the headers of Prometheus 3.
func asPrometheus() map[string]string {
	return map[string]string{
		"Accept-Encoding": "gzip",
		"Accept":          "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
	}
}

// statsdLines are lines of so many series, as apps send them: counters, most of
// them with tags, gauges, and timers.
func statsdLines(series int) []string {
	out := make([]string, series)
	for i := range out {
		switch i % 10 {
		case 0, 1:
			out[i] = fmt.Sprintf("app.service%d.requests:1|c", i)
		case 2, 3, 4:
			out[i] = fmt.Sprintf("app.requests:1|c|#service:s%d,zone:eu-1,code:200", i)
		case 5:
			out[i] = fmt.Sprintf("app.sampled,service=s%d,zone=eu-1:3|c|@0.5", i)
		case 6, 7:
			out[i] = fmt.Sprintf("app.queue%d.length:%d|g", i, i)
		default:
			out[i] = fmt.Sprintf("app.latency:%d.5|ms|#service:s%d", i%97, i)
		}
	}
	return out
}

// pack makes datagrams of so many lines.
func pack(lines []string, count, each int) [][]byte {
	out := make([][]byte, 0, count/each)
	for i := 0; i < count; i += each {
		var b strings.Builder
		for k := i; k < i+each; k++ {
			if k > i {
				b.WriteByte('\n')
			}
			b.WriteString(lines[k%len(lines)])
		}
		out = append(out, []byte(b.String()))
	}
	return out
}

// stream sends what is packed in one connection.
func stream(s *statsdServer, packed [][]byte) error {
	const enough = 64 << 10
	var buf []byte
	for _, b := range packed {
		buf = append(append(buf, b...), '\n')
		if len(buf) >= enough {
			if _, err := s.tcp.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err := s.tcp.Write(buf)
	return err
}

// paced sends datagrams at pacedRate.
func paced(s *statsdServer, datagrams [][]byte) error {
	start := time.Now()
	for i, b := range datagrams {
		if err := put(s, b); err != nil {
			return err
		}
		const burst = 20
		if i%burst == 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / pacedRate)))
		}
	}
	return nil
}

// flood sends datagrams as fast as it can.
func flood(s *statsdServer, datagrams [][]byte) error {
	for _, b := range datagrams {
		if err := put(s, b); err != nil {
			return err
		}
	}
	return nil
}

func put(s *statsdServer, b []byte) error {
	_, err := s.udp.Write(b)
	if errors.Is(err, syscall.ECONNREFUSED) { // of the one before
		return nil
	}
	return err
}

// sameExposition sends the lines to all and compares what they show.
func sameExposition(ctx context.Context, servers []*statsdServer, lines []string) error {
	var shown []string
	for _, s := range servers {
		if err := stream(s, [][]byte{[]byte(strings.Join(append(lines, "last.line:1|c"), "\n"))}); err != nil {
			return err
		}
		err := s.process.Await(ctx, func(ctx context.Context) error {
			text, err := get(ctx, s.http, "/metrics", nil)
			if err != nil {
				return err
			}
			var own strings.Builder
			for line := range strings.Lines(text) {
				name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
				if strings.HasPrefix(name, "app_") {
					own.WriteString(line)
				}
			}
			if !strings.Contains(text, "\nlast_line 1") {
				return errors.New("the last line is not there yet")
			}
			shown = append(shown, own.String())
			return nil
		})
		if err != nil {
			return err
		}
	}
	if shown[0] != shown[1] {
		a, b := strings.Split(shown[0], "\n"), strings.Split(shown[1], "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				return fmt.Errorf("the expositions differ in line %d of %d and %d: %q and %q", i, len(a), len(b), a[i], b[i])
			}
		}
		return fmt.Errorf("the expositions have %d and %d lines", len(a), len(b))
	}
	return nil
}
