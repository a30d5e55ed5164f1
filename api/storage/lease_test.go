package storage

import (
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	blobsdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	sdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

// TestLeaseGo: who has no lease writes nothing while another holds one.
func TestLeaseGo(t *testing.T) {
	url, key, _ := endpoint(t)
	ctx := t.Context()
	cred, err := blobsdk.NewSharedKeyCredential("lake1", key)
	must(t, err)
	c, err := blobsdk.NewClientWithSharedKeyCredential(url, cred, nil)
	must(t, err)
	_, err = c.CreateContainer(ctx, "state", nil)
	must(t, err)
	_, err = c.UploadBuffer(ctx, "state", "env/tfstate", []byte("first"), nil)
	must(t, err)
	b := c.ServiceClient().NewContainerClient("state").NewBlockBlobClient("env/tfstate")
	before, err := b.GetProperties(ctx, nil)
	must(t, err)
	id := "11111111-2222-3333-4444-555555555555"
	mine, err := sdk.NewBlobClient(b, &sdk.BlobClientOptions{LeaseID: &id})
	must(t, err)
	got, err := mine.AcquireLease(ctx, -1, nil)
	must(t, err)
	if *got.LeaseID != id {
		t.Errorf("acquired %s", *got.LeaseID)
	}
	held, err := b.GetProperties(ctx, nil)
	must(t, err)
	if *held.LeaseState != sdk.StateTypeLeased || *held.LeaseStatus != sdk.StatusTypeLocked || *held.LeaseDuration != sdk.DurationTypeInfinite || *held.ETag != *before.ETag {
		t.Errorf("held: %v %v %v, %s became %s", *held.LeaseState, *held.LeaseStatus, *held.LeaseDuration, *before.ETag, *held.ETag)
	}
	other, err := sdk.NewBlobClient(b, nil)
	must(t, err)
	refused := func(what string, err error, want int, code string) {
		t.Helper()
		if status(err) != want || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v, want %d %s", what, err, want, code)
		}
	}
	_, err = other.AcquireLease(ctx, 60, nil)
	refused("a second lease", err, http.StatusConflict, "LeaseAlreadyPresent")
	_, err = other.RenewLease(ctx, nil)
	refused("another's renewal", err, http.StatusConflict, "LeaseIdMismatchWithLeaseOperation")
	with := func(id string) *blockblob.UploadBufferOptions {
		return &blockblob.UploadBufferOptions{AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &id}}}
	}
	_, err = b.UploadBuffer(ctx, []byte("stolen"), nil)
	refused("a write without the lease", err, http.StatusPreconditionFailed, "LeaseIdMissing")
	_, err = b.UploadBuffer(ctx, []byte("stolen"), with("99999999-2222-3333-4444-555555555555"))
	refused("a write with another lease", err, http.StatusPreconditionFailed, "LeaseIdMismatchWithBlobOperation")
	_, err = b.SetMetadata(ctx, map[string]*string{"a": to.Ptr("b")}, nil)
	refused("metadata", err, http.StatusPreconditionFailed, "LeaseIdMissing")
	_, err = b.Delete(ctx, nil)
	refused("a deletion", err, http.StatusPreconditionFailed, "LeaseIdMissing")
	_, err = b.StageBlock(ctx, "AAAA", nopCloser{strings.NewReader("x")}, nil)
	refused("a block", err, http.StatusPreconditionFailed, "LeaseIdMissing")

	_, err = b.UploadBuffer(ctx, []byte("second"), with(id))
	must(t, err)
	held, err = b.GetProperties(ctx, nil)
	must(t, err)
	if *held.LeaseState != sdk.StateTypeLeased {
		t.Errorf("after a write of its holder the lease is %s", *held.LeaseState)
	}
	next := "66666666-2222-3333-4444-555555555555"
	_, err = mine.ChangeLease(ctx, next, nil)
	must(t, err)
	_, err = b.UploadBuffer(ctx, []byte("third"), with(id))
	refused("the id from before", err, http.StatusPreconditionFailed, "LeaseIdMismatchWithBlobOperation")
	_, err = mine.RenewLease(ctx, nil)
	must(t, err)
	_, err = mine.ReleaseLease(ctx, nil)
	must(t, err)
	_, err = b.UploadBuffer(ctx, []byte("third"), with(next))
	refused("a lease that was released", err, http.StatusPreconditionFailed, "LeaseNotPresentWithBlobOperation")

	_, err = other.AcquireLease(ctx, -1, nil)
	must(t, err)
	broken, err := other.BreakLease(ctx, nil)
	must(t, err)
	if *broken.LeaseTime != 0 {
		t.Errorf("a lease without end breaks in %d s", *broken.LeaseTime)
	}
	_, err = other.RenewLease(ctx, nil)
	refused("a broken lease's renewal", err, http.StatusConflict, "LeaseIsBrokenAndCannotBeRenewed")
	_, err = b.UploadBuffer(ctx, []byte("fourth"), nil)
	must(t, err)
	_, err = other.AcquireLease(ctx, 30, nil)
	must(t, err)
	broken, err = other.BreakLease(ctx, nil)
	must(t, err)
	if *broken.LeaseTime < 25 || *broken.LeaseTime > 30 {
		t.Errorf("a lease of 30 s breaks in %d s", *broken.LeaseTime)
	}
	_, err = b.UploadBuffer(ctx, []byte("fifth"), nil)
	refused("while it breaks", err, http.StatusPreconditionFailed, "LeaseIdMissing")
	_, err = other.BreakLease(ctx, &sdk.BlobBreakOptions{BreakPeriod: to.Ptr(int32(0))})
	must(t, err)
	_, err = b.UploadBuffer(ctx, []byte("fifth"), nil)
	must(t, err)
	_, err = other.AcquireLease(ctx, 10, nil)
	refused("a lease of 10 s", err, http.StatusBadRequest, "InvalidHeaderValue")
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }

// TestLeaseStates: what a lease's times make of it.
func TestLeaseStates(t *testing.T) {
	for _, c := range []struct {
		name  string
		l     *lease
		state string
		locks bool
	}{
		{"none", nil, leaseAvailable, false},
		{"without end", &lease{ID: "a", Duration: -1}, leaseLeased, true},
		{"over", &lease{ID: "a", Duration: 15, Until: 1}, leaseExpired, false},
		{"not over", &lease{ID: "a", Duration: 15, Until: 1 << 50}, leaseLeased, true},
		{"breaking", &lease{ID: "a", Duration: -1, Broken: 1 << 50}, leaseBreaking, true},
		{"broken", &lease{ID: "a", Duration: -1, Broken: 1}, leaseBroken, false},
	} {
		if c.l.state() != c.state || c.l.locks() != c.locks {
			t.Errorf("%s: %s, locks %v", c.name, c.l.state(), c.l.locks())
		}
	}
}
