package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/spark"
)

func setupCommand() *cobra.Command {
	var worker bool
	c := &cobra.Command{
		Use:   "setup",
		Short: "Make the Python environment, fetch Spark's jars and find a Java",
		Long:  "Makes what tasks run on, once per user, below $XDG_CACHE_HOME/wherry (~/.cache/wherry). An interrupted set-up goes on where it stopped; two at once share one.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if worker {
				return environment.Work(c.Context())
			}
			started := time.Now()
			e, err := runSetup(c.Context(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			archiveClasses(c.Context(), e, c.ErrOrStderr())
			fmt.Fprintf(c.OutOrStdout(), "ready in %.1f s: Python %s %s\nJava %d %s\n%d jars %s\n", time.Since(started).Seconds(), e.Version, e.Prefix, e.JavaMajor, e.JavaHome, len(e.Jars), e.JarDir)
			return nil
		},
	}
	c.Flags().BoolVar(&worker, "worker", false, "do the work in this process")
	_ = c.Flags().MarkHidden("worker")
	return c
}

// runSetup returns the runtime, setting it up with its progress on w: one line
// that changes on a terminal, a line a step elsewhere.
func runSetup(ctx context.Context, w io.Writer) (*environment.Environment, error) {
	e, err := environment.Open()
	if !errors.Is(err, environment.ErrMissing) {
		return e, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f, ok := w.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd()))
	step := 0
	e, err = environment.Setup(ctx, []string{exe, "setup", "--worker"}, func(p environment.Progress) {
		switch {
		case live:
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 20 {
				width = 80
			}
			line := fmt.Sprintf("set-up %d/%d: %s  %s", p.Step, p.Steps, p.Message, p.Detail)
			fmt.Fprintf(w, "\r\x1b[K%.*s", width-1, line)
		case p.Step != step:
			fmt.Fprintf(w, "set-up %d/%d: %s\n", p.Step, p.Steps, p.Message)
		}
		step = p.Step
	})
	if live && step > 0 {
		fmt.Fprint(w, "\r\x1b[K")
	}
	return e, err
}

// archiveClasses makes the archive with which Spark starts in half the time,
// once per version. Without it all works, more slowly.
func archiveClasses(ctx context.Context, e *environment.Environment, w io.Writer) {
	if spark.HasArchive(e) {
		return
	}
	fmt.Fprintln(w, "set-up: archive of Spark's classes (a minute, once; Spark then starts in half the time)")
	if err := spark.MakeArchive(ctx, e); err != nil {
		fmt.Fprintf(w, "set-up: no archive: %v\n", err)
	}
}
