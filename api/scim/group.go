package scim

import (
	"net/http"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// all makes the two groups with their members.
func (a *API) all(r *http.Request) (admins, users map[string]any, err error) {
	admins = map[string]any{"schemas": []string{schemaGroup}, "id": groupAdmins, "displayName": "admins", "meta": map[string]string{"resourceType": "WorkspaceGroup"}}
	users = map[string]any{"schemas": []string{schemaGroup}, "id": groupUsers, "displayName": "users", "meta": map[string]string{"resourceType": "WorkspaceGroup"}}
	inAdmins, inUsers := []map[string]string{}, []map[string]string{}
	err = a.db.Read(r.Context(), func(tx *store.Tx) error {
		for _, k := range kinds {
			list, err := auth.Principals(tx, k.of)
			if err != nil {
				return err
			}
			for _, p := range list {
				id := strconv.FormatInt(p.ID, 10)
				member := map[string]string{"display": p.DisplayName, "value": id, "$ref": k.path + "/" + id}
				inUsers = append(inUsers, member)
				if p.Admin {
					inAdmins = append(inAdmins, member)
				}
			}
		}
		return nil
	})
	admins["members"], users["members"] = inAdmins, inUsers
	return admins, users, err
}

func (a *API) groups(w http.ResponseWriter, r *http.Request) error {
	match, err := filter(r.URL.Query().Get("filter"))
	if err != nil {
		return err
	}
	admins, users, err := a.all(r)
	if err != nil {
		return err
	}
	docs := []map[string]any{}
	for _, g := range []map[string]any{admins, users} {
		if match(g) {
			docs = append(docs, selected(g, r))
		}
	}
	return writeList(w, r, docs)
}

func (a *API) group(w http.ResponseWriter, r *http.Request) error {
	admins, users, err := a.all(r)
	if err != nil {
		return err
	}
	switch r.PathValue("id") {
	case groupAdmins:
		return api.WriteJSON(w, http.StatusOK, selected(admins, r))
	case groupUsers:
		return api.WriteJSON(w, http.StatusOK, selected(users, r))
	}
	return wherry.Errorf(wherry.CodeDoesNotExist, "Group with id %s does not exist", r.PathValue("id"))
}
