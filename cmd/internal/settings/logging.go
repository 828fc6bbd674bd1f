package settings

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// LogFlags are those that Logger reads.
func LogFlags(f *pflag.FlagSet) {
	f.String("log-level", "info", "debug, info, warn or error")
	f.String("log-format", "auto", "text, json, or auto: text on a terminal, else JSON")
}

// Logger makes the process' logger; its level can be changed later. An error is
// one of usage.
func (s *Settings) Logger(w io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	level := &slog.LevelVar{}
	if err := level.UnmarshalText([]byte(s.Text("log-level"))); err != nil {
		return nil, nil, exit.Usage(fmt.Errorf("--log-level %q: want debug, info, warn or error", s.Text("log-level")))
	}
	o := &slog.HandlerOptions{Level: level}
	var handler slog.Handler
	switch format := s.Text("log-format"); {
	case format == "text", format == "auto" && isTerminal(w):
		handler = slog.NewTextHandler(w, o)
	case format == "json", format == "auto":
		handler = slog.NewJSONHandler(w, o)
	default:
		return nil, nil, exit.Usage(fmt.Errorf("--log-format %q: want auto, text or json", format))
	}
	log := slog.New(handler)
	s.warnOfVariables(log)
	return log, level, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS) // a descriptor
	return err == nil
}
