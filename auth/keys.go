package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"github.com/wherry-ml/wherry/state"
)

// keys holds the key that signs our tokens. It is loaded, or made, at its first
// use: making one takes a while, and many a server never signs.
type keys struct {
	load func() (*jose.JSONWebKey, error)
}

// signingBits is the size of the RSA key; clients of Entra expect RS256.
const signingBits = 2048

func openKeys(dir string) *keys {
	return &keys{load: sync.OnceValues(func() (*jose.JSONWebKey, error) {
		key, err := signingKey(filepath.Join(dir, "signing.pem"))
		if err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
		jwk := &jose.JSONWebKey{Key: key, Algorithm: string(jose.RS256), Use: "sig"}
		print, err := jwk.Thumbprint(crypto.SHA256)
		if err != nil {
			return nil, err
		}
		jwk.KeyID = base64.RawURLEncoding.EncodeToString(print)
		return jwk, nil
	})}
}

func signingKey(name string) (*rsa.PrivateKey, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return newSigningKey(name)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s is not a PEM file: delete it to make another", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an RSA key", name)
	}
	return private, nil
}

func newSigningKey(name string) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, signingBits)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, state.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
