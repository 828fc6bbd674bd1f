package database

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// asked is a source that notes what it is asked to get anew.
type asked struct {
	password string
	names    []string
}

func (a *asked) Secret(name string) (string, error) {
	if name == "shop/orders/password" {
		return a.password, nil
	}
	return "u", nil
}

func (a *asked) Refetch(name string) { a.names = append(a.names, name) }

// TestRotation: the wait is counted from the first refusal of the same
// credentials, when the source is asked once; it begins anew for others, and after
// they were accepted.
func TestRotation(t *testing.T) {
	t.Parallel()
	start := time.Now()
	old, next := Credentials{"u", "old"}, Credentials{"u", "new"}
	source := &asked{password: "old"}
	r := NewRotation(5*time.Second, source, &resource.DatabaseLogin{
		Username: resource.SecretKey{Name: "user"}, Password: resource.SecretKey{Name: "shop/orders", Key: "password"},
	})
	check := func(c Credentials, now, want time.Duration, wantAsked int) {
		t.Helper()
		source.names = nil
		if left := r.Refused(c, start.Add(now)); left != want {
			t.Errorf("%s after %s: %s left, want %s", c.Password, now, left, want)
		}
		if diff := cmp.Diff([]string{"user", "shop/orders"}[:wantAsked], source.names, cmp.Transformer("", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("%s after %s: %s", c.Password, now, diff)
		}
	}
	check(old, 0, 5*time.Second, 2)
	check(old, 2*time.Second, 3*time.Second, 0)
	if r.other(old) != nil {
		t.Error("there are others than those that the source has")
	}
	source.password = "new"
	if r.other(old) == nil {
		t.Error("the new password is not seen")
	}
	check(old, time.Minute, 5*time.Second-time.Minute, 0)
	check(next, time.Minute, 5*time.Second, 2)
	r.Accepted(old, "a")
	check(next, time.Minute+time.Second, 4*time.Second, 0)
	r.Accepted(next, "a")
	check(next, time.Hour, 5*time.Second, 2)
}

// TestRefusedIsTriedByOne: with refused credentials one session tries from time to
// time, until they are accepted; after the limit whoever has not been refused itself.
func TestRefusedIsTriedByOne(t *testing.T) {
	t.Parallel()
	start, c := time.Now(), Credentials{"u", "p"}
	r := NewRotation(5*time.Second, &asked{}, &resource.DatabaseLogin{})
	check := func(what string, after time.Duration, itself, want bool) {
		t.Helper()
		if got := r.Try(c, itself, start.Add(after)); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	check("before it is refused", 0, false, true)
	r.Refused(c, start)
	check("it may have been for another reason", 0, false, true)
	check("but not of the one that was refused", 0, true, false)
	r.WrongPassword(c, "a")
	check("for its password", 0, false, false)
	check("a second later", time.Second, true, true)
	check("and another", time.Second, false, false)
	if !r.Try(Credentials{"u", "other"}, true, start.Add(time.Second)) {
		t.Error("others may not be tried")
	}
	check("simply wrong", 6*time.Second, false, true)
	check("simply wrong, and it knows", 6*time.Second, true, false)
	r.Accepted(c, "a")
	check("accepted", time.Second, true, true)
}

// TestRefusedByOneOfTwo: a server that refuses what another accepts, as a standby that is not told of a user yet, keeps nobody from the other.
func TestRefusedByOneOfTwo(t *testing.T) {
	t.Parallel()
	start, old, c := time.Now(), Credentials{"u", "old"}, Credentials{"u", "p"}
	r := NewRotation(5*time.Second, &asked{}, &resource.DatabaseLogin{})
	refuse := func(at string) {
		r.Refused(c, start)
		r.WrongPassword(c, at)
	}
	check := func(what string, want bool) {
		t.Helper()
		if got := r.Try(c, false, start); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	r.Accepted(old, "a")
	refuse("b")
	check("others were accepted elsewhere", false)
	r.Accepted(c, "a")
	refuse("b")
	check("the same were accepted elsewhere", true)
	refuse("a")
	check("neither accepts them", false)
}

// TestAwait: other credentials that are there are taken at once and nobody is asked for them; those that come later when they come; and after the
// time is over, or at credentials that have been refused for long, there are none.
func TestAwait(t *testing.T) {
	t.Parallel()
	loop, source := netloop.NewTestLoop(), &asked{password: "old"}
	r := NewRotation(5*time.Second, source, &resource.DatabaseLogin{Username: resource.SecretKey{Name: "user"}, Password: resource.SecretKey{Name: "shop/orders", Key: "password"}})
	var got []string
	await := func(password string, most time.Duration) *Awaiting {
		return r.Await(loop, Credentials{"u", password}, most, func(c *Credentials) {
			if c == nil {
				c = &Credentials{Password: "none"}
			}
			got = append(got, c.Password)
		})
	}
	check := func(what string, after time.Duration, want ...string) {
		t.Helper()
		loop.Advance(after)
		loop.Turn()
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		got = nil
	}
	await("older", time.Minute)
	check("they are there", 0, "old")
	if len(source.names) != 0 {
		t.Errorf("the source is asked for %q", source.names)
	}
	await("old", time.Minute)
	await("old", 300*time.Millisecond)
	left := await("old", time.Minute)
	check("they are not there", LookEvery)
	check("one has waited long enough", 300*time.Millisecond, "none")
	left.Stop()
	source.password = "new"
	check("they have come", LookEvery, "new")
	if len(source.names) != 2 {
		t.Errorf("the source is asked for %q", source.names)
	}
	await("new", time.Minute)
	check("they do not come", 6*time.Second, "none")
	await("new", time.Minute)
	check("they are still refused", LookEvery)
	r.Accepted(Credentials{"u", "new"}, "a")
	check("the same are accepted", LookEvery, "new")
	var none *Awaiting
	none.Stop()
}
