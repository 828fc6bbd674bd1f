package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	flags "github.com/dragoman-mesh/dragoman/cmd/internal/settings"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/nutcracker"
	"github.com/dragoman-mesh/dragoman/pkg/twemproxy"
)

// serversVariable is what the well-known image of twemproxy is configured by.
const serversVariable = "REDIS_SERVERS"

// confFiles are the defaults of twemproxy as built from source, and in Debian.
func confFiles() []string { return []string{"conf/nutcracker.yml", "/etc/nutcracker/nutcracker.yml"} }

// nutcrackerFlags are twemproxy's own command line.
type nutcrackerFlags struct {
	help, version, testConf, daemonize, describe bool

	verbosity, statsPort, statsInterval, mbufSize int
	output, conf, statsAddr, pidFile, listen      string
}

const nutcrackerUsage = `Usage: nutcracker [-?hVdDt] [-v verbosity level] [-o output file]
                  [-c conf file] [-s stats port] [-a stats addr]
                  [-i stats interval] [-p pid file] [-m mbuf size]

Options:
  -h, --help             : this help
  -V, --version          : show version and exit
  -t, --test-conf        : test configuration for syntax errors and exit
  -d, --daemonize        : refused: run it under a supervisor
  -D, --describe-stats   : print stats description and exit
  -v, --verbose=N        : set logging level (default: 5, min: 0, max: 11)
  -o, --output=S         : set logging file (default: stderr)
  -c, --conf-file=S      : set configuration file (default: conf/nutcracker.yml,
                           else /etc/nutcracker/nutcracker.yml)
  -s, --stats-port=N     : set stats monitoring port (default: 22222)
  -a, --stats-addr=S     : set stats monitoring ip (default: 0.0.0.0)
  -i, --stats-interval=N : taken and ignored: stats are always of now
  -p, --pid-file=S       : set pid file (default: off)
  -m, --mbuf-size=N      : taken and ignored: buffers fit what they hold

Without -c the servers may come from REDIS_SERVERS=addr:port:weight[,...]; the
port is then 6380 on all addresses, unless --listen or DRAGOMAN_LISTEN names
another addr:port or path, as "listen" does in the file. Settings of the proxy
beneath come from DRAGOMAN_* variables (see proxy run --help), for one
DRAGOMAN_ADMIN_ADDRESS.
`

const describeStats = `pool stats:
  client_eof          "# eof on client connections"
  client_err          "# errors on client connections"
  client_connections  "# active client connections"
  server_ejects       "# times backend server was ejected"
  forward_error       "# times we encountered a forwarding error"

server stats:
  server_eof          "# eof on server connections"
  server_err          "# errors on server connections"
  server_timedout     "# timeouts on server connections"
  server_connections  "# active server connections"
  requests            "# requests"
  responses           "# responses"
`

func newTwemproxy() *cobra.Command {
	return &cobra.Command{
		Use:   "twemproxy [nutcracker's flags]",
		Short: "Do what twemproxy (nutcracker) does, from its own flags and file",
		Long:  nutcrackerUsage,
		// The flags are nutcracker's: -h and -v mean what they mean there.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := parseNutcracker(args)
			if err != nil {
				return exit.Usage(err)
			}
			return f.run(cmd)
		},
	}
}

func parseNutcracker(args []string) (*nutcrackerFlags, error) {
	f := &nutcrackerFlags{}
	set := pflag.NewFlagSet("twemproxy", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	set.BoolVarP(&f.help, "help", "h", false, "")
	set.BoolVarP(&f.version, "version", "V", false, "")
	set.BoolVarP(&f.testConf, "test-conf", "t", false, "")
	set.BoolVarP(&f.daemonize, "daemonize", "d", false, "")
	set.BoolVarP(&f.describe, "describe-stats", "D", false, "")
	set.IntVarP(&f.verbosity, "verbose", "v", 5, "")
	set.StringVarP(&f.output, "output", "o", "", "")
	set.StringVarP(&f.conf, "conf-file", "c", "", "")
	set.IntVarP(&f.statsPort, "stats-port", "s", 22222, "")
	set.StringVarP(&f.statsAddr, "stats-addr", "a", "0.0.0.0", "")
	set.IntVarP(&f.statsInterval, "stats-interval", "i", 30000, "")
	set.StringVarP(&f.pidFile, "pid-file", "p", "", "")
	set.IntVarP(&f.mbufSize, "mbuf-size", "m", 16384, "")
	set.StringVar(&f.listen, "listen", os.Getenv(flags.Prefix+"_LISTEN"), "")
	for i, a := range args {
		if a == "-?" {
			args[i] = "-h"
		}
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if f.conf != "" && set.Changed("listen") {
		return nil, errors.New("--listen is for " + serversVariable + ": the file says where each pool listens")
	}
	return f, f.check()
}

func (f *nutcrackerFlags) check() error {
	const mbufMin, mbufMax = 512, 16 << 20
	switch {
	case f.daemonize:
		return errors.New("-d: running as a daemon is not done here; a supervisor or container keeps the process")
	case f.statsPort < 1 || f.statsPort > 65535:
		return fmt.Errorf("option -s value %d is not a valid port", f.statsPort)
	case f.mbufSize < mbufMin || f.mbufSize > mbufMax:
		return fmt.Errorf("mbuf chunk size must be between %d and %d bytes", mbufMin, mbufMax)
	case f.verbosity < 0:
		return errors.New("option -v requires a number")
	case f.statsInterval < 0:
		return errors.New("option -i requires a number")
	}
	return nil
}

func (f *nutcrackerFlags) run(cmd *cobra.Command) error {
	out := cmd.ErrOrStderr() // as nutcracker
	if f.help || f.version || f.describe {
		fmt.Fprintf(out, "This is nutcracker-%s, as dragoman proxy %s does it\n", nutcracker.Version, command.Version())
	}
	switch {
	case f.help:
		fmt.Fprint(out, "\n"+nutcrackerUsage)
		return nil
	case f.describe:
		fmt.Fprint(out, "\n"+describeStats)
		return nil
	case f.version:
		return nil
	}
	source := f.source()
	if f.testConf {
		if _, err := source.Load(); err != nil {
			return exit.Usage(err)
		}
		fmt.Fprintf(out, "nutcracker: configuration file '%s' syntax is ok\n", source.name)
		return nil
	}
	return f.serve(cmd, source)
}

// source is the file that -c names, else the variable, else a default file.
func (f *nutcrackerFlags) source() *nutcrackerSource {
	servers := os.Getenv(serversVariable)
	switch {
	case f.conf != "":
		return &nutcrackerSource{name: f.conf, file: f.conf}
	case servers != "":
		return &nutcrackerSource{name: serversVariable, servers: servers, listen: f.listen}
	}
	for _, file := range confFiles() {
		if _, err := os.Stat(file); err == nil {
			return &nutcrackerSource{name: file, file: file}
		}
	}
	return &nutcrackerSource{name: confFiles()[0], file: confFiles()[0]}
}

func (f *nutcrackerFlags) serve(cmd *cobra.Command, source *nutcrackerSource) error {
	fake := &cobra.Command{} // has the defaults of run's flags, and nobody to set them
	runFlags(fake.Flags())
	s, err := newSettings(fake)
	if err != nil {
		return err
	}
	o, err := s.options()
	if err != nil {
		return err
	}
	o.AdminOptional = os.Getenv(flags.Prefix+"_ADMIN_ADDRESS") == ""
	o.Source = source
	log, err := f.openLog(s, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer log.close()
	o.Log, o.Level = log.logger, log.level
	if err := f.writePid(); err != nil {
		return err
	}
	defer f.removePid()
	defer log.followSignals()()
	return serve(cmd.Context(), o, func(ctx context.Context, p *proxy.Proxy) (func(), error) {
		address := f.statsAddr + ":" + strconv.Itoa(f.statsPort)
		host, _ := os.Hostname() // shown as it is: empty
		stats, err := nutcracker.Listen(ctx, address, nutcracker.Options{
			Gatherer: p.Gatherer(), Pools: source.pools, Source: host, Log: o.Log,
		})
		if err != nil {
			return nil, exit.Temporary(err)
		}
		return stats.Close, nil
	})
}

func (f *nutcrackerFlags) writePid() error {
	if f.pidFile == "" {
		return nil
	}
	if err := os.WriteFile(f.pidFile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil { // others read it
		return exit.Usage(fmt.Errorf("writing the pid file: %w", err))
	}
	return nil
}

func (f *nutcrackerFlags) removePid() {
	if f.pidFile != "" {
		_ = os.Remove(f.pidFile) // somebody else may have
	}
}

// nutcrackerSource is a proxy.Source of a nutcracker.yml or of REDIS_SERVERS.
type nutcrackerSource struct {
	name    string // for messages
	file    string // or
	servers string
	listen  string // for servers; "": their default

	accepted atomic.Pointer[twemproxy.Config]
}

// Paths implements proxy.Source.
func (s *nutcrackerSource) Paths() []string {
	if s.file == "" {
		return nil
	}
	return []string{s.file}
}

// Load implements proxy.Source.
func (s *nutcrackerSource) Load() ([]mesh.Object, error) {
	cfg, err := s.parse()
	if err != nil {
		return nil, err
	}
	if errs := cfg.ResolveListen(s.name, resolveListen); len(errs) > 0 {
		return nil, errs
	}
	objs, errs := twemproxy.Documents(s.name, cfg)
	if len(errs) > 0 {
		return nil, errs
	}
	found := mesh.Validate(objs)
	for _, e := range found {
		e.File, e.Path = s.name, "pool "+path.Base(e.Object)+": "+e.Path
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	for i := range cfg.Pools {
		if auth := cfg.Pools[i].RedisAuth; auth != "" {
			if err := os.Setenv(twemproxy.AuthEnv(i), auth); err != nil {
				return nil, fmt.Errorf("passing redis_auth of pool %q on: %w", cfg.Pools[i].Name, err)
			}
		}
	}
	s.accepted.Store(cfg)
	return objs, nil
}

func (s *nutcrackerSource) parse() (*twemproxy.Config, error) {
	if s.file == "" {
		cfg, errs := twemproxy.ParseServers(s.name, s.servers)
		if len(errs) > 0 || s.listen == "" {
			return cfg, errs.Err()
		}
		return cfg, cfg.Pools[0].ListenAt(s.listen)
	}
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: name another file with -c, or the servers in %s", err, serversVariable)
	}
	if err != nil {
		return nil, err
	}
	cfg, errs := twemproxy.Parse(s.file, data)
	return cfg, errs.Err()
}

// pools are those that the statistics are about.
func (s *nutcrackerSource) pools() []nutcracker.Pool {
	cfg := s.accepted.Load()
	if cfg == nil {
		return nil
	}
	return nutcracker.Pools(cfg, mesh.DefaultNamespace)
}
