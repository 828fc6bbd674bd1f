package proxy

import (
	"errors"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// blame says of which resource of the snapshot each part of an error is the
// fault, so that a control plane can be told. What is nobody's fault stays as it
// is.
func blame(err error, snap *snapshot.Snapshot) error {
	if err == nil {
		return nil
	}
	b := blamer{snap: snap}
	b.walk(err)
	if len(b.rest) > 0 {
		return errors.Join(append(b.rest, b.found.orNil())...)
	}
	return b.found.orNil()
}

type blamer struct {
	snap  *snapshot.Snapshot
	found found
	rest  []error
}

type found resource.Errors

func (f found) orNil() error {
	if len(f) == 0 {
		return nil
	}
	return resource.Errors(f)
}

// walk goes down to what names a resource.
func (b *blamer) walk(err error) {
	switch e := err.(type) { //nolint:errorlint // walks the tree itself
	case *resource.Error:
		b.found = append(b.found, e)
	case *listener.BindError:
		b.add(resource.ListenerType, e.Listener, "address", "cannot be bound: "+e.Err.Error())
	case *listener.Error:
		b.add(resource.ListenerType, e.Listener, "", e.Err.Error())
	case *upstream.ClusterError:
		b.add(resource.ClusterType, e.Cluster, "", e.Err.Error())
	case *secrets.CheckError:
		b.secret(e)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			b.walk(one)
		}
	case interface{ Unwrap() error }:
		before := len(b.found)
		inner := blamer{snap: b.snap}
		inner.walk(e.Unwrap())
		if b.found = append(b.found, inner.found...); len(b.found) == before {
			b.rest = append(b.rest, err)
		}
	default:
		b.rest = append(b.rest, err)
	}
}

func (b *blamer) add(typeURL, name, path, reason string) {
	b.found = append(b.found, &resource.Error{TypeURL: typeURL, Name: name, Path: path, Reason: reason})
}

// secret blames the resource that holds the secret, if it was not delivered by
// itself.
func (b *blamer) secret(e *secrets.CheckError) {
	holds := func(list []*resource.Secret) bool {
		return slices.ContainsFunc(list, func(s *resource.Secret) bool { return s.Name == e.Secret })
	}
	path := e.Secret[strings.LastIndexByte(e.Secret, '#')+1:]
	for name, c := range b.snap.Clusters {
		if holds(c.Secrets) {
			b.add(resource.ClusterType, name, path, e.Err.Error())
			return
		}
	}
	for name, l := range b.snap.Listeners {
		if holds(l.Secrets) {
			b.add(resource.ListenerType, name, path, e.Err.Error())
			return
		}
	}
	b.add(resource.SecretType, e.Secret, "", e.Err.Error())
}
