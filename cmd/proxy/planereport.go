package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// planeReport is what status reads of the control plane in /config_dump.
type planeReport struct {
	Server             string
	Connected          bool
	Since, LastContact time.Time
	LastError          string
	Protocol, Origin   string
	Types              []struct {
		TypeURL, Version string
		Resources        []struct {
			Name, State, Version, Error string
			Running                     bool
		}
	}
	Pending, Missing []struct{ TypeURL, Name, For, Reason string }
}

func (r *planeReport) write(w io.Writer, now time.Time) {
	if r.Connected {
		fmt.Fprintf(w, "control plane %s: connected for %s (%s), last contact %s\n",
			r.Server, ago(now, r.Since), r.Protocol, before(now, r.LastContact))
	} else {
		fmt.Fprintf(w, "control plane: unreachable for %s, last contact %s", ago(now, r.Since), before(now, r.LastContact))
		if r.LastError != "" {
			fmt.Fprintf(w, ": %s", r.LastError)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "configuration from %s\n", r.Origin)
	for _, t := range r.Types {
		if len(t.Resources) > 0 {
			fmt.Fprintf(w, "%s: %d resources, version %s\n", kind(t.TypeURL), len(t.Resources), orNone(t.Version))
		}
	}
	for _, t := range r.Types {
		for _, one := range t.Resources {
			if one.Error == "" {
				continue
			}
			old := "nothing runs in its place"
			if one.Running {
				old = "the one before runs on"
			}
			fmt.Fprintf(w, "refused %s %s (%s): %s\n", kind(t.TypeURL), one.Name, old, one.Error)
		}
	}
	for _, p := range r.Pending {
		fmt.Fprintf(w, "waiting for %s %s, which %s needs\n", kind(p.TypeURL), p.Name, p.For)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(w, "missing %s %s, which %s needs: %s\n", kind(m.TypeURL), m.Name, m.For, m.Reason)
	}
}

func kind(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// ago is the time since t, for people.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "some time"
	}
	return now.Sub(t).Round(time.Second).String()
}

func before(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return ago(now, t) + " ago"
}
