package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/adopt"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/drift"
)

// Patch is a drift with the change of the bundle's files that adopts it.
type Patch struct {
	Of             drift.Drift
	Bundle, Target string
	Diff           string       // as diff -u writes it, "" for none
	Left           []adopt.Left // fields that it does not have
	// Why says why there is no patch at all.
	Why string
}

// Patch works out what would have to be changed in the files that were deployed
// so that they have what drifted.
func (s *Service) Patch(ctx context.Context, id int64) (*Patch, error) {
	d, err := s.drifts.Get(ctx, wherry.IdentityFrom(ctx).Scope(), id)
	if err != nil {
		return nil, err
	}
	p := &Patch{Of: d}
	switch {
	case d.Source != "":
		p.Why = "it is Terraform's: change its configuration, or apply again"
		return p, nil
	case d.Kind == drift.Deleted:
		p.Why = "it was deleted: take it out of the bundle by hand, or revert"
	}
	deployed, err := s.store.ByID(ctx, d.DeploymentID)
	if err != nil {
		return nil, err
	}
	p.Bundle, p.Target = deployed.Bundle, deployed.Target
	last, ok, err := s.store.LastDeployed(ctx, d.DeploymentID)
	if err != nil || !ok || p.Why != "" {
		return p, err
	}
	return p, s.makePatch(ctx, p, s.tree(last.TreeDigest), last.Version, last.CreatedBy)
}

func (s *Service) makePatch(ctx context.Context, p *Patch, tree string, version int64, by string) error {
	plain := slices.ContainsFunc(bundle.FileNames, func(name string) bool {
		info, err := os.Lstat(filepath.Join(tree, name))
		return err == nil && info.Mode().IsRegular()
	})
	if _, err := os.Lstat(filepath.Join(tree, ".git")); !plain || !errors.Is(err, fs.ErrNotExist) { // git is not to run on what was uploaded
		p.Why = "the bundle's main file is not among the deployed files: `wherry drift adopt` in the project's folder writes the patch"
		return nil
	}
	text, err := s.store.Request(ctx, p.Of.DeploymentID, version)
	if err != nil {
		return err
	}
	var in deployment.Request
	if text != "" {
		if err := json.Unmarshal([]byte(text), &in); err != nil {
			return err
		}
	}
	b, err := bundle.Load(ctx, bundle.Options{Dir: tree, Target: p.Target, User: by, Force: true, Namespace: in.Namespace, Environ: func(string) string { return "" }})
	if err != nil {
		return err
	}
	if b.Config == nil {
		p.Why = "the deployed bundle cannot be read: `wherry drift adopt` in the project's folder writes the patch"
		return nil
	}
	var fields []adopt.Field
	for _, f := range p.Of.Fields {
		fields = append(fields, adopt.Field{Resource: p.Of.Resource, Path: f.Path, Before: f.Before, After: f.After})
	}
	made, err := adopt.Make(b.Root, b.Config, fields)
	if err != nil {
		return err
	}
	p.Diff, p.Left = string(made.Diff()), made.Left
	return nil
}
