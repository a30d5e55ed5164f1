package catalog

import (
	"context"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	store "github.com/wherry-ml/wherry/store/catalog"
)

// metastoreInfo describes the one metastore. The cloud is Azure's, whose
// storage this installation serves.
type metastoreInfo struct {
	MetastoreID           string `json:"metastore_id"`
	GlobalMetastoreID     string `json:"global_metastore_id"`
	Name                  string `json:"name"`
	Owner                 string `json:"owner"`
	Cloud                 string `json:"cloud"`
	Region                string `json:"region"`
	PrivilegeModelVersion string `json:"privilege_model_version"`
	DeltaSharingScope     string `json:"delta_sharing_scope"`
	ExternalAccessEnabled bool   `json:"external_access_enabled"`
	CreatedAt             int64  `json:"created_at"`
	CreatedBy             string `json:"created_by"`
	UpdatedAt             int64  `json:"updated_at"`
	UpdatedBy             string `json:"updated_by"`
}

type metastoreInput struct {
	ID string `json:"id"`
}

func (s *Service) metastore(ctx context.Context, in *metastoreInput) (*metastoreInfo, error) {
	m, err := s.store.Metastore(ctx)
	if err != nil {
		return nil, err
	}
	if in.ID != "" && in.ID != m.ID {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "Metastore '%s' does not exist.", in.ID)
	}
	return &metastoreInfo{
		MetastoreID: m.ID, GlobalMetastoreID: "azure:local:" + m.ID, Name: m.Name, Owner: m.Owner, Cloud: "azure", Region: "local",
		PrivilegeModelVersion: "1.0", DeltaSharingScope: "INTERNAL",
		CreatedAt: m.CreatedAt, CreatedBy: m.CreatedBy, UpdatedAt: m.UpdatedAt, UpdatedBy: m.UpdatedBy,
	}, nil
}

type metastoresOutput struct {
	Metastores []*metastoreInfo `json:"metastores"`
}

func (s *Service) metastores(ctx context.Context, _ *api.Empty) (*metastoresOutput, error) {
	m, err := s.metastore(ctx, &metastoreInput{})
	return &metastoresOutput{[]*metastoreInfo{m}}, err
}

type systemSchemasOutput struct {
	Schemas []any `json:"schemas"`
}

func (s *Service) systemSchemas(context.Context, *metastoreInput) (*systemSchemasOutput, error) {
	return &systemSchemasOutput{[]any{}}, nil
}

type assignmentOutput struct {
	MetastoreID    string `json:"metastore_id"`
	WorkspaceID    int64  `json:"workspace_id"`
	DefaultCatalog string `json:"default_catalog_name"`
}

func (s *Service) assignment(ctx context.Context, _ *api.Empty) (*assignmentOutput, error) {
	m, err := s.store.Metastore(ctx)
	if err != nil {
		return nil, err
	}
	return &assignmentOutput{MetastoreID: m.ID, WorkspaceID: wherry.IdentityFrom(ctx).WorkspaceID, DefaultCatalog: store.DefaultCatalog}, nil
}

type assignmentInput struct {
	WorkspaceID    int64  `json:"workspace_id"`
	MetastoreID    string `json:"metastore_id"`
	DefaultCatalog string `json:"default_catalog_name"`
}

// assign takes what is so from the start: each workspace has the one metastore.
func (s *Service) assign(ctx context.Context, in *assignmentInput) (*api.Empty, error) {
	if in.MetastoreID == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "metastore_id is required")
	}
	return s.reassign(ctx, in)
}

// reassign takes what is so. Another default catalog is not supported.
func (s *Service) reassign(ctx context.Context, in *assignmentInput) (*api.Empty, error) {
	if err := s.store.WorkspaceExists(ctx, in.WorkspaceID); err != nil {
		return nil, err
	}
	if _, err := s.metastore(ctx, &metastoreInput{ID: in.MetastoreID}); err != nil {
		return nil, err
	}
	if in.DefaultCatalog != "" && in.DefaultCatalog != store.DefaultCatalog {
		return nil, wherry.NotImplemented("another default catalog than " + store.DefaultCatalog)
	}
	return &api.Empty{}, nil
}

// unassign finds nothing that could be taken away.
func (s *Service) unassign(_ context.Context, in *assignmentInput) (*api.Empty, error) {
	return nil, wherry.Errorf(wherry.CodeDoesNotExist, "No assignment of workspace %d can be removed: each workspace here has the metastore as long as it is there.", in.WorkspaceID)
}
