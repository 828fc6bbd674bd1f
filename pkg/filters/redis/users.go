package redis

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// user is somebody who may log in to a listener.
type user struct {
	name         string
	passwords    []resource.SecretKey
	unrestricted bool
	// allowed has one bit per command id; subcommands are looked up by name.
	allowed     []uint64
	subcommands map[string]bool // "config|get" -> allowed, where it differs from the command
}

// everyone is the user of a listener that asks for no login.
var everyone = &user{name: "default", unrestricted: true}

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
	u := &user{name: cfg.Name, passwords: cfg.Passwords, subcommands: map[string]bool{}}
	if !cfg.ReadOnly && len(cfg.Allow) == 0 && len(cfg.Deny) == 0 {
		u.unrestricted = true
		return u
	}
	u.allowed = make([]uint64, (len(t.all)+63)/64)
	for _, c := range t.all {
		ok := (!cfg.ReadOnly || !c.write) && (len(cfg.Allow) == 0 || c.inRules(cfg.Allow)) && !c.inRules(cfg.Deny)
		if ok {
			u.allowed[c.id/64] |= 1 << (c.id % 64)
		}
		if c.spec == nil {
			continue
		}
		for _, sub := range c.spec.Sub {
			if slices.Contains(cfg.Allow, sub.Name) {
				u.subcommands[sub.Name] = true
			}
			if slices.Contains(cfg.Deny, sub.Name) {
				u.subcommands[sub.Name] = false
			}
		}
	}
	return u
}

// inRules reports whether a rule "@category" or "command" covers the command.
func (c *command) inRules(rules []string) bool {
	for _, rule := range rules {
		if rule == "@all" || rule == c.name {
			return true
		}
		if c.spec == nil || rule[0] != '@' {
			continue
		}
		if slices.Contains(c.spec.Categories, rule) || slices.Contains(c.spec.Categories, rule[1:]) {
			return true
		}
	}
	return false
}

// allows reports whether the user may run r. Logging in is always allowed.
func (u *user) allows(r *request) bool {
	if r.noAuth {
		return true
	}
	if r.spec != nil && len(u.subcommands) > 0 && r.argc() > 1 {
		if sub := r.spec.Subcommand(r.arg(1)); sub != nil {
			if ok, special := u.subcommands[sub.Name]; special {
				return ok
			}
		}
	}
	return u.allowed[r.id/64]&(1<<(r.id%64)) != 0
}

// refuseByACL answers as Redis does.
func (c *client) refuseByACL(r *request) {
	c.f.stats.denied++
	c.localError(r, "NOPERM this user has no permissions to run the '"+r.name+"' command")
	if c.x != nil {
		if t, ok := c.x.mode.(*tx); ok {
			t.spoil()
		}
	}
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
