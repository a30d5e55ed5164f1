package cli

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
)

func standInCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "stand-in",
		Short: "Supply what a project takes for granted in its workspace",
		Long: `A project may name files in volumes, tables, secrets and clusters that exist only in its authors' workspace. These
commands say what to take instead. The answers are kept in .wherry/ beside the project, ignored by Git, and are brought
to the server by the next deploy to a target that is not mode: production. .wherry/stand-ins.yml can be shared; it
holds no value of a secret.`,
	}
	c.AddCommand(
		standIn("file VOLUME-PATH FILE", "Take a local file for a file in a volume", 2, standInFile),
		standIn("table NAME FILE", "Make a table of a local Parquet, CSV or JSON file", 2, standInTable),
		standIn("cluster ID SPEC", "Make a cluster by the settings in a YAML or JSON file for one that tasks name by id", 2, standInCluster),
		standInSecretCommand(),
	)
	return c
}

// standIn makes one command that changes the answers.
func standIn(use, short string, args int, change func(s *deploy.StandIns, root string, args []string) (string, error)) *cobra.Command {
	dir := ""
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(args),
		RunE: func(c *cobra.Command, args []string) error {
			return changeStandIns(c, dir, func(s *deploy.StandIns, root string) (string, error) { return change(s, root, args) })
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "a folder of the bundle (default: the working directory)")
	return c
}

func changeStandIns(c *cobra.Command, dir string, change func(*deploy.StandIns, string) (string, error)) error {
	root, _, err := bundle.Find(dir)
	if err != nil {
		return err
	}
	s, err := deploy.ReadStandIns(root)
	if err != nil {
		return err
	}
	done, err := change(s, root)
	if err != nil {
		return err
	}
	if err := s.Write(root); err != nil {
		return err
	}
	fmt.Fprintln(c.OutOrStdout(), done)
	return nil
}

// localFile makes a file's name relative to the project, where it is below it.
func localFile(root, name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(abs); err != nil || !info.Mode().IsRegular() {
		return "", &ExitError{Code: 1, Message: "there is no file " + name}
	}
	rel, err := filepath.Rel(root, abs)
	return filepath.ToSlash(rel), err
}

func standInFile(s *deploy.StandIns, root string, args []string) (string, error) {
	name := path.Clean(strings.TrimPrefix(args[0], "dbfs:"))
	if !strings.HasPrefix(name, "/Volumes/") || strings.Count(name, "/") < 5 {
		return "", &ExitError{Code: 2, Message: fmt.Sprintf("%s is not a file in a volume: /Volumes/catalog/schema/volume/…", args[0])}
	}
	local, err := localFile(root, args[1])
	if err != nil {
		return "", err
	}
	s.Files[name] = local
	return fmt.Sprintf("%s will be %s", name, local), nil
}

func standInTable(s *deploy.StandIns, root string, args []string) (string, error) {
	if strings.Count(args[0], ".") != 2 {
		return "", &ExitError{Code: 2, Message: fmt.Sprintf("%s is not a table's full name: catalog.schema.table", args[0])}
	}
	local, err := localFile(root, args[1])
	if err != nil {
		return "", err
	}
	switch filepath.Ext(local) {
	case ".parquet", ".csv", ".json":
	default:
		return "", &ExitError{Code: 2, Message: local + ": a table is made of a .parquet, .csv or .json file"}
	}
	s.Tables[args[0]] = local
	return fmt.Sprintf("table %s will be made of %s", args[0], local), nil
}

func standInCluster(s *deploy.StandIns, _ string, args []string) (string, error) {
	b, err := os.ReadFile(args[1])
	if err != nil {
		return "", err
	}
	spec := map[string]any{}
	if err := yaml.Unmarshal(b, &spec); err != nil {
		return "", fmt.Errorf("%s: %w", args[1], err)
	}
	s.Clusters[args[0]] = spec
	return fmt.Sprintf("cluster %s will be made by %s", args[0], args[1]), nil
}

func standInSecretCommand() *cobra.Command {
	dir := ""
	c := &cobra.Command{
		Use:   "secret SCOPE/KEY",
		Short: "Give a secret its value, read from the terminal or standard input",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if scope, key, ok := strings.Cut(args[0], "/"); !ok || scope == "" || key == "" || strings.Contains(key, "/") {
				return &ExitError{Code: 2, Message: args[0] + " is not of the form scope/key"}
			}
			value, err := readSecret(c, args[0])
			if err != nil {
				return err
			}
			return changeStandIns(c, dir, func(s *deploy.StandIns, _ string) (string, error) {
				s.SetSecret(args[0], value)
				return fmt.Sprintf("secret %s is kept in %s/secrets.json", args[0], bundle.LocalDir), nil
			})
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "a folder of the bundle (default: the working directory)")
	return c
}

func readSecret(c *cobra.Command, name string) (string, error) {
	if f, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(c.ErrOrStderr(), "value of %s: ", name)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		return string(b), err
	}
	line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	if line == "" && err != nil {
		return "", &ExitError{Code: 1, Message: "no value on standard input"}
	}
	return strings.TrimRight(line, "\r\n"), nil
}
