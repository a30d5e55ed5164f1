package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/demo"
	"github.com/wherry-ml/wherry/state"
)

// runDelivery is `wherry demo --cicd`: a server of its own, with receivers for
// its messages, takes a new project to production.
func runDelivery(c *cobra.Command, dir state.Dir, keep, asJSON bool) error {
	ctx, out := c.Context(), c.OutOrStdout()
	if asJSON {
		out = c.ErrOrStderr() // progress
	}
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	if _, err := runSetup(ctx, out); err != nil {
		return err
	}
	messages := &demo.Receivers{}
	if err := messages.Listen(); err != nil {
		return err
	}
	receiving, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); messages.Run(receiving) }()
	defer func() { stop(); <-done }()

	dir, err := anew(ctx, state.Dir(dir.Path("delivery")))
	if err != nil {
		return err
	}
	server, info, err := startServer(ctx, dir, messages.Reach()...)
	if err != nil {
		return err
	}
	say("server %s, state in %s", info.URL, dir)
	d := &demo.Delivery{State: dir, Client: server, Server: info, Say: say, Messages: messages, Dir: dir.Path("demo", "my-project")}
	if !keep {
		defer func() {
			quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			_ = d.Quiet(quiet) // what does not end goes on by itself
			cancel()
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
			_, _ = StopServer(end, dir) // as does the server
			cancel()
		}()
	}
	if d.Program, err = os.Executable(); err != nil {
		return err
	}
	token, err := os.ReadFile(dir.Path("admin-token"))
	if err != nil {
		return err
	}
	d.Token = strings.TrimSpace(string(token))
	report, err := d.Run(ctx)
	if asJSON {
		b, jerr := json.MarshalIndent(report, "", "  ")
		if jerr != nil {
			return jerr
		}
		fmt.Fprintln(c.OutOrStdout(), string(b))
	} else {
		printDelivery(out, report)
	}
	return err
}

// anew ends the server of the demo before and removes its state: each begins
// with nothing.
func anew(ctx context.Context, dir state.Dir) (state.Dir, error) {
	if _, err := StopServer(ctx, dir); err != nil {
		return dir, err
	}
	if err := state.RemoveAll(string(dir)); err != nil {
		return dir, err
	}
	return dir, dir.Create()
}

func printDelivery(out io.Writer, r *demo.DeliveryReport) {
	fmt.Fprintln(out)
	for i, s := range r.Steps {
		state := "✓"
		if !s.Done {
			state = "✗"
		}
		fmt.Fprintf(out, "%s %2d  %-55s %6.1f s\n", state, i+1, s.Name, s.Seconds)
		for _, line := range []string{s.Tool, s.Detail} {
			if line != "" {
				fmt.Fprintf(out, "       %s\n", line)
			}
		}
		if s.Fallback != "" {
			fmt.Fprintf(out, "       FALLBACK, so not shown: %s\n", s.Fallback)
		}
	}
	if r.Tree != nil {
		fmt.Fprintln(out, "\nTRACE of a prediction in prod")
		printTree(out, r.Tree, "")
	}
	fmt.Fprintf(out, "\n%.1f s\n", r.Seconds)
}
