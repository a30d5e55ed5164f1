package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/source"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/doctor"
)

// tellMissing says, after a run that failed, what the sources name and the
// server does not have, with the command that supplies it.
func tellMissing(c *cobra.Command, cl *client.Client, b *bundle.Bundle) {
	findings, err := doctor.Project(b)
	if err != nil {
		return // the run's own error is told
	}
	first := true
	for _, f := range findings {
		if f.Class != doctor.Supply || !lacks(c.Context(), cl, f.Source) {
			continue
		}
		if first {
			fmt.Fprintln(c.ErrOrStderr(), "\nThe project takes for granted what is not here. Supply it and run again:")
			first = false
		}
		fmt.Fprintf(c.ErrOrStderr(), "  %s: %s\n    → %s\n", f.At, f.Message, f.Fix)
	}
}

// lacks asks the server for what a source names.
func lacks(ctx context.Context, cl *client.Client, r source.Reference) bool {
	switch r.Kind {
	case source.Volume:
		resp, err := cl.Send(ctx, "HEAD", "/api/2.0/fs/files"+(&url.URL{Path: r.Path}).EscapedPath(), nil, -1)
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	case source.Table:
		code := wherry.CodeOf(cl.Do(ctx, "GET", "/api/2.1/unity-catalog/tables/"+url.PathEscape(r.Name), nil, nil))
		return slices.Contains([]string{wherry.CodeTableNotFound, wherry.CodeDoesNotExist, wherry.CodeNotFound}, code)
	case source.Secret:
		scope, key, _ := strings.Cut(r.Name, "/")
		var out struct {
			Secrets []map[string]any `json:"secrets"`
		}
		err := cl.Do(ctx, "GET", "/api/2.0/secrets/list?scope="+url.QueryEscape(scope), nil, &out)
		return err != nil || !slices.ContainsFunc(out.Secrets, func(s map[string]any) bool { return s["key"] == key })
	}
	return r.Kind == source.Dataset
}
