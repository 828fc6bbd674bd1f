package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/pkg/election"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// electorFlags are those of the classic leader elector.
type electorFlags struct {
	help, inCluster                           bool
	election, id, namespace, http, kubeconfig string
	ttl                                       time.Duration
}

const electorUsage = `Let the pods of an app choose one of them, by a Lease of Kubernetes, and tell
the app on localhost which one it is:

  $ proxy leader-elector --election=elect-master --id=$HOSTNAME --http=localhost:4040
  $ curl localhost:4040
  {"name":"web-1","isLeader":false,"expires":"2026-01-01T00:00:10.5Z","token":7}

The flags are those of the classic elector; they may have one dash:

  --election string             name of the election, and of the Lease; needed
  --election-namespace string   its namespace (default "default")
  --id string                   name of this candidate (default: the host's name,
                                which in a pod is the pod's)
  --ttl duration                how long a leader that vanished is believed to be
                                there (default 10s)
  --http string                 address to answer on; default: nobody is answered
  --use-cluster-credentials     be the pod's service account (default: if there is
                                no kubeconfig file)
  --kubeconfig string           file that says where the API server is; default:
                                KUBECONFIG

The service account needs a Role with get, create and update of leases
(coordination.k8s.io). The token rises with each term: who acts for a leader
takes it along, and refuses a lower one than it has seen.
`

func newLeaderElector() *cobra.Command {
	return &cobra.Command{
		Use:                "leader-elector [the classic elector's flags]",
		Short:              "Let pods choose a leader, from the classic elector's own flags",
		Long:               electorUsage,
		DisableFlagParsing: true, // one dash or two
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := parseElector(args)
			switch {
			case err != nil:
				return exit.Usage(err)
			case f.help:
				fmt.Fprint(cmd.OutOrStdout(), electorUsage)
				return nil
			}
			return f.run(cmd)
		},
	}
}

func parseElector(args []string) (*electorFlags, error) {
	f := &electorFlags{}
	set := pflag.NewFlagSet("leader-elector", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	set.BoolVarP(&f.help, "help", "h", false, "")
	set.BoolVar(&f.inCluster, "use-cluster-credentials", false, "")
	set.StringVar(&f.election, "election", "", "")
	set.StringVar(&f.id, "id", "", "")
	set.StringVar(&f.namespace, "election-namespace", "default", "")
	set.StringVar(&f.http, "http", "", "")
	set.StringVar(&f.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "")
	set.DurationVar(&f.ttl, "ttl", 10*time.Second, "")
	if err := set.Parse(twoDashes(args)); err != nil {
		return nil, fmt.Errorf("%w; see proxy leader-elector --help", err)
	}
	switch {
	case f.help:
		return f, nil
	case set.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q; see proxy leader-elector --help", set.Arg(0))
	case f.election == "":
		return nil, errors.New("--election is missing: the name of the election")
	}
	if f.id == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("--id is missing, and the host's name is not known: %w", err)
		}
		f.id = host
	}
	return f, nil
}

func (f *electorFlags) api() (*election.API, error) {
	if f.inCluster || f.kubeconfig == "" {
		return election.InCluster()
	}
	return election.FromKubeconfig(f.kubeconfig)
}

func (f *electorFlags) run(cmd *cobra.Command) error {
	api, err := f.api()
	if err != nil {
		return exit.Usage(err)
	}
	log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
	e, err := election.New(election.Options{
		API: api, Election: f.election, Namespace: f.namespace, ID: f.id, TTL: f.ttl, Log: log,
	})
	if err != nil {
		return exit.Usage(err)
	}
	ctx, stop := signal.NotifyContext(cmp.Or(cmd.Context(), context.Background()), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	if f.http != "" {
		end, err := answer(ctx, &running, f.http, e.Handler(), log)
		if err != nil {
			return err
		}
		defer end() // after the lease is released: until then somebody may ask
	}
	log.Info("taking part", "election", f.namespace+"/"+f.election, "id", f.id, "ttl", f.ttl.String())
	e.Run(ctx)
	return nil
}

// answer serves a handler until the function it gives is called.
func answer(ctx context.Context, running *sync.WaitGroup, address string, h http.Handler, log *slog.Logger) (end func(), err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		err = fmt.Errorf("binding --http %q: %w", address, err)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, exit.Temporary(err)
		}
		return nil, exit.Usage(err)
	}
	log.Info("answering", "address", l.Addr().String())
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	running.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the server ended", "error", err)
		}
	})
	return func() { _ = s.Close() }, nil // what is asked now is out of date
}
