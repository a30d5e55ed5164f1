"""Signs in with the real clients, each way that people use, and prints one
line for each that worked. Where and who come from the environment."""

import logging
import os
import sys

import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential, EnvironmentCredential
from databricks.sdk import WorkspaceClient

logging.disable()  # the clients' complaints of what is meant to fail

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = os.environ["TEST_CLIENT"]
SECRET = os.environ["TEST_SECRET"]
STORAGE = "https://storage.azure.com/.default"


def entra() -> None:
    """Entra, by its own name."""
    token = ClientSecretCredential(TENANT, CLIENT, SECRET).get_token(STORAGE)
    assert token.token.count(".") == 2, token
    os.environ.update(AZURE_TENANT_ID=TENANT, AZURE_CLIENT_ID=CLIENT, AZURE_CLIENT_SECRET=SECRET)
    EnvironmentCredential().get_token("https://management.azure.com/.default")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        del os.environ[name]
    for client, secret, code in ((CLIENT, "wrong", "AADSTS7000215"), ("33333333-3333-3333-3333-333333333333", "x", "AADSTS700016")):
        try:
            ClientSecretCredential(TENANT, client, secret).get_token(STORAGE)
        except ClientAuthenticationError as e:
            assert code in str(e), e
        else:
            raise AssertionError("a wrong secret was accepted")
    print("azure-identity")
    # The first version of the token call, of hadoop-azure: the answer's length must be told.
    r = requests.post(
        f"https://login.microsoftonline.com/{TENANT}/oauth2/token",
        data={"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET, "resource": "https://storage.azure.com/"},
        timeout=60,
    )
    assert r.status_code == 200 and int(r.headers["Content-Length"]) > 0 and isinstance(r.json()["expires_in"], str), r.text
    print("requests")
    w = WorkspaceClient(host="https://adb-1.1.azuredatabricks.net", azure_tenant_id=TENANT, azure_client_id=CLIENT, azure_client_secret=SECRET)
    assert w.current_user.me().user_name == CLIENT
    print("databricks-sdk azure")


def workspace() -> None:
    """The workspace's own address."""
    host = os.environ["TEST_HOST"]
    w = WorkspaceClient(host=host, client_id=CLIENT, client_secret=SECRET)
    me = w.current_user.me()
    assert me.user_name == CLIENT and me.id, me
    assert w.config.auth_type == "oauth-m2m", w.config.auth_type
    print("databricks-sdk m2m")
    admin = os.environ.get("TEST_TOKEN")
    if not admin:
        return
    w = WorkspaceClient(host=host, token=admin)
    me = w.current_user.me()
    assert me.user_name == "admin@localhost" and me.groups, me
    assert w.get_workspace_id() == 1
    made = w.tokens.create(comment="ci", lifetime_seconds=3600)
    assert WorkspaceClient(host=host, token=made.token_value).current_user.me().id == me.id
    assert [t.comment for t in w.tokens.list()] == ["ci"]
    w.tokens.delete(made.token_info.token_id)
    sp = w.service_principals.create(display_name="robot", active=True)
    assert w.service_principals.get(sp.id).application_id == sp.application_id
    assert [p.id for p in w.service_principals.list(filter=f'applicationId eq "{sp.application_id}"')] == [sp.id]
    obo = w.token_management.create_obo_token(sp.application_id, comment="for the robot")
    assert WorkspaceClient(host=host, token=obo.token_value).current_user.me().user_name == sp.application_id
    secret = w.service_principal_secrets_proxy.create(service_principal_id=sp.id)
    assert WorkspaceClient(host=host, client_id=sp.application_id, client_secret=secret.secret).current_user.me().id == sp.id
    assert [s.id for s in w.service_principal_secrets_proxy.list(service_principal_id=sp.id)] == [secret.id]
    w.service_principal_secrets_proxy.delete(service_principal_id=sp.id, secret_id=secret.id)
    w.service_principals.delete(sp.id)
    user = w.users.create(user_name="ann@example.com", display_name="Ann")
    assert [u.user_name for u in w.users.list(attributes="id,userName")] == ["admin@localhost", "ann@example.com"]
    w.users.delete(user.id)
    assert {g.display_name for g in w.groups.list()} == {"admins", "users"}
    print("databricks-sdk token")


for part in sys.argv[1:]:
    globals()[part]()
