package database

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	if r.Others(old) {
		t.Error("there are others than those that the source has")
	}
	source.password = "new"
	if !r.Others(old) {
		t.Error("the new password is not seen")
	}
	check(old, time.Minute, 5*time.Second-time.Minute, 0)
	check(next, time.Minute, 5*time.Second, 2)
	r.Accepted(old)
	check(next, time.Minute+time.Second, 4*time.Second, 0)
	r.Accepted(next)
	check(next, time.Hour, 5*time.Second, 2)
}
