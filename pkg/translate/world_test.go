package translate_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// testTime is when all that a world holds was observed.
var testTime = time.Time{}

// world is what a case says of its surroundings.
type world struct {
	Services            []*inventory.Service
	Leases              []*inventory.Lease
	Secrets, ConfigMaps []struct {
		inventory.Key
		Type string
		Data map[string]string
	}
}

// readWorld makes an inventory of the file world of a case; of none, an empty one.
// The values $certificate and $key stand for a pair, $other for another key.
func readWorld(t *testing.T, archive *txtar.Archive) *inventory.Store {
	t.Helper()
	var w world
	for _, f := range archive.Files {
		if f.Name == "world" {
			if err := json.Unmarshal(f.Data, &w); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w.store()
}

// store makes an inventory of a world.
func (w *world) store() *inventory.Store {
	store := inventory.NewStore()
	for _, s := range w.Services {
		if s == nil {
			continue
		}
		inventory.Put(store, inventory.Ref{Kind: inventory.KindService, Key: s.Key}, s, testTime)
	}
	for _, l := range w.Leases {
		inventory.Put(store, inventory.Ref{Kind: inventory.KindLease, Key: l.Key}, l, testTime)
	}
	for _, s := range w.Secrets {
		inventory.Put(store, inventory.Ref{Kind: inventory.KindSecret, Key: s.Key},
			&inventory.Secret{Key: s.Key, Type: s.Type, Data: values(s.Data)}, testTime)
	}
	for _, m := range w.ConfigMaps {
		inventory.Put(store, inventory.Ref{Kind: inventory.KindConfigMap, Key: m.Key},
			&inventory.Secret{Key: m.Key, Data: values(m.Data)}, testTime)
	}
	return store
}

func values(in map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(in))
	for key, value := range in {
		if text, ok := material()[value]; ok {
			value = text
		}
		out[key] = []byte(value)
	}
	return out
}

// material is what stands for the names of PEM texts in cases. It is the same in
// every run.
func material() map[string]string {
	seed := func(b byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(b), ed25519.SeedSize)))
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), DNSNames: []string{"redis.shop.svc"},
	}
	certificate, err := x509.CreateCertificate(nil, template, template, seed(1).Public(), seed(1))
	if err != nil {
		panic(err)
	}
	out := map[string]string{"$certificate": text("CERTIFICATE", certificate)}
	for name, key := range map[string]ed25519.PrivateKey{"$key": seed(1), "$other": seed(2)} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err)
		}
		out[name] = text("PRIVATE KEY", der)
	}
	return out
}

func text(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// withoutMaterial puts the names back in the place of the texts.
func withoutMaterial(resources string) string {
	for name, text := range material() {
		resources = strings.ReplaceAll(resources, base64.StdEncoding.EncodeToString([]byte(text)), name)
	}
	return resources
}
