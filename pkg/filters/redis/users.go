package redis

import (
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// user is somebody who may log in to a listener.
type user struct {
	name         string
	passwords    []resource.SecretKey
	unrestricted bool
	rules        rules
	allowed      []uint64                  // one bit per command id
	subcommands  map[*redisproto.Spec]bool // of all containers
}

// rules are what a user's configuration allows.
type rules struct {
	readOnly    bool
	allow, deny []string
}

// everyone is the user of a listener that asks for no login.
var everyone = &user{name: "default", unrestricted: true} //nolint:gochecknoglobals // read-only

func (u *user) nopass() bool { return len(u.passwords) == 0 }

func newUsers(b *Builder, cfg []resource.User, _ filters.Context) map[string]*user {
	users := make(map[string]*user, len(cfg))
	for i := range cfg {
		users[cfg[i].Name] = newUser(b.commands, &cfg[i])
	}
	return users
}

// newUser works out which commands the user's rules allow.
func newUser(t *commandTable, cfg *resource.User) *user {
	u := &user{
		name: cfg.Name, passwords: cfg.Passwords,
		rules:       rules{cfg.ReadOnly, cfg.Allow, cfg.Deny},
		subcommands: map[*redisproto.Spec]bool{},
	}
	if !cfg.ReadOnly && len(cfg.Allow) == 0 && len(cfg.Deny) == 0 {
		u.unrestricted = true
		return u
	}
	u.allowed = make([]uint64, (len(t.all)+63)/64)
	for _, c := range t.all {
		if c.spec == nil {
			continue
		}
		if u.rules.allowed(c.spec, c.name) {
			u.allowed[c.id/64] |= 1 << (c.id % 64)
		}
		for _, sub := range c.spec.Sub {
			u.subcommands[sub] = u.rules.allowed(sub, sub.Name)
		}
	}
	return u
}

// allowed applies the rules to one command or subcommand; spec is nil if the
// table does not know it. A user who may only read may not administrate either.
func (r *rules) allowed(spec *redisproto.Spec, name string) bool {
	if r.readOnly && (spec == nil || mayWrite(spec) || spec.Has(redisproto.Admin)) {
		return false
	}
	return (len(r.allow) == 0 || covered(r.allow, spec, name)) && !covered(r.deny, spec, name)
}

// covered reports whether a rule "@category", "command" or "command|subcommand"
// is about the command. A rule about a container is about its subcommands, too.
func covered(list []string, spec *redisproto.Spec, name string) bool {
	container, _, _ := strings.Cut(name, "|")
	for _, rule := range list {
		category, isCategory := strings.CutPrefix(rule, "@")
		switch {
		case rule == "@all", rule == name, rule == container:
			return true
		case isCategory && spec != nil && slices.Contains(spec.Categories, category):
			return true
		}
	}
	return false
}

// allows reports whether the user may run r. Logging in is always allowed.
func (u *user) allows(r *request) bool {
	switch {
	case r.noAuth || u.unrestricted:
		return true
	case r.spec == nil:
		return u.rules.allowed(nil, asciiLower(string(r.arg(0))))
	case r.sub != nil:
		return u.subcommands[r.sub]
	}
	return u.allowed[r.id/64]&(1<<(r.id%64)) != 0
}

// secret reads one value of a secret, as it is now.
func (f *Filter) secret(k resource.SecretKey) (string, error) {
	if k.Key != "" {
		return f.ctx.Secrets.Secret(k.Name + "/" + k.Key)
	}
	return f.ctx.Secrets.Secret(k.Name)
}

// forwardsUnknown reports whether a command that the table does not know is to
// be routed by its first argument.
func (f *localFilter) forwardsUnknown(r *request) bool {
	if f.cfg.UnknownCommands == resource.UnknownFirstArgument {
		return true
	}
	return slices.ContainsFunc(f.cfg.CustomCommands, func(name string) bool { return equalFold(r.arg(0), name) })
}
