package trust

import "context"

// Keys of what a Store keeps. Values are PEM.
const (
	keyCert     = "tls.crt"      // of the authority that signs
	keyKey      = "tls.key"      // its private key
	keyNextCert = "next.crt"     // of the one that will sign next: trusted already
	keyNextKey  = "next.key"     // its private key
	keyPrevious = "previous.crt" // of the one that signed before: still trusted
)

// Store keeps an authority where the platform says: a Secret, or a folder.
type Store interface {
	// Load gives what is kept, by key, and a version of it; fs.ErrNotExist if
	// nothing is.
	Load(ctx context.Context) (data map[string][]byte, version string, err error)
	// Save replaces what is kept if its version is still the given one ("":
	// nothing is kept yet), else it gives fs.ErrExist and the caller loads again.
	// Nobody but the control plane may read what is saved.
	Save(ctx context.Context, data map[string][]byte, version string) error
	// Publish puts the certificates of the authorities to be trusted (PEM, the
	// key is ca.crt) where proxies find them. It is called at the start and after
	// each change, by every replica.
	Publish(ctx context.Context, bundle []byte) error
}
