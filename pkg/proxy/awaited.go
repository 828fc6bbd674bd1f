package proxy

import (
	"errors"
	"io/fs"
	"log/slog"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// mayCome says whether all that is wrong with the secrets of a proxy that begins
// are files of credentials that somebody else has yet to write, who may well be
// later than we are. They are read when they are used: databases hold their clients
// until then, and others get an error that names the file. Without a certificate or
// whom to trust there is nothing to begin with.
func mayCome(err error, snap *snapshot.Snapshot, log *slog.Logger) bool {
	all := everyError(err)
	for _, one := range all {
		bad, ok := errors.AsType[*secrets.CheckError](one)
		if !ok || !awaited(bad, snap.Secrets[bad.Secret]) {
			return false
		}
	}
	for _, one := range all {
		log.Warn("waiting for credentials; until they are there apps of databases are held, and others get errors", "error", one)
	}
	return true
}

// awaited says whether a proxy begins without a secret.
func awaited(bad *secrets.CheckError, secret *resource.Secret) bool {
	return secret.Generic != nil && errors.Is(bad, fs.ErrNotExist)
}

// everyError takes apart what errors.Join has made.
func everyError(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// lacking says which credentials a proxy that has just begun still waits for, in
// words; "" once they have all been there.
func (p *Proxy) lacking() string {
	store := p.awaited.Load()
	if store == nil {
		return ""
	}
	current := p.secrets.Current() // nil while the configuration is being taken
	if err := store.Check(); err != nil && (current == nil || current == store) {
		return "WARMING: " + everyError(err)[0].Error()
	}
	p.awaited.CompareAndSwap(store, nil)
	return ""
}

// secretFiles are the files that the secrets of a snapshot are in.
func secretFiles(snap *snapshot.Snapshot) []string {
	var names []string
	add := func(source resource.DataSource) {
		if source.Filename != "" {
			names = append(names, source.Filename)
		}
	}
	for _, secret := range snap.Secrets {
		for _, source := range secret.Generic {
			add(source)
		}
		if c := secret.Certificate; c != nil {
			add(c.Chain)
			add(c.Key)
		}
		if v := secret.Validation; v != nil {
			add(v.CA)
		}
	}
	return names
}
