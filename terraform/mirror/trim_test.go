package main

import (
	"go/format"
	"testing"
)

// TestTrim shows what is cut out of azurerm's lists: services and clients that
// are not kept, what sets them, and the imports that nothing uses then.
func TestTrim(t *testing.T) {
	const list = `package provider

import (
	"example.com/azurerm/internal/sdk"
	"example.com/azurerm/internal/services/advisor"
	"example.com/azurerm/internal/services/storage"
)

func Services() []sdk.Registration {
	services := []sdk.Registration{
		advisor.Registration{},
		storage.Registration{},
	}
	return append(services, more()...)
}
`
	const listed = `package provider

import (
	"example.com/azurerm/internal/sdk"

	"example.com/azurerm/internal/services/storage"
)

func Services() []sdk.Registration {
	services := []sdk.Registration{

		storage.Registration{},
	}
	return append(services, more()...)
}
`
	const client = `package clients

import (
	"fmt"

	dns "example.com/go-azure-sdk/resource-manager/dns/2018-05-01"
	"example.com/azurerm/internal/features"
	frontdoor "example.com/azurerm/internal/services/frontdoor/client"
	storage "example.com/azurerm/internal/services/storage/client"
)

type Client struct {
	Features *features.All

	Dns       *dns.Client
	Frontdoor *frontdoor.Client
	Storage   *storage.Client
}

func (client *Client) Build(o *Options) (err error) {
	client.Features = o.Features
	if client.Dns, err = dns.New(o); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	client.Frontdoor = frontdoor.New(o)
	if client.Storage, err = storage.New(o); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}
`
	const client2 = `package clients

import (
	"fmt"

	"example.com/azurerm/internal/features"

	storage "example.com/azurerm/internal/services/storage/client"
)

type Client struct {
	Features *features.All

	Storage *storage.Client
}

func (client *Client) Build(o *Options) (err error) {
	client.Features = o.Features

	if client.Storage, err = storage.New(o); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}
`
	for name, test := range map[string][2]string{"services": {list, listed}, "clients": {client, client2}} {
		t.Run(name, func(t *testing.T) {
			got, err := trim("x.go", []byte(test[0]), []string{"storage"}, []string{"Storage"})
			if err != nil {
				t.Fatal(err)
			}
			if got, err = format.Source(got); err != nil {
				t.Fatal(err)
			}
			if string(got) != test[1] {
				t.Errorf("trimmed is\n%s\nwant\n%s", got, test[1])
			}
		})
	}
}
