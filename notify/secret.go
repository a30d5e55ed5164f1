package notify

import (
	"encoding/json"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/workspace"
)

// holder names in sealed values what they are.
const holder = "notification-destination"

// SealConfig seals what a channel needs to know of a destination, under its id.
func SealConfig(key *workspace.Key, id string, c *wherry.DestinationConfig) ([]byte, error) {
	doc, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return key.Seal(holder, id, doc), nil
}

// OpenConfig gives back what SealConfig sealed.
func OpenConfig(key *workspace.Key, d notify.StoredDestination) (*wherry.DestinationConfig, error) {
	doc, err := key.Open(holder, d.ID, d.Sealed)
	if err != nil {
		return nil, err
	}
	c := &wherry.DestinationConfig{}
	return c, json.Unmarshal(doc, c)
}
