package deploy

import (
	"context"
	"net/url"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
)

// Bind ties a resource of the bundle to one that exists: the next deploy changes
// that one.
func Bind(ctx context.Context, c *client.Client, b *bundle.Bundle, r bundle.Resource, id string) error {
	return c.Do(ctx, "POST", "/api/wherry/deployments/bind", deployment.Binding{
		RootPath: b.Workspace.Root, FilePath: b.Workspace.Files, Bundle: b.Name, Target: b.Target, Mode: b.Mode, Type: r.Type, Key: r.Key, ID: id,
	}, nil)
}

// Unbind lets a deployment forget a resource, which stays.
func Unbind(ctx context.Context, c *client.Client, b *bundle.Bundle, r bundle.Resource) error {
	return c.Do(ctx, "POST", "/api/wherry/deployments/unbind", deployment.Binding{RootPath: b.Workspace.Root, Type: r.Type, Key: r.Key}, nil)
}

// Existing reads a resource that exists, in the shape of a bundle's.
func Existing(ctx context.Context, c *client.Client, kind, id string) (map[string]any, error) {
	out := &deployment.Existing{}
	err := c.Do(ctx, "GET", "/api/wherry/deployments/existing/"+url.PathEscape(kind)+"/"+url.PathEscape(id), nil, out)
	return out.Config, err
}
