// Package deploy brings a loaded bundle to a server: it builds, compares,
// uploads what the server lacks and has it made live.
package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
)

// Options changes how a deploy goes.
type Options struct {
	// Python builds wheels; "" is python3 on PATH.
	Python string
	// StandIns lets what the bundle takes for granted be made.
	StandIns  bool
	ForceLock bool
	// Select limits the deploy to these resources and what they refer to.
	Select []string
	// Plan is one that was made before: nothing else is done. It stands for
	// Approve.
	Plan *deployment.Plan
	// Approve is asked before data is lost: resources that would be deleted or
	// made anew. nil approves nothing.
	Approve func(plan *deployment.Plan) bool
	// Progress is told what is done; nil for silence.
	Progress func(string)
	// CLIVersion is recorded.
	CLIVersion string
}

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// Report is what a deploy did.
type Report struct {
	*deployment.Report
	Plan *deployment.Plan `json:"plan"`
	// Changed is false for a deploy that had nothing to do.
	Changed  bool  `json:"changed"`
	Uploaded int   `json:"uploaded_files"`
	Bytes    int64 `json:"uploaded_bytes"`
}

// prepared is a bundle as the server is told of it.
type prepared struct {
	request  *deployment.Request
	contents map[string]string // local file by content, executables with an "x"
	standIns *StandIns
}

// Plan compares a bundle with what is deployed. It changes nothing, but builds
// the bundle's wheels.
func Plan(ctx context.Context, c *client.Client, b *bundle.Bundle, opts Options) (*deployment.Plan, error) {
	p, err := prepare(ctx, b, &opts)
	if err != nil {
		return nil, err
	}
	return p.plan(ctx, c)
}

func (p *prepared) plan(ctx context.Context, c *client.Client) (*deployment.Plan, error) {
	plan := &deployment.Plan{}
	return plan, c.Do(ctx, "POST", "/api/wherry/deployments/plan", p.request, plan)
}

// Deploy makes a bundle live. A deploy with nothing to do uploads nothing and
// makes no version. While another deploy to the same place is going on it
// waits, as long as ctx lets it.
func Deploy(ctx context.Context, c *client.Client, b *bundle.Bundle, opts Options) (*Report, error) {
	p, err := prepare(ctx, b, &opts)
	if err != nil {
		return nil, err
	}
	plan, err := p.plan(ctx, c)
	if err != nil {
		return nil, err
	}
	report := &Report{Plan: plan, Report: &deployment.Report{DeploymentID: plan.DeploymentID, Version: plan.Version, TreeDigest: plan.TreeDigest, Resources: plan.Resources, StandIns: plan.StandIns}}
	if opts.Plan != nil {
		if err := p.expect(opts.Plan, plan); err != nil {
			return nil, err
		}
	}
	if !plan.Changes {
		return report, p.standIns.supply(ctx, c, b.Root, &opts)
	}
	if loses(plan) && opts.Plan == nil && (opts.Approve == nil || !opts.Approve(plan)) {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "not deployed: the plan deletes or makes anew what may hold data; read it with `bundle plan` and deploy with --auto-approve")
	}
	if report.Uploaded, report.Bytes, err = p.upload(ctx, c, plan.Missing, &opts); err != nil {
		return nil, err
	}
	report.Changed = true
	if err := p.commit(ctx, c, report, &opts); err != nil {
		return nil, err
	}
	return report, p.standIns.supply(ctx, c, b.Root, &opts)
}

// loses tells whether a plan takes away what may hold data. Jobs hold none.
func loses(plan *deployment.Plan) bool {
	return slices.ContainsFunc(plan.Resources, deployment.Change.Loses)
}

// waitForLock is how often a deploy that found another one going on asks again.
const waitForLock = 300 * time.Millisecond

func (p *prepared) commit(ctx context.Context, c *client.Client, report *Report, opts *Options) error {
	told := false
	for {
		err := c.Do(ctx, "POST", "/api/wherry/deployments/deploy", p.request, &report.Report)
		if wherry.CodeOf(err) != wherry.CodeConflict || opts.ForceLock {
			return err
		}
		if !told {
			opts.say("waiting: %v", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(waitForLock):
		}
	}
}

// upload sends what the server lacks.
func (p *prepared) upload(ctx context.Context, c *client.Client, missing []string, opts *Options) (int, int64, error) {
	if len(missing) == 0 {
		return 0, 0, nil
	}
	opts.say("uploading %d files", len(missing))
	var bytes int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, name := range missing {
		local := p.contents[name]
		info, err := os.Stat(local)
		if err != nil {
			return 0, 0, err
		}
		bytes += info.Size()
		g.Go(func() error {
			f, err := os.Open(local)
			if err != nil {
				return err
			}
			defer f.Close()
			sha, exec := strings.CutSuffix(name, "x")
			path := "/api/wherry/deployments/blobs/" + sha
			if exec {
				path += "?exec=true"
			}
			resp, err := c.Send(gctx, "PUT", path, f, info.Size())
			if err != nil {
				return fmt.Errorf("upload %s: %w", local, err)
			}
			return resp.Body.Close()
		})
	}
	return len(missing), bytes, g.Wait()
}

// prepare builds the libraries, digests the files and writes the request.
func prepare(ctx context.Context, b *bundle.Bundle, opts *Options) (*prepared, error) {
	if b.Problems.Failed() {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the bundle has errors")
	}
	libraries, err := b.BuildLibraries(ctx, opts.Python, func(s string) { opts.say("%s", s) })
	if err != nil {
		return nil, err
	}
	files, err := b.Files()
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(slices.Clone(files), func(f bundle.File) bool { return isPlan(f.Local) })
	p := &prepared{contents: map[string]string{}}
	if p.standIns, err = ReadStandIns(b.Root); err != nil {
		return nil, err
	}
	in := &deployment.Request{
		Bundle: b.Name, Target: b.Target, Mode: b.Mode, Namespace: namespace(b, os.Getenv("GITHUB_REF")), CLIVersion: opts.CLIVersion, RootPath: b.Workspace.Root, FilePath: b.Workspace.Files,
		ArtifactPath: b.Workspace.Artifacts, StatePath: b.Workspace.State, Git: deployment.Git(b.Git), StandIns: opts.StandIns, ForceLock: opts.ForceLock,
		Lookups: map[string]deployment.Lookup{}, ClusterSpecs: p.standIns.Clusters, Select: opts.Select,
	}
	if in.Files, err = p.digest(files); err != nil {
		return nil, err
	}
	for _, l := range libraries {
		in.Libraries = append(in.Libraries, deployment.File{Path: l.Remote, SHA256: l.SHA256, Size: l.Size})
		p.contents[l.SHA256] = l.Local
	}
	for ref, l := range b.Lookups() {
		in.Lookups[ref] = deployment.Lookup{Kind: l.Kind, Name: l.Name}
	}
	in.Resources, in.Permissions = resources(b), shared(b)
	if opts.StandIns {
		in.Wants = wants(b, p.standIns)
	}
	p.request = in
	return p, nil
}

func (p *prepared) digest(files []bundle.File) ([]deployment.File, error) {
	list := make([]deployment.File, len(files))
	var g errgroup.Group
	g.SetLimit(4)
	for i, f := range files {
		g.Go(func() error {
			in, err := os.Open(f.Local)
			if err != nil {
				return err
			}
			defer in.Close()
			h := sha256.New()
			size, err := io.Copy(h, in)
			list[i] = deployment.File{Path: f.Path, SHA256: hex.EncodeToString(h.Sum(nil)), Size: size, Exec: f.Exec}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, f := range list {
		name := f.SHA256
		if f.Exec {
			name += "x"
		}
		p.contents[name] = files[i].Local
	}
	return list, nil
}

// Where says where a plan goes, and what its run_as does not do.
func Where(c *client.Client, b *bundle.Bundle) string {
	line := fmt.Sprintf("bundle %s, target %s → %s%s", b.Name, b.Target, strings.TrimPrefix(c.URL, "http://"), b.Workspace.Root)
	if c.Workspace != "" {
		line += " in the workspace " + c.Workspace
	}
	if host := strings.TrimSuffix(b.Workspace.Host, "/"); host != "" && host != c.URL && (c.Workspace == "" || host != "https://"+c.Workspace) {
		line += fmt.Sprintf(" (not %s: every target goes to this installation)", b.Workspace.Host)
	}
	for _, name := range b.RunAs() {
		line += fmt.Sprintf("\nrun_as %s: %s", name.Text(), bundle.RunAsNote)
	}
	return line
}

// Destroy takes a deployed bundle away.
func Destroy(ctx context.Context, c *client.Client, root string, forceLock bool) (*deployment.Report, error) {
	report := &deployment.Report{}
	return report, c.Do(ctx, "POST", "/api/wherry/deployments/destroy", deployment.Destroy{RootPath: root, ForceLock: forceLock}, report)
}
