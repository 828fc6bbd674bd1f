package postgres

import "testing"

// TestFactsOfEqualServers: what a thousand servers report is remembered once.
func TestFactsOfEqualServers(t *testing.T) {
	t.Parallel()
	reported := func(version, zone string) *facts {
		f := &facts{settings: &settings{}}
		f.set("server_version", version)
		f.set(settingName(timeZone), zone)
		f.settings.set(timeZone, zone)
		return f
	}
	first := reported("15.18", "UTC")
	for _, tt := range []struct {
		name  string
		other *facts
		want  bool
	}{
		{"the same", reported("15.18", "UTC"), true},
		{"another version", reported("16.2", "UTC"), false},
		{"another setting", reported("15.18", "Asia/Tokyo"), false},
		{"nothing yet", nil, false},
	} {
		if got := first.same(tt.other); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestPreparedList: the list of a server that has prepared nothing costs nothing,
// and is used like any other.
func TestPreparedList(t *testing.T) {
	t.Parallel()
	all := statements{byKey: map[string]*statement{}}
	one, two := &statement{key: "1", name: "one"}, &statement{key: "2", name: "two"}
	var l preparedList
	if got := l.use(one); got != nil {
		t.Errorf("an empty list has %+v", got)
	}
	l.add(&all, one, 1, false)
	l.add(&all, two, 1, false)
	if got := l.oldest(); got != one {
		t.Errorf("oldest: %s, want one", got.name)
	}
	l.use(one)
	if got := l.oldest(); got != two {
		t.Errorf("oldest after another use of one: %s, want two", got.name)
	}
	l.remove(&all, one)
	l.clear(&all)
	if got := l.use(two); got != nil || len(all.byKey) != 0 {
		t.Errorf("after clear: %+v in the list, %d statements are remembered", got, len(all.byKey))
	}
	l.add(&all, one, 1, false)
	if got := l.use(one); got == nil || got.name != "one" {
		t.Errorf("after clear and add: %+v", got)
	}
}
