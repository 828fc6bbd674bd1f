// Command controlplane measures the xDS server against go-control-plane's caches:
// thousands of simulated proxies over TCP, the server in a process of its own.
// README.md says what is simulated and how the figures come about.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// settings are the command line.
type settings struct {
	child         string
	size          size
	quick         bool
	perConnection int
	secure        bool
	contenders    string
	output        string
}

func main() {
	var s settings
	flag.StringVar(&s.child, "child", "", "be the server's process of this contender (used by the program itself)")
	flag.IntVar(&s.size.Proxies, "proxies", 10_000, "simulated proxies")
	flag.IntVar(&s.size.Services, "services", 5_000, "services")
	flag.IntVar(&s.size.Endpoints, "endpoints", 10, "endpoints of a service")
	flag.IntVar(&s.size.Names, "names", 50, "services that a proxy follows")
	flag.BoolVar(&s.quick, "quick", false, "a tenth of the proxies, fewer rounds: for a first look")
	flag.IntVar(&s.perConnection, "streams-per-connection", 1, "proxies that share a TCP connection; a real proxy has its own")
	flag.BoolVar(&s.secure, "tls", false, "with TLS, as in a cluster")
	flag.StringVar(&s.contenders, "contenders", "dragoman,snapshot,linear", "which servers to measure")
	flag.StringVar(&s.output, "o", "", "write the report to this file, too")
	flag.Parse()
	if err := run(&s); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(s *settings) error {
	if s.child != "" {
		return runChild(s, os.Stdin, os.Stdout)
	}
	if s.quick {
		s.size.Proxies = max(s.size.Proxies/10, 1)
	}
	var text strings.Builder
	r := &report{out: io.MultiWriter(os.Stdout, &text), settings: s}
	if err := r.all(); err != nil {
		return err
	}
	if s.output == "" {
		return nil
	}
	return os.WriteFile(s.output, []byte(text.String()), 0o644)
}
