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
		TypeURL   string
		Resources []struct {
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
	r.writeResources(w)
	for _, p := range r.Pending {
		fmt.Fprintf(w, "waiting for %s %s, which %s needs\n", kind(p.TypeURL), p.Name, p.For)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(w, "missing %s %s, which %s needs: %s\n", kind(m.TypeURL), m.Name, m.For, m.Reason)
	}
}

// writeResources has a line for each, and says of one that was refused what runs
// instead.
func (r *planeReport) writeResources(w io.Writer) {
	for _, t := range r.Types {
		for _, one := range t.Resources {
			fmt.Fprintf(w, "%s %s: %s", kind(t.TypeURL), one.Name, one.State)
			if one.Version != "" {
				fmt.Fprintf(w, ", version %s", one.Version)
			}
			switch {
			case one.Error == "":
			case one.Running:
				fmt.Fprintf(w, " (the one before runs on): %s", one.Error)
			default:
				fmt.Fprintf(w, " (nothing runs in its place): %s", one.Error)
			}
			fmt.Fprintln(w)
		}
	}
}

func kind(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }

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
