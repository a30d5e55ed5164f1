package databricks

import (
	"encoding/base64"
	"errors"
	"io"

	"github.com/spf13/cobra"
)

func secretCommands(connect Connector) []*cobra.Command { return []*cobra.Command{putSecret(connect)} }

// putSecret takes a value from a flag or from standard input, so that it need
// not be on a command line.
func putSecret(connect Connector) *cobra.Command {
	var text, bytes, document string
	c := &cobra.Command{
		Use: "put-secret SCOPE KEY", Short: "Set a secret, from a flag or from standard input", Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			fields, err := readDocument(c, document)
			if err != nil {
				return err
			}
			for i, name := range []string{"scope", "key"} {
				if i < len(args) {
					fields[name] = args[i]
				} else if _, ok := fields[name]; !ok {
					return errors.New("name the scope and the key: databricks secrets put-secret SCOPE KEY")
				}
			}
			switch {
			case c.Flags().Changed("string-value"):
				fields["string_value"] = text
			case c.Flags().Changed("bytes-value"):
				fields["bytes_value"] = base64.StdEncoding.EncodeToString([]byte(bytes))
			case document == "":
				value, err := secretValue(c)
				if err != nil {
					return err
				}
				fields["bytes_value"] = base64.StdEncoding.EncodeToString(value)
			}
			cl, err := connect(c)
			if err != nil {
				return err
			}
			return cl.Do(c.Context(), "POST", secretsAPI+"put", fields, nil)
		},
	}
	c.Flags().StringVar(&text, "string-value", "", "the value, as text")
	c.Flags().StringVar(&bytes, "bytes-value", "", "the value, as bytes")
	c.Flags().StringVar(&document, "json", "", "the request, or @ and the name of its file")
	c.MarkFlagsMutuallyExclusive("string-value", "bytes-value")
	return c
}

// secretValue reads standard input to its end, or asks on a terminal.
func secretValue(c *cobra.Command) ([]byte, error) {
	if terminal(c.InOrStdin()) {
		value, err := readSecret(c, nil, "Value: ")
		return []byte(value), err
	}
	return io.ReadAll(c.InOrStdin())
}
