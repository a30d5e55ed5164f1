// Package signin finds the workspace that a command is to call, and who it is
// there, from the environment and ~/.databrickscfg, by the rules that the
// Databricks SDKs document as unified authentication.
package signin

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/ini.v1"
)

// Options says where to look.
type Options struct {
	// Profile is the profile that the command line names. It goes before the
	// environment, whose host and credentials are left out then.
	Profile string
	// BundleHost and BundleProfile are what the bundle of the working directory
	// names: used where neither the command line nor the environment says more.
	BundleHost, BundleProfile string
	// Getenv reads the environment.
	Getenv func(string) string
	// HTTP asks for tokens.
	HTTP *http.Client
}

// Value is one setting with where it is from.
type Value struct {
	Name   string
	Value  string
	Source string
	Secret bool
}

// Config is a workspace and who signs in there.
type Config struct {
	Host     string // scheme://host
	Profile  string // "" if no profile is used
	File     string // of profiles, whether or not it exists
	AuthType string
	options  Options
	values   map[string]Value
}

// field is a setting by its names in profiles and in the environment. Settings
// of two groups contradict each other unless auth_type decides.
type field struct {
	name, env, group string
	secret           bool
}

var fields = []field{
	{name: "host", env: "DATABRICKS_HOST"},
	{name: "auth_type", env: "DATABRICKS_AUTH_TYPE"},
	{name: "account_id", env: "DATABRICKS_ACCOUNT_ID"},
	{name: "cluster_id", env: "DATABRICKS_CLUSTER_ID"},
	{name: "warehouse_id", env: "DATABRICKS_WAREHOUSE_ID"},
	{name: "token", env: "DATABRICKS_TOKEN", group: "pat", secret: true},
	{name: "username", env: "DATABRICKS_USERNAME", group: "basic"},
	{name: "password", env: "DATABRICKS_PASSWORD", group: "basic", secret: true},
	{name: "client_id", env: "DATABRICKS_CLIENT_ID", group: "oauth"},
	{name: "client_secret", env: "DATABRICKS_CLIENT_SECRET", group: "oauth", secret: true},
	{name: "azure_workspace_resource_id", env: "DATABRICKS_AZURE_RESOURCE_ID", group: "azure"},
	{name: "azure_client_id", env: "ARM_CLIENT_ID", group: "azure"},
	{name: "azure_client_secret", env: "ARM_CLIENT_SECRET", group: "azure", secret: true},
	{name: "azure_tenant_id", env: "ARM_TENANT_ID", group: "azure"},
	{name: "azure_environment", env: "ARM_ENVIRONMENT"},
	{name: "actions_id_token_request_url", env: "ACTIONS_ID_TOKEN_REQUEST_URL"},
	{name: "actions_id_token_request_token", env: "ACTIONS_ID_TOKEN_REQUEST_TOKEN", secret: true},
	{name: "audience", env: "DATABRICKS_TOKEN_AUDIENCE"},
	{name: "oidc_token_env", env: "DATABRICKS_OIDC_TOKEN_ENV", group: "env-oidc"},
	{name: "databricks_id_token_filepath", env: "DATABRICKS_OIDC_TOKEN_FILEPATH", group: "file-oidc"},
}

// settings is the section of the file that is no profile: it names the default.
const settings = "__settings__"

// Find reads the configuration and decides how to sign in; it calls no one.
func Find(o Options) (*Config, error) {
	c := &Config{options: o, values: map[string]Value{}, Profile: o.Profile}
	var err error
	if c.File, err = ConfigFile(o.Getenv); err != nil {
		return nil, err
	}
	if o.Profile == "" {
		c.readEnvironment()
		c.Profile = o.Getenv("DATABRICKS_CONFIG_PROFILE")
	}
	configured := c.Get("host") != "" || len(c.groups()) > 0
	if c.Profile == "" && !configured {
		c.Profile = o.BundleProfile
	}
	if c.Profile != "" || !configured {
		if err := c.readProfile(); err != nil {
			return nil, err
		}
	}
	if c.Get("host") == "" && o.BundleHost != "" {
		c.set("host", o.BundleHost, "the bundle")
	}
	if c.Host, err = CleanHost(c.Get("host")); err != nil {
		return nil, err
	}
	return c, c.decide()
}

// ConfigFile is the path of the file of profiles.
func ConfigFile(getenv func(string) string) (string, error) {
	name := getenv("DATABRICKS_CONFIG_FILE")
	if name == "" {
		name = "~/.databrickscfg"
	}
	rest, ok := strings.CutPrefix(name, "~/")
	if !ok {
		return name, nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("HOME is not set, and ~/.databrickscfg is below it: set DATABRICKS_CONFIG_FILE")
	}
	return filepath.Join(home, rest), nil
}

// Get is a setting, "" if nothing sets it.
func (c *Config) Get(name string) string { return c.values[name].Value }

func (c *Config) set(name, value, source string) {
	if _, ok := c.values[name]; ok || value == "" {
		return
	}
	if i := slices.IndexFunc(fields, func(f field) bool { return f.name == name }); i >= 0 {
		c.values[name] = Value{Name: name, Value: value, Source: source, Secret: fields[i].secret}
	}
}

// Values are the settings that something sets, in a fixed order.
func (c *Config) Values() (list []Value) {
	for _, f := range fields {
		if v, ok := c.values[f.name]; ok {
			list = append(list, v)
		}
	}
	return list
}

// Environment is the configuration as variables, with the secrets.
func (c *Config) Environment() map[string]string {
	env := map[string]string{"DATABRICKS_AUTH_TYPE": c.AuthType}
	for _, f := range fields {
		if v := c.Get(f.name); v != "" {
			env[f.env] = v
		}
	}
	env["DATABRICKS_HOST"] = c.Host
	if c.Profile != "" {
		env["DATABRICKS_CONFIG_PROFILE"] = c.Profile
	}
	return env
}

func (c *Config) readEnvironment() {
	for _, f := range fields {
		c.set(f.name, c.options.Getenv(f.env), f.env)
	}
}

// groups are the ways to sign in that something is set for.
func (c *Config) groups() (names []string) {
	for _, f := range fields {
		if f.group != "" && c.Get(f.name) != "" && !slices.Contains(names, f.group) {
			names = append(names, f.group)
		}
	}
	return names
}

// Profiles reads the file of profiles; an empty one if there is none.
func Profiles(name string) (*ini.File, error) {
	// A password may have a "#": only one after a space begins a comment.
	file, err := ini.LoadSources(ini.LoadOptions{SpaceBeforeInlineComment: true}, name)
	if errors.Is(err, fs.ErrNotExist) {
		return ini.Empty(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the profiles of %s: %w", name, err)
	}
	return file, nil
}

// readProfile takes what is not set yet from the profile that is named, from
// that of the bundle's host, or from the default one.
func (c *Config) readProfile() error {
	file, err := Profiles(c.File)
	if err != nil {
		return err
	}
	name := c.Profile
	switch {
	case name == settings:
		return fmt.Errorf("%s is no profile: it holds the settings of %s", settings, c.File)
	case name == "" && c.options.BundleHost != "":
		if name = profileOf(file, c.options.BundleHost); name == "" {
			return nil
		}
	case name == "":
		if name = file.Section(settings).Key("default_profile").String(); name == "" {
			name = ini.DefaultSection
		}
	}
	if !file.HasSection(name) || len(file.Section(name).Keys()) == 0 {
		if c.Profile == "" {
			return nil
		}
		return fmt.Errorf("%s has no profile %s: it has %s", c.File, name, strings.Join(ProfileNames(file), ", "))
	}
	c.Profile = name
	for _, key := range file.Section(name).Keys() {
		c.set(key.Name(), strings.TrimSpace(key.Value()), "profile "+name)
	}
	return nil
}

// ProfileNames lists the profiles of a file.
func ProfileNames(file *ini.File) (names []string) {
	for _, s := range file.Sections() {
		if s.Name() != settings && len(s.Keys()) > 0 {
			names = append(names, s.Name())
		}
	}
	return names
}

// profileOf is the profile whose host a bundle names.
func profileOf(file *ini.File, host string) string {
	want, err := CleanHost(host)
	if err != nil {
		return ""
	}
	for _, name := range ProfileNames(file) {
		if got, err := CleanHost(file.Section(name).Key("host").String()); err == nil && got == want {
			return name
		}
	}
	return ""
}

// CleanHost takes a host with or without its scheme, and with the path or query
// that a browser shows.
func CleanHost(host string) (string, error) {
	if host == "" {
		return "", nil
	}
	u, err := url.Parse(host)
	if err != nil || u.Host == "" {
		u, err = url.Parse("https://" + host)
	}
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("%q is no host: write it as https://adb-1234567890123456.7.azuredatabricks.net", host)
	}
	return u.Scheme + "://" + u.Host, nil
}

// readFile reads a token that a file holds.
func readFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	return strings.TrimSpace(string(b)), err
}
