package translate

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	secretsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/secrets/v1"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Keys of Secrets, as Kubernetes' own types have them.
const (
	usernameKey    = "username"
	passwordKey    = "password"
	certificateKey = "tls.crt"
	privateKeyKey  = "tls.key"
	authorityKey   = "ca.crt"
)

// credentialsSecret takes the user name, if there is one, and the password of a
// Secret, and says where they are.
func (t *translator) credentialsSecret(ref *mesh.SecretRef) (user, password *secretsv1.SecretKey) {
	key := t.own(ref.Name)
	user = &secretsv1.SecretKey{Name: key.String(), Key: usernameKey}
	password = &secretsv1.SecretKey{Name: key.String(), Key: passwordKey}
	s := t.lookUpSecret(key)
	if s == nil || t.secrets[user.GetName()] {
		return user, password
	}
	values := map[string]*corev3.DataSource{passwordKey: t.required(s, passwordKey)}
	if v, ok := s.Data[usernameKey]; ok {
		values[usernameKey] = inline(v)
	}
	t.addSecret(&tlsv3.Secret{Name: user.GetName(), Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secrets: values}}})
	return user, password
}

// keySecret takes one key of a Secret.
func (t *translator) keySecret(ref *mesh.SecretKeyRef) *secretsv1.SecretKey {
	own, key := t.own(ref.Name), cmp.Or(ref.Key, passwordKey)
	name := own.String() + ":key:" + key
	if s := t.lookUpSecret(own); s != nil && !t.secrets[name] {
		t.addSecret(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{
			Secrets: map[string]*corev3.DataSource{key: t.required(s, key)},
		}}})
	}
	return &secretsv1.SecretKey{Name: name, Key: key}
}

// certificateSecret takes the certificate and the private key of a Secret.
func (t *translator) certificateSecret(ref *mesh.SecretRef) (name string) {
	key := t.own(ref.Name)
	name = key.String() + ":tls"
	s := t.lookUpSecret(key)
	if s == nil || t.secrets[name] {
		return name
	}
	chain, private := t.required(s, certificateKey), t.required(s, privateKeyKey)
	if len(chain.GetInlineBytes()) > 0 && len(private.GetInlineBytes()) > 0 {
		if _, err := tls.X509KeyPair(chain.GetInlineBytes(), private.GetInlineBytes()); err != nil {
			t.fail(ReasonSecretInvalid, "Secret %v: %s and %s are of no use together: %v", key, certificateKey, privateKeyKey, err)
		}
	}
	t.addSecret(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{
		TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: chain, PrivateKey: private},
	}})
	return name
}

// authoritySecret takes the authorities of a Secret or a ConfigMap.
func (t *translator) authoritySecret(ca *mesh.CASource) (name string) {
	if ca.Secret != nil {
		key := t.own(ca.Secret.Name)
		name = key.String() + ":ca"
		if s := t.lookUpSecret(key); s != nil && !t.secrets[name] {
			t.addAuthorities(name, "Secret", ReasonSecretInvalid, s, authorityKey)
		}
		return name
	}
	key, entry := t.own(ca.ConfigMap.Name), cmp.Or(ca.ConfigMap.Key, authorityKey)
	name = key.String() + ":configmap:" + entry
	var m *inventory.Secret
	if t.world != nil {
		m = t.world.ConfigMap(key)
	}
	switch {
	case m == nil:
		t.fail(ReasonConfigMapNotFound, "there is no ConfigMap %v", key)
	case !t.secrets[name]:
		t.addAuthorities(name, "ConfigMap", ReasonConfigMapInvalid, m, entry)
	}
	return name
}

func (t *translator) addAuthorities(name, kind, reason string, from *inventory.Secret, key string) {
	value := from.Data[key]
	switch {
	case len(value) == 0:
		t.fail(reason, "%s %v: the key %s is missing or empty", kind, from.Key, key)
	case !holdsCertificates(value):
		t.fail(reason, "%s %v: the key %s does not hold PEM certificates", kind, from.Key, key)
	}
	t.addSecret(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(value)},
	}})
}

// holdsCertificates reports whether a text has one PEM certificate at least, and
// each that it has can be read.
func holdsCertificates(text []byte) bool {
	found := false
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return found
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		found = true
	}
}

// own names a thing of the object's own namespace: there is no other to name.
func (t *translator) own(name string) inventory.Key {
	return inventory.Key{Namespace: t.meta.Namespace, Name: name}
}

func (t *translator) lookUpSecret(key inventory.Key) *inventory.Secret {
	var s *inventory.Secret
	if t.world != nil {
		s = t.world.Secret(key)
	}
	if s == nil {
		t.fail(ReasonSecretNotFound, "there is no Secret %v", key)
	}
	return s
}

// required gives the value of a key that a Secret must have.
func (t *translator) required(s *inventory.Secret, key string) *corev3.DataSource {
	if len(s.Data[key]) == 0 {
		t.fail(ReasonSecretInvalid, "Secret %v: the key %s is missing or empty", s.Key, key)
	}
	return inline(s.Data[key])
}

func (t *translator) addSecret(s *tlsv3.Secret) {
	t.secrets[s.GetName()] = true
	t.set.Secrets = append(t.set.Secrets, s)
}

func inline(value []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: value}}
}
