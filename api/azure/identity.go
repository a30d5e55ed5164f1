package azure

import (
	"net/http"
	"slices"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
)

func nowMilli() int64 { return time.Now().UnixMilli() }

// userIdentity makes a service principal that signs in by federation only.
func userIdentity(x *change) error {
	p := x.properties()
	if x.old != nil {
		was := object(x.old.Document, "properties")
		p["principalId"], p["clientId"], p["tenantId"] = was["principalId"], was["clientId"], was["tenantId"]
	} else {
		made, err := auth.AddServicePrincipal(x.tx, "", x.resource.Name, false)
		if err != nil {
			return err
		}
		p["principalId"], p["clientId"], p["tenantId"] = auth.ObjectID(made), made.ApplicationID, x.c.tenant
	}
	x.doc["properties"] = p
	return nil
}

func removeUserIdentity(tx *store.Tx, r azure.Resource) error {
	return removePrincipal(tx, text(object(r.Document, "properties"), "principalId"))
}

// federationKind lets tokens of an issuer sign in as a user-assigned identity.
func (s *Service) federationKind() *kind {
	return &kind{
		name: "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials", first: "2022-01-31-preview", usual: "2023-01-31",
		prepare: func(x *change) error {
			p := x.properties()
			who, err := s.identityOf(x.tx, x.t)
			if err != nil {
				return err
			}
			if who.Admin && !x.c.who.Admin {
				return &fault{Status: http.StatusForbidden, Code: "AuthorizationFailed", Message: "Only admins let others sign in as an admin."}
			}
			audiences := texts(p["audiences"])
			if text(p, "issuer") == "" || text(p, "subject") == "" || len(audiences) == 0 {
				return badRequest("BadRequest", "issuer, subject and audiences are needed.")
			}
			return auth.PutFederation(x.tx, auth.Federation{
				PrincipalID: who.ID, Surface: auth.SurfaceGraph, Name: x.resource.Name, Issuer: text(p, "issuer"), Subject: text(p, "subject"), Audiences: audiences,
			})
		},
		remove: func(tx *store.Tx, r azure.Resource) error {
			t, err := parse(r.ID)
			if err != nil {
				return err
			}
			who, err := s.identityOf(tx, t)
			if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
				return nil
			}
			if err != nil {
				return err
			}
			return auth.DropFederation(tx, who.ID, auth.SurfaceGraph, r.Name)
		},
	}
}

// identityOf is the principal of the user-assigned identity that a federated
// credential belongs to.
func (s *Service) identityOf(tx *store.Tx, t target) (wherry.Principal, error) {
	r, err := azure.Find(tx, s.id(t.parent()))
	if err != nil {
		return wherry.Principal{}, err
	}
	return auth.PrincipalByObject(tx, text(object(r.Document, "properties"), "principalId"))
}

// texts returns the strings of a list.
func texts(v any) (list []string) {
	all, _ := v.([]any)
	for _, one := range all {
		if s, ok := one.(string); ok {
			list = append(list, s)
		}
	}
	return slices.Clip(list)
}
