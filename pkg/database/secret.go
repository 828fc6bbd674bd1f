package database

import (
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// errNoUser says that the user name is there, but empty.
var errNoUser = errors.New("user name is empty")

// Credentials are what the proxy logs in with.
type Credentials struct{ User, Password string }

// ReadCredentials reads those of a login, as they are now.
func ReadCredentials(source filters.SecretSource, login *resource.DatabaseLogin) (Credentials, error) {
	user, err := Secret(source, login.Username)
	if err != nil {
		return Credentials{}, err
	}
	password, err := Secret(source, login.Password)
	if err != nil {
		return Credentials{}, err
	}
	if user == "" {
		return Credentials{}, errNoUser
	}
	return Credentials{user, password}, nil
}

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
