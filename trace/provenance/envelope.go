package provenance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
)

// PayloadType is the media type of an in-toto statement in an envelope.
const PayloadType = "application/vnd.in-toto+json"

// PublicFile is the name of the installation's public key in its folder of keys.
const PublicFile = "provenance.pub"

const privateFile = "provenance.pem"

// Key signs the installation's statements.
type Key struct{ private ed25519.PrivateKey }

// OpenKey reads the installation's key from its folder of keys, making one the
// first time.
func OpenKey(dir string) (*Key, error) {
	name := filepath.Join(dir, privateFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(dir)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s is not a key in PEM", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an Ed25519 key", name)
	}
	return &Key{private}, nil
}

func makeKey(dir string) (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &Key{private}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	public, err := k.PublicPEM()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := state.WriteFile(filepath.Join(dir, PublicFile), public, 0o644); err != nil {
		return nil, err
	}
	return k, state.WriteFile(filepath.Join(dir, privateFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// PublicPEM is the key that others verify with.
func (k *Key) PublicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

// KeyID names the key: the SHA-256 of its public half.
func (k *Key) KeyID() (string, error) {
	return keyID(k.private.Public().(ed25519.PublicKey)), nil
}

func keyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:])
}

// Sign is dsse.Signer's.
func (k *Key) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(k.private, data), nil
}

// Seal signs a statement and puts it into an envelope.
func (k *Key) Seal(ctx context.Context, s *Statement) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	signer, err := dsse.NewEnvelopeSigner(k)
	if err != nil {
		return nil, err
	}
	e, err := signer.SignPayload(ctx, PayloadType, body)
	if err != nil {
		return nil, err
	}
	return written(e)
}

// written is an envelope as it stands in a file. There is one way to write it,
// so that any change of the file is told.
func written(e *dsse.Envelope) ([]byte, error) {
	b, err := json.MarshalIndent(e, "", "  ")
	return append(b, '\n'), err
}

// verifier is the public half.
type verifier struct{ public ed25519.PublicKey }

func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v.public, data, sig) {
		return errors.New("the signature is not this key's")
	}
	return nil
}

func (v verifier) KeyID() (string, error)   { return keyID(v.public), nil }
func (v verifier) Public() crypto.PublicKey { return v.public }

// Verify returns the statement of an envelope that was signed with a key in
// PEM. It needs no server, and fails on any change of the file.
func Verify(ctx context.Context, file, publicPEM []byte) (*Statement, error) {
	block, _ := pem.Decode(publicPEM)
	if block == nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the key is not a public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the key cannot be read: %v", err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the key is not an Ed25519 key")
	}
	bad := func(why string) error {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the provenance does not verify: %s", why)
	}
	e := &dsse.Envelope{}
	if err := json.Unmarshal(file, e); err != nil {
		return nil, bad("it is not an envelope: " + err.Error())
	}
	check, err := dsse.NewEnvelopeVerifier(verifier{public})
	if err != nil {
		return nil, err
	}
	_, body, err := check.VerifyAndDecode(ctx, e)
	if err != nil {
		return nil, bad("no signature is of the key " + keyID(public))
	}
	same, err := written(e)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(same, file) || !canonical(e, body) || e.PayloadType != PayloadType {
		return nil, bad("the file was changed after it was written")
	}
	s := &Statement{}
	if err := json.Unmarshal(body, s); err != nil || s.Type != StatementType {
		return nil, bad("it holds no in-toto statement")
	}
	if len(s.Subject) == 0 {
		return nil, bad("it is about nothing")
	}
	return s, nil
}

// canonical refuses other spellings of the same bytes in base64, and further
// signatures.
func canonical(e *dsse.Envelope, body []byte) bool {
	if len(e.Signatures) != 1 || e.Payload != base64.StdEncoding.EncodeToString(body) {
		return false
	}
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	return err == nil && e.Signatures[0].Sig == base64.StdEncoding.EncodeToString(sig) && e.Signatures[0].KeyID != ""
}
