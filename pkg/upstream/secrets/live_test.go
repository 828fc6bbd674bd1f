package secrets_test

import (
	"errors"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/tlsclient"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

var _ tlsclient.Source = (*secrets.Live)(nil)

func store(values map[string]string) *secrets.Store {
	var list []*resource.Secret
	for name, value := range values {
		list = append(list, &resource.Secret{
			Name: name, Generic: map[string]resource.DataSource{"": {Inline: []byte(value)}},
		})
	}
	return secrets.NewStore(list)
}

// TestLive follows values through a change: the old one holds until the new one
// is accepted, and what only one of the two has is known meanwhile.
func TestLive(t *testing.T) {
	t.Parallel()
	l := &secrets.Live{}
	check := func(when string, want map[string]string) {
		t.Helper()
		for _, name := range []string{"both", "old", "new"} {
			got, err := l.Secret(name)
			if got != want[name] || (err != nil) != (want[name] == "") {
				t.Errorf("%s: %s is %q, %v, want %q", when, name, got, err, want[name])
			}
			if err != nil && !errors.Is(err, secrets.ErrUnknown) {
				t.Errorf("%s: %s: %v", when, name, err)
			}
			if byKey, _ := l.Value(resource.SecretKey{Name: name}); byKey != want[name] {
				t.Errorf("%s: value of %s is %q", when, name, byKey)
			}
		}
	}
	check("empty", nil)
	first, second := store(map[string]string{"both": "1", "old": "1"}), store(map[string]string{"both": "2", "new": "2"})
	l.Offer(first)
	check("offered for the first time", map[string]string{"both": "1", "old": "1"})
	l.Accept()
	l.Offer(second)
	check("offered", map[string]string{"both": "1", "old": "1", "new": "2"})
	l.Withdraw()
	check("withdrawn", map[string]string{"both": "1", "old": "1"})
	l.Offer(second)
	l.Accept()
	check("accepted", map[string]string{"both": "2", "old": "1", "new": "2"})
	l.Forget()
	check("forgotten", map[string]string{"both": "2", "new": "2"})
	if l.Current() != second {
		t.Error("another store is current")
	}
}
