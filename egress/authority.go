package egress

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/wherry-ml/wherry/state"
)

// authority is the installation's own certificate authority. Only those who
// are given its certificate trust it; its key never leaves the keys folder.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// leafKey is shared by all leaves: only the signature is per host.
	leafKey *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

const (
	authorityYears = 5
	leafDays       = 90
	// maxLeaves bounds the memory that invented names can take.
	maxLeaves = 1024
)

func openAuthority(dir string) (*authority, error) {
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{leafKey: leafKey, leaves: map[string]*tls.Certificate{}}
	name := filepath.Join(dir, "authority.pem")
	b, err := os.ReadFile(name)
	if err == nil {
		if err := a.parse(b); err != nil {
			return nil, err
		}
		if time.Until(a.cert.NotAfter) > leafDays*24*time.Hour {
			return a, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := a.generate(); err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	b = append(a.pem(), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	return a, state.WriteFile(name, b, 0o600)
}

func (a *authority) parse(b []byte) (err error) {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			a.cert, err = x509.ParseCertificate(block.Bytes)
		case "EC PRIVATE KEY":
			a.key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return err
		}
	}
	if a.cert == nil || a.key == nil {
		return errors.New("authority.pem has no certificate or no key: delete it to make another")
	}
	return nil
}

func (a *authority) generate() (err error) {
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "wherry on this machine, " + now.Format(time.DateTime), Organization: []string{"wherry"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(authorityYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &a.key.PublicKey, a.key)
	if err != nil {
		return err
	}
	a.cert, err = x509.ParseCertificate(der)
	return err
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// leaf returns a certificate for a host name or address.
func (a *authority) leaf(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.leaves[host]; l != nil && time.Until(l.Leaf.NotAfter) > 24*time.Hour {
		return l, nil
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "wherry"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, leafDays),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &a.leafKey.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	l := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.leafKey, Leaf: cert}
	a.leaves[host] = l
	return l, nil
}

// systemBundles are where the machine's authorities are, by distribution.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

// writeTrust writes bundle.pem (the machine's authorities and ours) and the
// same as truststore.p12 for a JVM, if they have changed: the second takes a
// while to make.
func (a *authority) writeTrust(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	bundle := append(a.systemBundle(), a.pem()...)
	name, store := filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "truststore.p12")
	have, _ := os.ReadFile(name)
	if _, err := os.Stat(store); err == nil && bytes.Equal(have, bundle) {
		return nil
	}
	var entries []pkcs12.TrustStoreEntry
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil { // what Go cannot read, no client of ours needs
			entries = append(entries, pkcs12.TrustStoreEntry{Cert: cert, FriendlyName: cert.Subject.String() + " " + cert.SerialNumber.Text(16)})
		}
	}
	p12, err := pkcs12.Modern2023.EncodeTrustStoreEntries(entries, TrustPassword)
	if err != nil {
		return err
	}
	if err := state.WriteFile(store, p12, 0o644); err != nil {
		return err
	}
	return state.WriteFile(name, bundle, 0o644)
}

// systemBundle reads the machine's authorities; none is no error: then only
// our own names can be reached.
func (a *authority) systemBundle() []byte {
	for _, name := range append([]string{os.Getenv("SSL_CERT_FILE")}, systemBundles...) {
		b, err := os.ReadFile(name)
		// A shell that uses our proxy names our own bundle.
		if err == nil && bytes.Contains(b, []byte("BEGIN CERTIFICATE")) && !bytes.Contains(b, a.pem()) {
			return append(bytes.TrimRight(b, "\n"), '\n')
		}
	}
	return nil
}
