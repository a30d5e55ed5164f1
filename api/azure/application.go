package azure

import (
	"net/http"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store/azure"
)

// application is an application as Graph shows it.
func (g *graphCall) application(o azure.Object) (Document, error) {
	p, err := auth.PrincipalByID(g.tx, wherry.KindServicePrincipal, o.PrincipalID)
	if err != nil {
		return nil, err
	}
	passwords, err := g.passwords(p.ID, o.ID)
	if err != nil {
		return nil, err
	}
	doc := o.Document
	fill(doc, Document{
		"signInAudience": "AzureADMyOrg", "identifierUris": []any{}, "appRoles": []any{}, "requiredResourceAccess": []any{}, "keyCredentials": []any{}, "tags": []any{}, "info": Document{},
		"publisherDomain": "localhost", "api": Document{"oauth2PermissionScopes": []any{}, "knownClientApplications": []any{}, "preAuthorizedApplications": []any{}, "requestedAccessTokenVersion": nil, "acceptMappedClaims": nil},
		"web":          Document{"redirectUris": []any{}, "implicitGrantSettings": Document{"enableAccessTokenIssuance": false, "enableIdTokenIssuance": false}},
		"publicClient": Document{"redirectUris": []any{}}, "spa": Document{"redirectUris": []any{}}, "parentalControlSettings": Document{"countriesBlockedForMinors": []any{}, "legalAgeGroupRule": "Allow"},
	})
	for _, name := range []string{"description", "notes", "groupMembershipClaims", "optionalClaims", "isFallbackPublicClient", "isDeviceOnlyAuthSupported", "oauth2RequirePostResponse", "serviceManagementReference", "tokenEncryptionKeyId", "disabledByMicrosoftStatus"} {
		if _, ok := doc[name]; !ok {
			doc[name] = nil
		}
	}
	doc["@odata.type"], doc["id"], doc["appId"], doc["displayName"] = "#microsoft.graph.application", o.ID, o.AppID, p.DisplayName
	doc["passwordCredentials"], doc["createdDateTime"], doc["deletedDateTime"] = passwords, instant(o.CreatedAt), nil
	return doc, nil
}

func (g *graphCall) listApplications() error {
	all, err := azure.Objects(g.tx, azure.KindApplication)
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, o := range all {
		doc, err := g.application(o)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			continue // its principal was removed by SCIM
		}
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	return g.answerDocs(docs)
}

// createApplication makes an application and the principal that it signs in as,
// inactive until there is a service principal.
func (g *graphCall) createApplication() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	if text(in, "displayName") == "" {
		return badRequest("Request_BadRequest", "displayName is needed.")
	}
	p, err := auth.AddServicePrincipal(g.tx, "", text(in, "displayName"), false)
	if err != nil {
		return err
	}
	p.Active = false
	if err := auth.UpdatePrincipal(g.tx, p); err != nil {
		return err
	}
	o := azure.Object{ID: auth.NewGUID(), Kind: azure.KindApplication, AppID: p.ApplicationID, PrincipalID: p.ID, Document: kept(in)}
	if err := azure.PutObject(g.tx, o, g.by()); err != nil {
		return err
	}
	// The maker owns it, so that who may change only its own can.
	if err := azure.Link(g.tx, o.ID, azure.RelOwner, g.object); err != nil {
		return err
	}
	if err := g.linkBound(o.ID, in); err != nil {
		return err
	}
	if o, err = azure.FindObject(g.tx, o.ID); err != nil {
		return err
	}
	doc, err := g.application(o)
	if err != nil {
		return err
	}
	return g.answer(http.StatusCreated, doc)
}

// owner is the application or service principal of the path, as the principal
// that signs in.
func (g *graphCall) owner() (wherry.Principal, error) {
	if g.kind == azure.KindServicePrincipal {
		return g.findServicePrincipal()
	}
	o, err := g.find()
	if err != nil {
		return wherry.Principal{}, err
	}
	return auth.PrincipalByID(g.tx, wherry.KindServicePrincipal, o.PrincipalID)
}

// defaultPassword is how long a secret is good for if nothing is said.
const defaultPassword = 2 * 365 * 24 * time.Hour

func (g *graphCall) addPassword() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	p, err := g.owner()
	if err != nil {
		return err
	}
	want := object(in, "passwordCredential")
	expires := time.Now().Add(defaultPassword)
	if end := text(want, "endDateTime"); end != "" {
		if expires, err = time.Parse(time.RFC3339, end); err != nil {
			return badRequest("Request_BadRequest", "endDateTime '"+end+"' is not a time such as 2030-01-31T00:00:00Z.")
		}
	}
	if start := text(want, "startDateTime"); start != "" {
		if at, err := time.Parse(time.RFC3339, start); err != nil || at.After(time.Now().Add(5*time.Minute)) {
			return &fault{Status: http.StatusNotImplemented, Code: "NotImplemented", Message: "wherry's secrets begin to be good at once: startDateTime '" + start + "' is not a time in the past."}
		}
	}
	one, value, err := auth.AddSecret(g.tx, p.ID, auth.Secret{Expires: expires.UnixMilli(), DisplayName: text(want, "displayName"), Owner: g.id})
	if err != nil {
		return err
	}
	doc := password(one, value)
	doc["@odata.context"] = "https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.passwordCredential"
	return g.answer(http.StatusOK, doc)
}

func (g *graphCall) removePassword() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	p, err := g.owner()
	if err != nil {
		return err
	}
	if err := auth.DeleteSecret(g.tx, p.ID, strings.ToLower(text(in, "keyId"))); wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return badRequest("Request_BadRequest", "No password credential found with keyId '"+text(in, "keyId")+"'.")
	} else if err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}

func federation(f auth.Federation) Document {
	doc := Document{"id": f.ID, "name": f.Name, "issuer": f.Issuer, "subject": f.Subject, "audiences": f.Audiences, "description": f.Description}
	if f.Description == "" {
		doc["description"] = nil
	}
	return doc
}

func (g *graphCall) listFederations() error {
	p, err := g.owner()
	if err != nil {
		return err
	}
	list, err := auth.Federations(g.tx, p.ID, auth.SurfaceGraph)
	if err != nil {
		return err
	}
	docs := []Document{}
	for _, f := range list {
		docs = append(docs, federation(f))
	}
	return g.answerDocs(docs)
}

func (g *graphCall) getFederation() error {
	p, err := g.owner()
	if err != nil {
		return err
	}
	f, err := auth.FederationBy(g.tx, p.ID, auth.SurfaceGraph, g.sub)
	if err != nil {
		return err
	}
	return g.answer(http.StatusOK, federation(f))
}

func (g *graphCall) createFederation() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	p, err := g.owner()
	if err != nil {
		return err
	}
	f := auth.Federation{PrincipalID: p.ID, Surface: auth.SurfaceGraph, Name: text(in, "name")}
	if _, err := auth.FederationBy(g.tx, p.ID, f.Surface, f.Name); err == nil {
		return conflict("Request_MultipleObjectsWithSameKeyValue", "FederatedIdentityCredential with name "+f.Name+" already exists.")
	}
	if err := g.putFederation(&f, in); err != nil {
		return err
	}
	if f, err = auth.FederationBy(g.tx, p.ID, f.Surface, f.Name); err != nil {
		return err
	}
	return g.answer(http.StatusCreated, federation(f))
}

func (g *graphCall) putFederation(f *auth.Federation, in Document) error {
	for name, field := range map[string]*string{"issuer": &f.Issuer, "subject": &f.Subject, "description": &f.Description} {
		if _, ok := in[name]; ok {
			*field = text(in, name)
		}
	}
	if _, ok := in["audiences"]; ok {
		f.Audiences = texts(in["audiences"])
	}
	if f.Name == "" || f.Issuer == "" || f.Subject == "" || len(f.Audiences) != 1 {
		return badRequest("Request_BadRequest", "A federated identity credential needs name, issuer, subject and one audience.")
	}
	return auth.PutFederation(g.tx, *f)
}

func (g *graphCall) changeFederation() error {
	in, err := g.body()
	if err != nil {
		return err
	}
	p, err := g.owner()
	if err != nil {
		return err
	}
	f, err := auth.FederationBy(g.tx, p.ID, auth.SurfaceGraph, g.sub)
	if err != nil {
		return err
	}
	if err := g.putFederation(&f, in); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}

func (g *graphCall) deleteFederation() error {
	p, err := g.owner()
	if err != nil {
		return err
	}
	if err := auth.DropFederation(g.tx, p.ID, auth.SurfaceGraph, g.sub); err != nil {
		return err
	}
	return g.empty(http.StatusNoContent)
}
