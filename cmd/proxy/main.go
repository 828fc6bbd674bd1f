// Command proxy is an ambassador on localhost: an app talks to one port, the
// proxy knows what is behind it.
package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	return command.Run(newRoot(), face(args), stdout, stderr)
}

// face makes the arguments of a tool that is replaced those of its command: a
// binary called as the tool, flags that only the tool has, or no arguments at all
// where the variable of twemproxy's well-known image is set.
func face(args []string) []string {
	switch filepath.Base(args[0]) {
	case "nutcracker":
		return append([]string{"twemproxy"}, args[1:]...)
	case "nginx-prometheus-exporter", "prometheus-nginx-exporter":
		return append([]string{"nginx-exporter"}, args[1:]...)
	}
	// The image of an exporter is given flags alone.
	if len(args) > 1 && strings.HasPrefix(args[1], "-") {
		for _, a := range args[1:] {
			switch name := strings.TrimLeft(a, "-"); {
			case name == a:
			case strings.HasPrefix(name, "nginx."):
				return append([]string{"nginx-exporter"}, args[1:]...)
			case strings.HasPrefix(name, "statsd."):
				return append([]string{"statsd-exporter"}, args[1:]...)
			}
		}
	}
	if len(args) == 1 && os.Getenv(serversVariable) != "" {
		return []string{"twemproxy"}
	}
	return args[1:]
}

// twoDashes gives flags with one dash, as Go's package flag has them, the two
// that pflag wants. One letter is a short flag, with a value or without.
func twoDashes(args []string) []string {
	out := slices.Clone(args)
	for i, a := range args {
		if name, _, _ := strings.Cut(a, "="); len(name) > 2 && name[0] == '-' && name[1] != '-' {
			out[i] = "-" + a
		}
	}
	return out
}

func newRoot() *cobra.Command {
	root := command.Root(&cobra.Command{
		Use:   "proxy",
		Short: "An ambassador on localhost for databases and Redis shards elsewhere",
		Long: "The app talks to localhost; the proxy talks to the right servers outside.\n" +
			"Settings come from flags, from DRAGOMAN_* variables, and from the file that\n" +
			"--config names, in this order of strength.",
	})
	root.AddCommand(
		newRun(), newDemo(), newValidate(), newTry(), newStatus(), newWait(), command.NewVersion("proxy"),
		newTwemproxy(), newStatsdExporter(), newNginxExporter(), newJSONExporter(), newLeaderElector(), newCapture(), newWorkQueue(),
	)
	return root
}
