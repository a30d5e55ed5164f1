package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	blobsdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/file"
	lakesdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/service"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	accounts "github.com/wherry-ml/wherry/store/storage"
)

// endpoint starts the service with the account "lake1" and returns its URL in
// path style, and the account's key. The bearer tokens "reader" and "nobody"
// stand for principals with and without grants: to read all, and to write to
// the container "own". The issuer has its own tests.
func endpoint(t *testing.T) (url, key string, dir state.Dir) {
	t.Helper()
	dir = state.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), "sqlite://"+dir.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := auth.New(db).Bootstrap(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	bearer := func(_ context.Context, token string) (wherry.Identity, error) {
		switch token {
		case "reader":
			return wherry.Identity{Principal: wherry.Principal{ID: 1, UserName: "reader"}}, nil
		case "nobody":
			return wherry.Identity{Principal: wherry.Principal{ID: 99, UserName: "nobody"}}, nil
		}
		return wherry.Identity{}, wherry.Errorf(wherry.CodeUnauthenticated, "the token is not valid here")
	}
	s, err := New(db, dir, bearer)
	if err != nil {
		t.Fatal(err)
	}
	ctx := wherry.WithIdentity(t.Context(), wherry.Identity{})
	if _, err := s.createAccount(ctx, &accountIn{Name: "lake1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Grant(ctx, "lake1", "", 1, false); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Grant(ctx, "lake1", "own", 1, true); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return web.URL + "/lake1", s.Key(accounts.Account{Name: "lake1", KeyGeneration: 1}), dir
}

func TestDatalakePython(t *testing.T) {
	env := environment.ForTest(t)
	url, key, _ := endpoint(t)
	out, err := exec.Command(env.Python, "testdata/datalake.py", url, key).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestDatalakeGo(t *testing.T) {
	url, key, _ := endpoint(t)
	ctx := t.Context()
	cred, err := azdatalake.NewSharedKeyCredential("lake1", key)
	must(t, err)
	svc, err := lakesdk.NewClientWithSharedKeyCredential(url, cred, nil)
	must(t, err)
	fs := svc.NewFileSystemClient("raw")
	_, err = fs.Create(ctx, nil)
	must(t, err)
	f := fs.NewFileClient("d/x.bin")
	_, err = f.Create(ctx, nil)
	must(t, err)
	data := make([]byte, 5<<20)
	_, _ = rand.Read(data)
	must(t, f.UploadBuffer(ctx, data, &file.UploadBufferOptions{ChunkSize: 1 << 20}))
	got, err := f.DownloadStream(ctx, nil)
	must(t, err)
	all, err := io.ReadAll(got.Body)
	must(t, err)
	if !bytes.Equal(all, data) {
		t.Fatal("downloaded bytes differ")
	}
	before, err := f.GetProperties(ctx, nil)
	must(t, err)
	unquoted := azcore.ETag(strings.Trim(string(*before.ETag), `"`)) // as ABFS sends what it read in a list
	_, err = f.DownloadStream(ctx, &file.DownloadStreamOptions{AccessConditions: &file.AccessConditions{ModifiedAccessConditions: &file.ModifiedAccessConditions{IfMatch: &unquoted}}})
	must(t, err)
	_, err = f.Rename(ctx, "d/y.bin", nil)
	must(t, err)
	after, err := fs.NewFileClient("d/y.bin").GetProperties(ctx, nil)
	must(t, err)
	if *before.ETag != *after.ETag {
		t.Errorf("ETag %s became %s by a rename", *before.ETag, *after.ETag)
	}
	_, err = fs.NewDirectoryClient("d").SetAccessControlRecursive(ctx, "user::rwx,group::r-x,other::---", nil)
	must(t, err)
	_, err = fs.NewDirectoryClient("d").Delete(ctx, nil)
	must(t, err)
}

func TestBlobGo(t *testing.T) {
	url, key, _ := endpoint(t)
	ctx := t.Context()
	cred, err := blobsdk.NewSharedKeyCredential("lake1", key)
	must(t, err)
	c, err := blobsdk.NewClientWithSharedKeyCredential(url, cred, nil)
	must(t, err)
	_, err = c.CreateContainer(ctx, "box", nil)
	must(t, err)
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	_, err = c.UploadBuffer(ctx, "box", "t/blocks", data, &blockblob.UploadBufferOptions{BlockSize: 1 << 20})
	must(t, err)
	back := make([]byte, len(data))
	_, err = c.DownloadBuffer(ctx, "box", "t/blocks", back, nil)
	must(t, err)
	if !bytes.Equal(back, data) {
		t.Fatal("downloaded bytes differ")
	}
	once := &blockblob.UploadBufferOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}}
	_, err = c.UploadBuffer(ctx, "box", "t/0.json", []byte("first"), once)
	must(t, err)
	_, err = c.UploadBuffer(ctx, "box", "t/0.json", []byte("second"), once)
	if status(err) != http.StatusConflict {
		t.Errorf("a second put with If-None-Match: * gave %v", err)
	}
	_, err = c.ServiceClient().GetProperties(ctx, nil)
	must(t, err)
	if _, err := c.ServiceClient().SetProperties(ctx, nil); status(err) != http.StatusNotImplemented {
		t.Errorf("a change of the service's properties gave %v", err)
	}
	pager := c.NewListBlobsFlatPager("box", nil)
	page, err := pager.NextPage(ctx)
	must(t, err)
	if n := len(page.Segment.BlobItems); n != 3 { // the directory t and two files
		t.Errorf("listed %d blobs", n)
	}
}

func status(err error) int {
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return e.StatusCode
	}
	return 0
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call makes a bare request as the reader (who may write nothing).
func call(t *testing.T, method, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	must(t, err)
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("x-ms-error-code")
}

func TestRefused(t *testing.T) {
	url, _, dir := endpoint(t)
	must(t, os.WriteFile(filepath.Join(string(dir), "secret"), []byte("s"), 0o600))
	must(t, os.MkdirAll(filepath.Join(dir.Lake(), "lake1", "raw"), 0o755))
	must(t, os.Symlink("../../..", filepath.Join(dir.Lake(), "lake1", "raw", "out")))
	for _, c := range []struct {
		name, method, path, token string
		status                    int
		code                      string
	}{
		{"no credentials", "GET", "/raw/x", "", 401, "NoAuthenticationInformation"},
		{"wrong token", "GET", "/raw/x", "forged", 401, "InvalidAuthenticationInfo"},
		{"no grant", "GET", "/raw/x", "nobody", 403, "AuthorizationPermissionMismatch"},
		{"reader writes", "PUT", "/raw/x?resource=file", "reader", 403, "AuthorizationPermissionMismatch"},
		{"reader reads", "HEAD", "/raw?resource=filesystem", "reader", 200, ""},
		{"missing", "HEAD", "/raw/none?action=getStatus", "reader", 404, "PathNotFound"},
		{"missing blob", "GET", "/raw/none", "reader", 404, "BlobNotFound"},
		{"missing container", "GET", "/nothere/x?action=getStatus", "reader", 404, "FilesystemNotFound"},
		{"dots", "GET", "/raw/%2e%2e/%2e%2e/secret", "reader", 400, "InvalidUri"},
		{"encoded slash", "GET", "/raw/..%2f..%2fsecret", "reader", 400, "InvalidUri"},
		{"NUL", "GET", "/raw/a%00b", "reader", 400, "InvalidResourceName"},
		{"link out", "GET", "/raw/out/secret", "reader", 400, "InvalidUri"},
		{"signature in the URL", "GET", "/raw/x?sig=abc&sv=2023", "", 403, "AuthenticationFailed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if st, code := call(t, c.method, url+c.path, c.token); st != c.status || code != c.code {
				t.Errorf("got %d %s, want %d %s", st, code, c.status, c.code)
			}
		})
	}
	if st, code := call(t, "GET", strings.Replace(url, "lake1", "other1", 1)+"/raw/x", "reader"); st != 404 || code != "ResourceNotFound" {
		t.Errorf("an unknown account gave %d %s", st, code)
	}
}
