package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what is wrong with a flag in the words of who typed it: what
// is near an unknown one, and what a value has to be.
func flagError(c *cobra.Command, err error) error {
	message := err.Error()
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		message += meant(nearFlags(c, unknown.GetSpecifiedName())) + fmt.Sprintf(" (`%s --help` lists them)", c.CommandPath())
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if _, number := errors.AsType[*strconv.NumError](err); number {
			wanted := "a number"
			switch kind := invalid.GetFlag().Value.Type(); {
			case kind == "bool":
				wanted = "true or false"
			case strings.Contains(kind, "int"):
				wanted = "a whole number"
			}
			message = fmt.Sprintf("--%s can not be %q: it is %s", invalid.GetFlag().Name, invalid.GetValue(), wanted)
		}
	}
	return &ExitError{Code: 2, Message: message}
}

// nearFlags lists the flags of a command that are near a name, with their dashes.
func nearFlags(c *cobra.Command, name string) (near []string) {
	words := &cobra.Command{SuggestionsMinimumDistance: 2} // cobra finds what is near among commands only
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			words.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	for _, flag := range words.SuggestionsFor(name) {
		near = append(near, "--"+flag)
	}
	return near
}

// meant asks whether one of some words was meant; "" for none.
func meant(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return ", did you mean " + strings.Join(near, " or ") + "?"
}
