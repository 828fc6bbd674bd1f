package mesh

import (
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// advised is a mapping in which people write other fields than it has, as they know
// them from elsewhere. advice says what is there instead, "" nothing.
type advised interface{ advice(field string) string }

// exampled is a mapping in whose place people write a single value.
type exampled interface{ example() string }

const noPasswords = "documents hold no passwords: name a passwordFile or a passwordEnv"

func (*AmbassadorSpec) advice(field string) string {
	switch field {
	case "port":
		return "as in listen: {port: 5432}"
	case "name":
		return "it is metadata.name"
	case "password":
		return noPasswords + " in environments.NAME.credentials"
	}
	return ""
}

func (*Environment) advice(field string) string {
	switch field {
	case "user":
		return "as in credentials: {username: orders, passwordFile: /run/secrets/password}"
	case "password":
		return noPasswords + " in credentials"
	case "host", "hostname", "port", "url", "uri", "dsn", "server":
		return `as in address: "db.example.com:5432"`
	case "hosts", "addresses", "servers":
		return `as in endpoints: [{address: "a:5432"}, {address: "b:5432"}]; for Redis, shards: [{primary: {address: "a:6379"}}]`
	case "dbname", "db", "databaseName":
		return meant("database")
	case "ssl", "sslmode", "sslMode":
		return "as in tls: {mode: verify-full}"
	case "primary", "replicas":
		return `as in address: "a:5432", standbys: [{address: "b:5432"}]; for Redis, shards: [{primary: {...}, replicas: [{...}]}]`
	case "readOnly", "readonly":
		return "as in access: ReadOnly"
	}
	return ""
}

func (*Shard) advice(field string) string {
	switch field {
	case "address", "host", "port", "master":
		return (*Shard)(nil).example()
	}
	return ""
}

func (*Credentials) advice(field string) string {
	switch field {
	case "user":
		return meant("username")
	case "password":
		return noPasswords
	}
	return ""
}

func (*AppAuth) advice(field string) string { return (*Credentials)(nil).advice(field) }

func (*PostgresAppAuth) advice(field string) string { return (*Credentials)(nil).advice(field) }

func (*UpstreamTLS) advice(field string) string {
	switch field {
	case "rootCert", "sslrootcert", "sslRootCert", "caCert", "rootCA":
		return meant("caFile")
	}
	return ""
}

func (*PostgresPool) advice(field string) string {
	switch field {
	case "max", "maxSize", "poolSize", "maxConnections", "connections":
		return meant("size")
	}
	return ""
}

func (*MySQLSpec) advice(field string) string {
	if field == "pool" {
		return "sessions of protocol postgres alone can share connections"
	}
	return ""
}

func (*Shard) example() string { return `as in {primary: {address: "redis:6379"}}` }

func (*Server) example() string { return `as in {address: "redis:6379"}` }

func (*Listen) example() string { return "as in {port: 5432}" }

func (*UpstreamTLS) example() string { return "as in {mode: verify-full}" }

func (*CASource) example() string { return "a file is named by caFile" }

// hintOfField is what to say of a field that a mapping does not have.
func (w *walker) hintOfField(v reflect.Value, path, field string, names []string) string {
	if a, ok := reflect.TypeAssert[advised](v.Addr()); ok {
		if hint := a.advice(field); hint != "" {
			return hint
		}
	}
	if hint := DidYouMean(field, names); hint != "" {
		return hint
	}
	homes := slices.DeleteFunc(homesOf(w.root, field), func(home string) bool { return w.ofOtherProtocol(home) || !near(path, home) })
	if n := len(homes); n > 0 && n <= 3 {
		return "it is a field of " + strings.Join(homes, ", of ")
	}
	return hintOf(field, names)
}

// ofOtherProtocol reports whether a mapping is for another protocol than the
// document's, if that is known.
func (w *walker) ofOtherProtocol(path string) bool {
	section, _, _ := strings.Cut(strings.TrimPrefix(path, "spec."), ".")
	known := Protocol("").Values()
	return section != w.protocol && slices.Contains(known, w.protocol) && slices.Contains(known, section)
}

// near reports whether a field may have been meant for another mapping than that at a
// path: one around it or within it, or a section of the spec.
func near(path, home string) bool {
	at, there := strings.Split(path, "."), strings.Split(home, ".")
	if len(there) <= 2 {
		return true
	}
	for i := range min(len(at), len(there)) {
		name, _, _ := strings.Cut(at[i], "[")
		if want := strings.TrimSuffix(there[i], "[]"); want != "NAME" && name != want {
			return false
		}
	}
	return true
}

// protocolOf reads a document's protocol without judging the rest.
func protocolOf(root *yaml.Node) string {
	at := resolve(root)
	for _, name := range []string{"spec", "protocol"} {
		var next *yaml.Node
		for i := 0; at.Kind == yaml.MappingNode && i+1 < len(at.Content); i += 2 {
			if at.Content[i].Value == name {
				next = resolve(at.Content[i+1])
			}
		}
		if next == nil {
			return ""
		}
		at = next
	}
	return at.Value
}

// homesOf lists the mappings of a document that have a field: those nearest to the
// root.
func homesOf(root reflect.Type, field string) (homes []string) {
	const deepest = 5
	type home struct {
		t    reflect.Type
		path string
	}
	level := []home{{root, ""}}
	for range deepest {
		var below []home
		for _, h := range level {
			fields, names := fieldsOf(reflect.New(h.t).Elem())
			if _, ok := fields[field]; ok && h.path != "" {
				homes = append(homes, h.path)
			}
			for _, name := range names {
				if t, path := mappingIn(fields[name].Type(), join(h.path, name)); t != nil && path != "metadata" {
					below = append(below, home{t, path})
				}
			}
		}
		if len(homes) > 0 {
			break
		}
		level = below
	}
	return homes
}

// mappingIn is the mapping that a field holds, or nil.
func mappingIn(t reflect.Type, path string) (reflect.Type, string) {
	for {
		switch t.Kind() {
		case reflect.Pointer:
		case reflect.Map:
			path += ".NAME"
		case reflect.Slice:
			path += "[]"
		case reflect.Struct:
			return t, path
		default:
			return nil, ""
		}
		t = t.Elem()
	}
}
