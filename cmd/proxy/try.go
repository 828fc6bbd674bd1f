package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/try"
)

func newTry() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "try -f FILE --request FILE [--response FILE]",
		Short: "Show what an API adapter makes of a request, without a server",
		Long: "Show, step by step, which route a request has and what it becomes on its way to\n" +
			"the app, and what the client would get of the app's response. A request is raw\n" +
			"HTTP, as in\n\n" +
			"  POST /v2/orders/7 HTTP/1.1\n  Host: localhost\n  Content-Type: application/json\n\n  {\"sku\": \"a\"}\n\n" +
			"with lines that end in LF or CRLF; - is the standard input. The exit code is 1\n" +
			"where the proxy itself answers, because of a route, a schema or a body.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := runTry(cmd)
			if errors.Is(err, try.ErrRefused) {
				return tryRefused{command.ErrSilent}
			}
			return err
		},
	}
	cmd.Flags().StringArrayP("file", "f", nil, "`file` or folder with documents; may be given several times")
	cmd.Flags().String("adapter", "", "`name` of the Adapter, where there are several")
	cmd.Flags().String("request", "", "`file` with the request, or -")
	cmd.Flags().String("response", "", "`file` with the app's response, or -")
	return cmd
}

// tryRefused ends the program with 1, all having been said.
type tryRefused struct{ error }

// Unwrap gives what the error is.
func (e tryRefused) Unwrap() error { return e.error }

// ExitCode implements exit.Coder.
func (tryRefused) ExitCode() int { return 1 }

func runTry(cmd *cobra.Command) error {
	files, _ := cmd.Flags().GetStringArray("file")   // defined above
	name, _ := cmd.Flags().GetString("adapter")      // defined above
	request, _ := cmd.Flags().GetString("request")   // defined above
	response, _ := cmd.Flags().GetString("response") // defined above
	switch {
	case len(files) == 0:
		return exit.Usage(errors.New("no documents: name a file or folder with -f"))
	case request == "":
		return exit.Usage(errors.New("no request: name a file with --request"))
	case request == "-" && response == "-":
		return exit.Usage(errors.New("--request and --response cannot both be the standard input"))
	}
	objs, err := proxy.NewFiles(files).Load()
	if err != nil {
		return exit.Usage(err)
	}
	o := try.Options{}
	if o.Adapter, err = adapterOf(objs, name); err != nil {
		return exit.Usage(err)
	}
	if o.Request, err = readInput(cmd, request); err != nil {
		return exit.Usage(err)
	}
	if response != "" {
		if o.Response, err = readInput(cmd, response); err != nil {
			return exit.Usage(err)
		}
	}
	err = try.Run(cmd.OutOrStdout(), o)
	if err != nil && !errors.Is(err, try.ErrRefused) {
		return exit.Usage(err)
	}
	return err
}

// adapterOf finds the API adapter that is meant.
func adapterOf(objs []mesh.Object, name string) (*mesh.Adapter, error) {
	var found []*mesh.Adapter
	var names []string
	for _, obj := range objs {
		if a, ok := obj.(*mesh.Adapter); ok && a.Spec.API != nil && (name == "" || name == a.Metadata.Name || name == a.Key()) {
			found, names = append(found, a), append(names, a.Key())
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("there are several Adapters of an API: say one of %s with --adapter", strings.Join(names, ", "))
	case name != "":
		return nil, fmt.Errorf("there is no Adapter %s of an API", name)
	default:
		return nil, errors.New("there is no Adapter of an API: one with spec.api is what can be tried")
	}
}

// maxMessage bounds a file with a message.
const maxMessage = 64 << 20

func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	if err == nil && len(data) > maxMessage {
		err = fmt.Errorf("%s has more than %d bytes", name, maxMessage)
	}
	return data, err
}
