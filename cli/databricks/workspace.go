package databricks

const workspaceAPI = "/api/2.0/workspace/"
