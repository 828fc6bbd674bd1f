package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/traces"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run {-f FILE... | --control-plane HOST:PORT...}",
		Short: "Run the proxy from files or from a control plane",
		Long: "Run the proxy from documents in files and folders, or from what a control plane\n" +
			"sends, and follow their changes. A change that is refused leaves what runs as\n" +
			"it is; the log and /config_dump say why. A control plane that is away stops\n" +
			"nothing: what runs goes on, and with --state-dir a new start uses what was\n" +
			"accepted last.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newSettings(cmd)
			if err != nil {
				return err
			}
			o, err := s.options()
			if err != nil {
				return err
			}
			o.Log, o.Level, err = s.Logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := s.source(&o); err != nil {
				return err
			}
			provider, err := traces.Open(cmd.Context(), traces.Options{
				Service: "dragoman-proxy", Endpoint: s.Text("otlp-endpoint"), Sampler: trace.AlwaysSample(), Log: o.Log, // documents say what is sampled
			})
			if err != nil {
				return exit.Usage(err)
			}
			if provider.On() {
				o.Tracer = provider.Tracer("github.com/dragoman-mesh/dragoman/pkg/proxy")
			}
			defer func() {
				if err := provider.Close(); err != nil {
					o.Log.Warn("spans are lost", "error", err)
				}
			}()
			return serve(cmd.Context(), o, nil)
		},
	}
	cmd.Flags().StringArrayP("file", "f", nil, "`file` or folder with documents; may be given several times")
	runFlags(cmd.Flags())
	environmentFlags(cmd.Flags())
	planeFlags(cmd.Flags())
	return cmd
}

// source finds where the configuration comes from.
func (s *settings) source(o *proxy.Options) error {
	var err error
	if o.ControlPlane, err = s.plane(); err != nil || o.ControlPlane != nil {
		return err
	}
	files := s.List("file")
	if len(files) == 0 {
		return exit.Usage(errors.New("no documents: name a file or folder with -f, or a control plane with --control-plane"))
	}
	o.Source = proxy.NewFiles(files)
	o.Detector = s.detector()
	return nil
}

// beside is what a command does around a running proxy.
type beside func(ctx context.Context, p *proxy.Proxy) (stop func(), err error)

// serve runs a proxy until it is told to end. SIGTERM lets it serve until the
// app is gone, and then drain; SIGINT, which somebody at a terminal sends, lets
// it drain; a second of them ends the process at once. SIGHUP has it look at its
// files again.
func serve(ctx context.Context, o proxy.Options, extra beside) error {
	p, err := proxy.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go obey(signals, o.Log, p, cancel)
	if extra != nil {
		stop, err := extra(ctx, p)
		if err != nil {
			return err
		}
		defer stop()
	}
	return p.Run(ctx)
}

func obey(signals <-chan os.Signal, log *slog.Logger, p *proxy.Proxy, cancel func()) {
	ending := false
	for s := range signals {
		switch {
		case s == syscall.SIGHUP:
			p.Reload()
		case ending:
			log.Warn("ending at once", "signal", s.String())
			os.Exit(exit.CodeInternal) // asked for: nothing is waited for
		default:
			log.Info("ending", "signal", s.String())
			ending = true
			if s == syscall.SIGTERM {
				p.Leave()
			} else {
				cancel()
			}
		}
	}
}
