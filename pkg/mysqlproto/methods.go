package mysqlproto

import "strings"

// Names of the methods of authentication, as on the wire.
const (
	PluginNative      = "mysql_native_password"
	PluginCachingSHA2 = "caching_sha2_password"
	PluginSHA256      = "sha256_password"
	PluginEd25519     = "client_ed25519" // MariaDB
	PluginParsec      = "parsec"         // MariaDB 11.6
	PluginCleartext   = "mysql_clear_password"
)

// Methods is a set of methods of authentication.
type Methods uint8

// Methods of authentication.
const (
	// MethodNative needs SHA-1 of the password, and does not show it.
	MethodNative Methods = 1 << iota
	// MethodCachingSHA2 shows a hash, or when the server asks for it the password:
	// only over a link that AuthConfig calls secure, or encrypted with RSA.
	MethodCachingSHA2
	// MethodSHA256 shows the password in the same two ways.
	MethodSHA256
	// MethodEd25519 is MariaDB's; the password is not shown.
	MethodEd25519
	// MethodParsec is MariaDB's newer one; the password is not shown.
	MethodParsec
	// MethodCleartext shows the password, over a secure link only.
	MethodCleartext
)

// MethodsDefault are the methods that need no further thought: all but the one
// that does nothing but show the password.
const MethodsDefault = MethodNative | MethodCachingSHA2 | MethodSHA256 | MethodEd25519 | MethodParsec

var methodNames = [...]string{PluginNative, PluginCachingSHA2, PluginSHA256, PluginEd25519, PluginParsec, PluginCleartext}

// String names the methods of the set.
func (m Methods) String() string {
	var names []string
	for i, name := range methodNames {
		if m&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// MethodOf returns the method of a plugin's name, 0 if it is not known.
func MethodOf(plugin string) Methods {
	for i, name := range methodNames {
		if name == plugin {
			return 1 << i
		}
	}
	return 0
}
