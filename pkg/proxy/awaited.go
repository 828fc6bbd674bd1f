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
// later than we are. Filters of databases hold their clients until they are
// there; whatever else is missing leaves nothing to begin with.
func mayCome(err error, snap *snapshot.Snapshot, log *slog.Logger) bool {
	logins := loginSecrets(snap)
	all := everyError(err)
	for _, one := range all {
		bad, ok := errors.AsType[*secrets.CheckError](one)
		if !ok || !logins[bad.Secret] || !errors.Is(one, fs.ErrNotExist) {
			return false
		}
	}
	for _, one := range all {
		log.Warn("waiting for credentials; apps that connect are held until they are there", "error", one)
	}
	return true
}

// loginSecrets are the names of those that databases are logged in at with.
func loginSecrets(snap *snapshot.Snapshot) map[string]bool {
	names := map[string]bool{}
	for _, l := range snap.Listeners {
		var keys []resource.SecretKey
		switch f := l.Filter.Config.(type) {
		case *resource.PostgresFilter:
			keys = f.SecretKeys()
		case *resource.MySQLFilter:
			keys = f.SecretKeys()
		}
		for _, k := range keys {
			names[k.Name] = true
		}
	}
	return names
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
