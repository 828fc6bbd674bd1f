package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/workqueue"
)

// workSettings are those of a work queue.
type workSettings struct {
	*settings
	policy workqueue.Policy
}

func newWorkQueue() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "work-queue (--folder DIR | --stream KEY) [-- COMMAND ARG...]",
		Short: "Share the items of a queue among the pods of a Job",
		Long: "Items are the files of a folder, or the entries of a Redis stream. With a COMMAND\n" +
			"each is done by running it with the item in the file that WORK_ITEM_FILE names;\n" +
			"with --post it is sent to the app; without either, the app takes items by HTTP:\n\n" +
			"  GET  /api/v1/items, /api/v1/items/NAME         what there is to do\n" +
			"  POST /api/v1/leases?worker=W                   one of them, for --term\n" +
			"  POST /api/v1/leases/ID/done, /failed, /renew   what became of it\n\n" +
			"An item that fails is tried --attempts times, and then put aside with the reason:\n" +
			"into the folder .dead, or the stream KEY:dead. /metrics counts.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := newSettings(cmd)
			if err != nil {
				return err
			}
			return (&workSettings{settings: s}).run(cmd, args)
		},
	}
	f := cmd.Flags()
	f.String("folder", "", "`folder` whose files are the items; all workers must have it")
	f.Bool("keep-done", false, "keep items that are done, in the folder .done")
	f.String("redis", "localhost:6379", "`address` of Redis, which may be that of an ambassador")
	f.String("redis-username", "", "`name` to log in with")
	f.String("redis-password-file", "", "`file` with the password")
	f.String("stream", "", "`key` of the stream whose entries are the items")
	f.String("group", "workers", "`name` of the stream's group of workers")
	f.String("http", "", "`address` to answer the app on; default: nobody is answered")
	f.String("post", "", "`URL` of the app to send items to; 2xx means that one is done")
	f.String("worker", "", "`name` that no other worker has; default: the host's, which in a pod is the pod's")
	f.String("term", "1m", "time for which an item is a worker's, who renews it while he works")
	f.Int("attempts", 5, "how often an item is tried")
	f.String("pause", "1s", "time between two attempts, doubled after each")
	f.Int("parallel", 1, "items that are worked on at a time")
	f.Bool("until-drained", false, "end when nothing waits and nobody is at work, as a Job must")
	return cmd
}

var (
	errWhichQueue = errors.New("one of --folder and --stream is needed")
	errWhichJob   = errors.New("a COMMAND and --post are two ways to do an item: leave one out")
	errNoWork     = errors.New("nothing is to be done: give a COMMAND, --post or --http")
)

func (s *workSettings) run(cmd *cobra.Command, command []string) error {
	log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
	queue, closeQueue, err := s.open()
	if err != nil {
		return exit.Usage(err)
	}
	defer closeQueue()
	job, err := s.job(command)
	if err != nil {
		return exit.Usage(err)
	}
	server := workqueue.NewServer(queue, log)
	ctx, stop := signal.NotifyContext(cmp.Or(cmd.Context(), context.Background()), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	if address := s.Text("http"); address != "" {
		registry := prometheus.NewRegistry()
		registry.MustRegister(server)
		mux := http.NewServeMux()
		mux.Handle("/", server)
		mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		end, err := answer(ctx, &running, address, mux, log)
		if err != nil {
			return err
		}
		defer end()
	}
	if job == nil {
		<-ctx.Done()
		return nil
	}
	name := s.Text("worker")
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return exit.Usage(fmt.Errorf("--worker is missing, and the host's name is not known: %w", err))
		}
	}
	workqueue.NewWorker(workqueue.WorkerOptions{
		Queue: queue, Name: name, Job: job, Term: s.policy.Term, Parallel: s.Number("parallel"),
		UntilDrained: s.Bool("until-drained"), Note: server.Note, Log: log,
	}).Run(ctx)
	return nil
}

// open opens the queue that the settings name.
func (s *workSettings) open() (workqueue.Queue, func(), error) {
	folder, stream := s.Text("folder"), s.Text("stream")
	if (folder == "") == (stream == "") {
		return nil, nil, errWhichQueue
	}
	var err error
	if s.policy.Term, err = s.Duration("term"); err != nil {
		return nil, nil, err
	}
	if s.policy.Pause, err = s.Duration("pause"); err != nil {
		return nil, nil, err
	}
	const shortest = 100 * time.Millisecond
	if s.policy.Attempts = s.Number("attempts"); s.policy.Attempts < 1 || s.policy.Term < shortest || s.policy.Pause <= 0 {
		return nil, nil, fmt.Errorf("want --attempts of 1 or more, --term of %s or more and a --pause above 0", shortest)
	}
	if folder != "" {
		q, err := workqueue.OpenFolder(folder, workqueue.FolderOptions{Policy: s.policy, Keep: s.Bool("keep-done")})
		if err != nil {
			return nil, nil, err
		}
		return q, func() { _ = q.Close() }, nil // nothing is under way any more
	}
	o := workqueue.StreamOptions{
		Address: s.Text("redis"), Username: s.Text("redis-username"), Key: stream, Group: s.Text("group"), Policy: s.policy,
	}
	if file := s.Text("redis-password-file"); file != "" {
		password, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the password: %w", err)
		}
		o.Password = strings.TrimRight(string(password), "\r\n")
	}
	q, err := workqueue.OpenStream(o)
	if err != nil {
		return nil, nil, err
	}
	return q, func() { _ = q.Close() }, nil // nothing is under way any more
}

// job is how items are done; nil: the app asks for them.
func (s *workSettings) job(command []string) (workqueue.Job, error) {
	post := s.Text("post")
	switch {
	case len(command) > 0 && post != "":
		return nil, errWhichJob
	case len(command) > 0:
		return workqueue.Exec(command), nil
	case post != "":
		return workqueue.Post(&http.Client{}, post), nil
	case s.Text("http") == "":
		return nil, errNoWork
	}
	return nil, nil
}
