"""Signs in with a workflow's token, in both ways of azure-identity, and prints
one line for each that worked. Where and who come from the environment."""

import os
import pathlib

import requests
from azure.identity import ClientAssertionCredential, WorkloadIdentityCredential
from azure.storage.filedatalake import DataLakeServiceClient

credential = WorkloadIdentityCredential()
token = credential.get_token("https://management.azure.com/.default").token
answer = requests.get(
    f"https://management.azure.com{os.environ['TEST_ACCOUNT']}?api-version=2023-05-01",
    headers={"Authorization": f"Bearer {token}"},
    timeout=60,
)
assert answer.status_code == 200, answer.text
lake = answer.json()["properties"]["primaryEndpoints"]["dfs"]
files = DataLakeServiceClient(lake, credential=credential).create_file_system("bronze")
files.get_file_client("a.txt").upload_data(b"text", overwrite=True)
print("workload identity")

assertion = pathlib.Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text()
again = ClientAssertionCredential(os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], lambda: assertion)
file = DataLakeServiceClient(lake, credential=again).get_file_client("bronze", "a.txt")
assert file.download_file().readall() == b"text"
print("client assertion")
