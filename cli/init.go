package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/project"
)

func initCommand() *cobra.Command {
	var o project.Options
	var yes bool
	c := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a new project: bundle, notebooks, tests, workflows, Terraform",
		Long: "Writes a whole ML project for Databricks, Azure and GitHub into a new or empty folder. Asks on a terminal for what no flag\n" +
			"says; elsewhere takes the defaults. Without DIR the project goes into a folder of its name.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, folder := "", ""
			if len(args) > 0 {
				dir = args[0]
				if o.Name == "" {
					full, err := filepath.Abs(dir)
					if err != nil {
						return err
					}
					folder = filepath.Base(full)
					o.Name = project.Name(folder)
				}
			}
			in, ok := c.InOrStdin().(*os.File)
			asks := ok && term.IsTerminal(int(in.Fd())) && !yes
			if folder != "" && !asks && !project.Says(folder) {
				return &ExitError{Code: 2, Message: fmt.Sprintf("%q says no name for a project: give one (2 to 30 lower-case letters, digits and single dashes, beginning with a letter), such as `wherry init %s --name %s`", folder, word(dir), o.Name)}
			}
			if asks {
				if err := ask(c, in, &o); err != nil {
					return err
				}
			}
			o = o.WithDefaults()
			if dir == "" {
				dir = o.Name
			}
			paths, err := project.Write(dir, o)
			if err != nil {
				return err
			}
			printNext(c.OutOrStdout(), dir, o.Name, len(paths))
			return nil
		},
	}
	c.Flags().StringVar(&o.Name, "name", "", "name of the project (default: that of the folder, else my-project)")
	c.Flags().StringVar(&o.Region, "region", "", "region of Azure (default: westeurope)")
	c.Flags().StringVar(&o.Catalog, "catalog", "", "prefix of the catalogs' names, to which _dev, _staging and _prod are added (default: the name)")
	c.Flags().StringVar(&o.Repository, "repository", "", "repository on GitHub, as OWNER/NAME (default: my-org/ and the name)")
	c.Flags().StringVar(&o.Email, "email", "", "who hears of failed runs (default: the name at example.com)")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "take the defaults without asking")
	return c
}

// ask asks for each option that no flag gave; an empty answer takes the
// default, which follows from the answers before.
func ask(c *cobra.Command, in io.Reader, o *project.Options) error {
	if err := o.WithDefaults().Validate(); err != nil { // of the flags: no answer would mend it
		return err
	}
	lines := bufio.NewReader(in)
	for _, q := range []struct {
		text, flag string
		of         func(*project.Options) *string
	}{
		{"Name of the project", "name", func(o *project.Options) *string { return &o.Name }},
		{"Region of Azure", "region", func(o *project.Options) *string { return &o.Region }},
		{"Prefix of the catalogs", "catalog", func(o *project.Options) *string { return &o.Catalog }},
		{"Repository on GitHub", "repository", func(o *project.Options) *string { return &o.Repository }},
		{"E-mail for failed runs", "email", func(o *project.Options) *string { return &o.Email }},
	} {
		for !c.Flags().Changed(q.flag) {
			filled := o.WithDefaults()
			fmt.Fprintf(c.ErrOrStderr(), "%s [%s]: ", q.text, *q.of(&filled))
			line, err := lines.ReadString('\n')
			if err != nil {
				return &ExitError{Code: 1, Message: "no answer: nothing was written"}
			}
			tried := filled
			if answer := strings.TrimSpace(line); answer != "" {
				*q.of(&tried) = answer
			}
			if err := tried.Validate(); err != nil {
				fmt.Fprintln(c.ErrOrStderr(), err)
				continue
			}
			*q.of(o) = *q.of(&tried)
			break
		}
	}
	return nil
}

func printNext(w io.Writer, dir, name string, files int) {
	fmt.Fprintf(w, `%s: %d files in %s

  cd %s
  wherry run pipeline        # deploys target dev and runs the job
  wherry doctor .            # what of it needs something from you

README.md says how it is tested, and how it gets from a commit to production.
`, name, files, dir, word(dir))
}

// plainWord is what a shell takes as it stands.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./+@%:,=-]+$`)

// word is a word of a shell, quoted if it must be.
func word(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return quoted(s)
}
