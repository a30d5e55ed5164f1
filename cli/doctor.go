package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/doctor"
)

// diagnosis is doctor's JSON document.
type diagnosis struct {
	Machine []doctor.Check   `json:"machine"`
	Project []doctor.Finding `json:"project,omitempty"`
	Root    string           `json:"root,omitempty"`
	Target  string           `json:"target,omitempty"`
}

func doctorCommand() *cobra.Command {
	var output, target, stateFlag string
	c := &cobra.Command{
		Use:   "doctor [PROJECT]",
		Short: "Say what this machine offers, and what of a project works here",
		Long: `Looks at Python, Java, isolation, disk and memory; and, with a project's folder, reads its bundle, notebooks and
Python files and says by file and line what would be stood in for, what must be supplied, what does not run here and
what has no effect yet. Nothing is run or changed. The exit code is 1 if the machine lacks something or the project
has an error or something that does not run here; what must be supplied is told, and is no failure.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := stateDir(stateFlag)
			if err != nil {
				return err
			}
			d := diagnosis{Machine: doctor.Machine(c.Context(), dir)}
			if len(args) == 1 {
				b, err := bundle.Load(c.Context(), bundle.Options{Dir: args[0], Target: target, Force: true})
				if err != nil {
					return err
				}
				d.Root, d.Target = b.Root, b.Target
				if d.Project, err = doctor.Project(b); err != nil {
					return err
				}
			}
			if output == "json" {
				if err := printJSON(c.OutOrStdout(), d); err != nil {
					return err
				}
			} else {
				printDiagnosis(c.OutOrStdout(), d)
			}
			if !d.healthy() {
				return &ExitError{Code: 1}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	c.Flags().StringVarP(&target, "target", "t", "", "the project's target (default: the one with default: true)")
	c.Flags().StringVar(&stateFlag, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	return c
}

func (d diagnosis) healthy() bool {
	for _, check := range d.Machine {
		if check.State == doctor.Missing {
			return false
		}
	}
	for _, f := range d.Project {
		if f.Class == doctor.Broken || f.Class == doctor.WontRun {
			return false
		}
	}
	return true
}

var headings = []struct{ class, title string }{
	{doctor.Broken, "Errors"},
	{doctor.WontRun, "Does not run here"},
	{doctor.Supply, "Must be supplied"},
	{doctor.StoodIn, "Would be stood in for"},
	{doctor.NoEffect, "Has no effect yet"},
}

func printDiagnosis(w io.Writer, d diagnosis) {
	width := 0
	for _, check := range d.Machine {
		width = max(width, len(check.Name))
	}
	fmt.Fprintln(w, "This machine")
	for _, check := range d.Machine {
		sign := map[string]string{doctor.OK: "✓", doctor.Limited: "–", doctor.Missing: "✗"}[check.State]
		fmt.Fprintf(w, "  %s %-*s  %s\n", sign, width, check.Name, check.Detail)
		if check.Fix != "" {
			fmt.Fprintf(w, "    %s  → %s\n", strings.Repeat(" ", width), check.Fix)
		}
	}
	if d.Root == "" {
		return
	}
	fmt.Fprintf(w, "\nProject %s, target %s\n", d.Root, d.Target)
	if len(d.Project) == 0 {
		fmt.Fprintln(w, "  nothing to say: all of it works here")
	}
	for _, h := range headings {
		shown := false
		for _, f := range d.Project {
			if f.Class != h.class {
				continue
			}
			if !shown {
				fmt.Fprintf(w, "%s\n", h.title)
				shown = true
			}
			at := f.At.String()
			if at != "" {
				at += ": "
			}
			fmt.Fprintf(w, "  %s%s\n", at, f.Message)
			if f.Fix != "" {
				fmt.Fprintf(w, "    → %s\n", f.Fix)
			}
		}
	}
}
