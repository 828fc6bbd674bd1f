package postgres

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// errDeriving says that keys are not there yet: deriving them takes a
// millisecond, which an event loop does not have.
var errDeriving = errors.New("keys are being derived")

// maxKeys bounds the cache: one entry for each user of each server, as the salt
// is the server's for the user.
const maxKeys = 256

// keyID is a digest of what keys are derived from.
type keyID [sha256.Size]byte

func keyOf(password string, salt []byte, iterations int) keyID {
	h := sha256.New()
	var n [16]byte
	binary.BigEndian.PutUint64(n[:], uint64(iterations))
	binary.BigEndian.PutUint64(n[8:], uint64(len(salt)))
	h.Write(n[:])
	h.Write(salt)
	h.Write([]byte(password))
	return keyID(h.Sum(nil))
}

// keyCache keeps derived SCRAM keys. It is for all loops.
type keyCache struct {
	mu      sync.Mutex // guards below
	keys    map[keyID]pgproto.SCRAMKeys
	pending map[keyID][]func(error)
}

func newKeyCache() *keyCache {
	return &keyCache{keys: map[keyID]pgproto.SCRAMKeys{}, pending: map[keyID][]func(error){}}
}

func (k *keyCache) get(id keyID) (pgproto.SCRAMKeys, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys, ok := k.keys[id]
	return keys, ok
}

// derive has keys derived in a goroutine of its own, once for all who want the
// same, and calls then from there.
func (k *keyCache) derive(id keyID, password string, salt []byte, iterations int, then func(error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pending[id] = append(k.pending[id], then)
	if len(k.pending[id]) > 1 {
		return
	}
	go func() {
		keys, err := pgproto.DeriveSCRAM(password, salt, iterations)
		k.mu.Lock()
		if err == nil {
			k.putLocked(id, keys)
		}
		list := k.pending[id]
		delete(k.pending, id)
		k.mu.Unlock()
		for _, then := range list {
			then(err)
		}
	}()
}

func (k *keyCache) putLocked(id keyID, keys pgproto.SCRAMKeys) {
	if len(k.keys) >= maxKeys {
		for old := range k.keys { // any: the map's order is random
			delete(k.keys, old)
			break
		}
	}
	k.keys[id] = keys
}

// verifier is what apps are checked against by SCRAM, and the password that it
// was made of.
type verifier struct {
	password string
	text     string
}

// verifierFor returns the verifier of a password, or "" when it has to be made
// first: then is called, from another goroutine, when it is there.
func (f *Filter) verifierFor(password string, then func()) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.verifier.text != "" && f.verifier.password == password {
		return f.verifier.text
	}
	go func() {
		const rounds = 4096
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails
		if keys, err := pgproto.DeriveSCRAM(password, salt, rounds); err == nil {
			v := keys.Verifier(salt, rounds)
			f.mu.Lock()
			f.verifier = verifier{password, v.String()}
			f.mu.Unlock()
		}
		then()
	}()
	return ""
}

// nonce is what SCRAM wants: 24 random printable characters.
func nonce() string {
	var b [18]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}
