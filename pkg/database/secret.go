package database

import (
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Secret reads one value, as it is now, without the line break at its end; "" if
// none is configured.
func Secret(source filters.SecretSource, k resource.SecretKey) (string, error) {
	if !k.Set() {
		return "", nil
	}
	name := k.Name
	if k.Key != "" {
		name += "/" + k.Key
	}
	v, err := source.Secret(name)
	return strings.TrimRight(v, "\r\n"), err
}
