package trust

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"
)

// certificateLife is that of the serving certificate; it is replaced when two
// thirds are over.
const certificateLife = 24 * time.Hour

// lookAgain bounds the time until what another replica did to the authority is
// noticed.
const lookAgain = 10 * time.Minute

// Options of an Issuer.
type Options struct {
	Store Store
	// Names are the DNS names and IP addresses under which proxies reach the
	// control plane.
	Names []string
	Log   *slog.Logger
	// Now is the clock; nil: the system's.
	Now func() time.Time
}

// Issuer has the certificate that the xDS port shows.
type Issuer struct {
	opts Options

	certificate atomic.Pointer[tls.Certificate]
	bundle      atomic.Pointer[[]byte]
}

// Open loads the authority, or makes it, publishes it and issues the first
// certificate.
func Open(ctx context.Context, o Options) (*Issuer, error) {
	if len(o.Names) == 0 {
		return nil, errors.New("a certificate needs a name: give a DNS name or address of the control plane")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &Issuer{opts: o}
	if err := i.Renew(ctx); err != nil {
		return nil, err
	}
	return i, nil
}

// Run renews what has to be renewed until ctx is done. A failure leaves what is
// there, which has a third of its life to go, and is tried again.
func (i *Issuer) Run(ctx context.Context) {
	for {
		timer := time.NewTimer(i.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := i.Renew(ctx); err != nil && ctx.Err() == nil {
			i.opts.Log.Error("renewing the certificate, what is there stays", "error", err, "expires", i.certificate.Load().Leaf.NotAfter)
		}
	}
}

// pause until the next look.
func (i *Issuer) pause() time.Duration {
	return min(lookAgain, max(time.Second, i.due().Sub(i.opts.Now())))
}

// due is when two thirds of the certificate's life are over.
func (i *Issuer) due() time.Time {
	leaf := i.certificate.Load().Leaf
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)
}

// saveAttempts bounds how often replicas that write at the same time begin
// anew.
const saveAttempts = 5

// Renew looks at what is kept, takes the steps whose time has come, publishes
// and issues. It is for Run; tests call it with a clock of their own.
func (i *Issuer) Renew(ctx context.Context) error {
	for range saveAttempts {
		kept, err := i.keep(ctx)
		if errors.Is(err, fs.ErrExist) {
			continue // another replica was first: look what it did
		}
		if err != nil {
			return err
		}
		return i.use(ctx, kept)
	}
	return fmt.Errorf("keeping the authority: %d others were faster", saveAttempts)
}

// keep gives the authorities as they should be now, after saving them.
func (i *Issuer) keep(ctx context.Context) (authorities, error) {
	var kept authorities
	data, version, err := i.opts.Store.Load(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		version = ""
	case err != nil:
		return authorities{}, fmt.Errorf("loading the authority: %w", err)
	default:
		if kept, err = decodeAuthorities(data); err != nil {
			// A new authority in its place would cut off every proxy.
			return authorities{}, fmt.Errorf("loading the authority: %w; mend it, or remove it and let proxies trust a new one", err)
		}
	}
	wanted, changed, err := kept.advance(i.opts.Now())
	if err != nil || !changed {
		return kept, err
	}
	if data, err = wanted.encode(); err != nil {
		return authorities{}, err
	}
	if err := i.opts.Store.Save(ctx, data, version); err != nil {
		return authorities{}, fmt.Errorf("saving the authority: %w", err)
	}
	i.opts.Log.Info("authority saved", "signs_until", wanted.active.cert.NotAfter, "next", wanted.next != nil, "previous", wanted.previous != nil)
	return wanted, nil
}

// use publishes authorities that are new, and issues a certificate if it is
// time or another authority signs.
func (i *Issuer) use(ctx context.Context, kept authorities) error {
	bundle := kept.bundle()
	if old := i.bundle.Load(); old == nil || !bytes.Equal(*old, bundle) {
		if err := i.opts.Store.Publish(ctx, bundle); err != nil {
			return fmt.Errorf("publishing the authority: %w", err)
		}
		i.bundle.Store(&bundle)
	}
	old := i.certificate.Load()
	if old != nil && i.opts.Now().Before(i.due()) && old.Leaf.CheckSignatureFrom(kept.active.cert) == nil {
		return nil
	}
	cert, key, err := kept.active.issue(i.opts.Names, i.opts.Now(), certificateLife)
	if err != nil {
		return err
	}
	i.certificate.Store(&tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert})
	i.opts.Log.Info("certificate issued", "names", i.opts.Names, "expires", cert.NotAfter)
	return nil
}

// Bundle is what proxies are to trust, PEM.
func (i *Issuer) Bundle() []byte { return bytes.Clone(*i.bundle.Load()) }

// Certificate is the one that is shown now.
func (i *Issuer) Certificate() *x509.Certificate { return i.certificate.Load().Leaf }

// WebhookConfig makes the TLS settings of the port that the API server calls.
func (i *Issuer) WebhookConfig() *tls.Config {
	config := i.ServerConfig(nil)
	config.NextProtos = []string{"h2", "http/1.1"}
	return config
}

// ServerConfig makes the TLS settings of the xDS port. clients gives the
// authorities of client certificates at the time of a connection; nil: none
// are asked for. Connections that live keep the certificate they began with.
func (i *Issuer) ServerConfig(clients func() *x509.CertPool) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return i.certificate.Load(), nil
		},
	}
	if clients == nil {
		return config
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool := clients()
		if pool == nil {
			return nil, nil //nolint:nilnil // crypto/tls: the settings as they are
		}
		asking := config.Clone()
		asking.GetConfigForClient = nil
		asking.ClientCAs, asking.ClientAuth = pool, tls.VerifyClientCertIfGiven
		return asking, nil
	}
	return config
}
