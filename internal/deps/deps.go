//go:build deps

// Package deps holds go.mod's requirements until their users exist.
package deps

import (
	_ "charm.land/lipgloss/v2"
	_ "github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	_ "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	_ "github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/service"
	_ "github.com/alecthomas/chroma/v2/formatters/html"
	_ "github.com/alecthomas/chroma/v2/lexers"
	_ "github.com/bmatcuk/doublestar/v4"
	_ "github.com/chromedp/chromedp"
	_ "github.com/databricks/databricks-sdk-go"
	_ "github.com/go-jose/go-jose/v4/jwt"
	_ "github.com/goccy/go-yaml/parser"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/microcosm-cc/bluemonday"
	_ "github.com/pressly/goose/v3"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/sabhiram/go-gitignore"
	_ "github.com/spf13/cobra"
	_ "github.com/yuin/goldmark"
	_ "golang.org/x/crypto/argon2"
	_ "golang.org/x/net/http2"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "modernc.org/sqlite"
	_ "pgregory.net/rapid"
	_ "software.sslmate.com/src/go-pkcs12"
)
