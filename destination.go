package wherry

import (
	"net/mail"
	"net/url"
	"slices"
	"strings"
)

// Destination is a place that notifications go to, as the API takes it.
type Destination struct {
	ID     string             `json:"id,omitempty"`
	Name   string             `json:"display_name"`
	Type   string             `json:"destination_type,omitempty"` // set by the server, and kept for good
	Config *DestinationConfig `json:"config,omitempty"`
	// Installation says that it is told of the environments that name nobody; nil
	// leaves it as it is. The platform has no such field.
	Installation *bool `json:"installation,omitempty"`
}

// Types of destination.
const (
	DestinationEmail     = "EMAIL"
	DestinationSlack     = "SLACK"
	DestinationTeams     = "MICROSOFT_TEAMS"
	DestinationWebhook   = "WEBHOOK"
	DestinationPagerDuty = "PAGERDUTY"
)

// DestinationConfig holds exactly one of its fields. URLs are secrets as
// passwords are: who has the one of a Slack webhook can write there. They are
// taken, and never given.
type DestinationConfig struct {
	Email     *EmailConfig     `json:"email,omitempty"`
	Slack     *SlackConfig     `json:"slack,omitempty"`
	Teams     *TeamsConfig     `json:"microsoft_teams,omitempty"`
	Webhook   *WebhookConfig   `json:"generic_webhook,omitempty"`
	PagerDuty *PagerDutyConfig `json:"pagerduty,omitempty"`
}

// EmailConfig is a list of addresses.
type EmailConfig struct {
	Addresses []string `json:"addresses"`
}

// SlackConfig is an incoming webhook of Slack.
type SlackConfig struct {
	URL    string `json:"url,omitempty"`
	URLSet bool   `json:"url_set,omitempty"`
	// The other way in, an app with a token, is not supported.
	ChannelID  string `json:"channel_id,omitempty"`
	OAuthToken string `json:"oauth_token,omitempty"`
}

// TeamsConfig is an incoming webhook of a Teams channel, or of a workflow.
type TeamsConfig struct {
	URL    string `json:"url,omitempty"`
	URLSet bool   `json:"url_set,omitempty"`
	// The other way in, an app, is not supported.
	AppID      string `json:"app_id,omitempty"`
	AuthSecret string `json:"auth_secret,omitempty"`
	ChannelURL string `json:"channel_url,omitempty"`
	TenantID   string `json:"tenant_id,omitempty"`
}

// WebhookConfig is a URL that is posted to, with basic authentication if there
// is a user name or password.
type WebhookConfig struct {
	URL         string `json:"url,omitempty"`
	URLSet      bool   `json:"url_set,omitempty"`
	Username    string `json:"username,omitempty"`
	UsernameSet bool   `json:"username_set,omitempty"`
	Password    string `json:"password,omitempty"`
	PasswordSet bool   `json:"password_set,omitempty"`
}

// PagerDutyConfig is the key of an integration of the Events API v2.
type PagerDutyConfig struct {
	IntegrationKey    string `json:"integration_key,omitempty"`
	IntegrationKeySet bool   `json:"integration_key_set,omitempty"`
}

// Type is the type of destination that the configuration makes, "" unless it
// holds exactly one.
func (c *DestinationConfig) Type() string {
	if c == nil {
		return ""
	}
	var types []string
	for name, set := range map[string]bool{
		DestinationEmail: c.Email != nil, DestinationSlack: c.Slack != nil, DestinationTeams: c.Teams != nil,
		DestinationWebhook: c.Webhook != nil, DestinationPagerDuty: c.PagerDuty != nil,
	} {
		if set {
			types = append(types, name)
		}
	}
	if len(types) != 1 {
		return ""
	}
	return types[0]
}

// Validate says what is wrong with a destination, or with what one becomes.
func (d *Destination) Validate() error {
	bad := func(format string, args ...any) error { return Errorf(CodeInvalidParameter, format, args...) }
	if strings.TrimSpace(d.Name) == "" {
		return bad("display_name is missing")
	}
	c := d.Config
	switch c.Type() {
	case DestinationEmail:
		if len(c.Email.Addresses) == 0 {
			return bad("config.email.addresses is empty")
		}
		for _, a := range c.Email.Addresses {
			if _, err := mail.ParseAddress(a); err != nil {
				return bad("config.email.addresses: %q is not an e-mail address", a)
			}
		}
		return nil
	case DestinationSlack:
		if c.Slack.ChannelID != "" || c.Slack.OAuthToken != "" {
			return NotImplemented("a Slack app (channel_id, oauth_token: give the url of an incoming webhook)")
		}
		return webURL("config.slack.url", c.Slack.URL)
	case DestinationTeams:
		if slices.ContainsFunc([]string{c.Teams.AppID, c.Teams.AuthSecret, c.Teams.ChannelURL, c.Teams.TenantID}, func(s string) bool { return s != "" }) {
			return NotImplemented("a Microsoft Teams app (app_id, auth_secret, channel_url, tenant_id: give the url of an incoming webhook)")
		}
		return webURL("config.microsoft_teams.url", c.Teams.URL)
	case DestinationWebhook:
		return webURL("config.generic_webhook.url", c.Webhook.URL)
	case DestinationPagerDuty:
		if c.PagerDuty.IntegrationKey == "" {
			return bad("config.pagerduty.integration_key is missing")
		}
		return nil
	default:
		return bad("config holds exactly one of email, slack, microsoft_teams, generic_webhook and pagerduty")
	}
}

// webURL does not repeat the URL: it may be a secret.
func webURL(field, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return Errorf(CodeInvalidParameter, "%s is not an http or https URL", field)
	}
	if u.User != nil {
		return Errorf(CodeInvalidParameter, "%s holds a user name: give username and password of a generic_webhook instead", field)
	}
	return nil
}

// Merge takes what c does not give from before, which is of the same type: a
// secret that was not sent again stays.
func (c *DestinationConfig) Merge(before *DestinationConfig) {
	keep := func(to *string, from string) {
		if *to == "" {
			*to = from
		}
	}
	switch c.Type() {
	case DestinationSlack:
		keep(&c.Slack.URL, before.Slack.URL)
	case DestinationTeams:
		keep(&c.Teams.URL, before.Teams.URL)
	case DestinationWebhook:
		if c.Webhook.URL != "" && c.Webhook.URL != before.Webhook.URL {
			return // a password is not sent elsewhere
		}
		c.Webhook.URL = before.Webhook.URL
		keep(&c.Webhook.Username, before.Webhook.Username)
		keep(&c.Webhook.Password, before.Webhook.Password)
	case DestinationPagerDuty:
		keep(&c.PagerDuty.IntegrationKey, before.PagerDuty.IntegrationKey)
	}
}

// Shown is c without its secrets: which are set is told in their place.
func (c *DestinationConfig) Shown() *DestinationConfig {
	switch c.Type() {
	case DestinationSlack:
		return &DestinationConfig{Slack: &SlackConfig{URLSet: c.Slack.URL != ""}}
	case DestinationTeams:
		return &DestinationConfig{Teams: &TeamsConfig{URLSet: c.Teams.URL != ""}}
	case DestinationWebhook:
		return &DestinationConfig{Webhook: &WebhookConfig{URLSet: true, UsernameSet: c.Webhook.Username != "", PasswordSet: c.Webhook.Password != ""}}
	case DestinationPagerDuty:
		return &DestinationConfig{PagerDuty: &PagerDutyConfig{IntegrationKeySet: true}}
	default:
		return c
	}
}
