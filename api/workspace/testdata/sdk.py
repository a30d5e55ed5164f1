"""What a person does with databricks-sdk for Python: run by TestPythonSDK."""

import base64
import io
import os
import tempfile

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import AlreadyExists, NotFound, NotImplemented, ResourceAlreadyExists
from databricks.sdk.service import catalog, iam, workspace

w = WorkspaceClient()  # host and token from the environment


def raises(kind, fn, *args, **kwargs):
    try:
        fn(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError(f"{fn.__name__}{args} did not raise {kind.__name__}")


# Catalog.
w.catalogs.create("py", comment="made by a test")
w.schemas.create("s", "py")
assert {s.name for s in w.schemas.list("py")} == {"default", "s"}
raises(NotFound, w.tables.get, "py.s.none")
assert w.tables.exists("py.s.none").table_exists is False
w.tables.create(
    name="t",
    catalog_name="py",
    schema_name="s",
    table_type=catalog.TableType.EXTERNAL,
    data_source_format=catalog.DataSourceFormat.DELTA,
    storage_location="abfss://raw@acct.dfs.core.windows.net/t",
)
assert [t.full_name for t in w.tables.list("py", "s")] == ["py.s.t"]
assert [t.table_type for t in w.tables.list_summaries("py")] == [catalog.TableType.EXTERNAL]
w.volumes.create("py", "s", "v", catalog.VolumeType.MANAGED)
w.grants.update("SCHEMA", "py.s", changes=[catalog.PermissionsChange(principal="eva", add=[catalog.Privilege.SELECT])])
effective = w.grants.get_effective("TABLE", "py.s.t", principal="eva").privilege_assignments
assert effective[0].privileges[0].inherited_from_name == "py.s", effective

# Files, small and larger than what the client uploads in one piece.
root = "/Volumes/py/s/v"
w.files.upload(f"{root}/dir/small.txt", io.BytesIO(b"hello"), overwrite=True)
raises(AlreadyExists, w.files.upload, f"{root}/dir/small.txt", io.BytesIO(b"again"), overwrite=False)
assert w.files.download(f"{root}/dir/small.txt").contents.read() == b"hello"
assert w.files.get_metadata(f"{root}/dir/small.txt").content_length == 5
large = os.urandom(1 << 20) * 60
w.files.upload(f"{root}/large.bin", io.BytesIO(large), overwrite=True)
assert w.files.get_metadata(f"{root}/large.bin").content_length == len(large)
assert w.files.download(f"{root}/large.bin").contents.read() == large
with tempfile.TemporaryDirectory() as d:
    w.files.download_to(f"{root}/large.bin", f"{d}/large.bin", use_parallel=True)
    assert open(f"{d}/large.bin", "rb").read() == large
    w.files.upload_from(f"{root}/from.bin", f"{d}/large.bin")
assert sorted(e.name for e in w.files.list_directory_contents(root)) == ["dir", "from.bin", "large.bin"]
raises(NotFound, w.files.download, f"{root}/none")
raises(NotFound, w.files.get_directory_metadata, f"{root}/none")
w.files.delete(f"{root}/large.bin")

# Workspace.
home = f"/Users/{w.current_user.me().user_name}" if os.environ.get("WITH_ME") else "/Users/admin@localhost"
w.workspace.mkdirs(f"{home}/py/sub")
w.workspace.upload(f"{home}/py/nb.py", io.BytesIO(b"print(1)"), language=workspace.Language.PYTHON)
raises(ResourceAlreadyExists, w.workspace.upload, f"{home}/py/nb.py", io.BytesIO(b"print(2)"), language=workspace.Language.PYTHON)
w.workspace.upload(f"{home}/py/nb.py", io.BytesIO(b"print(2)"), language=workspace.Language.PYTHON, overwrite=True)
w.workspace.upload(f"{home}/py/sub/f.txt", io.BytesIO(b"text"), format=workspace.ImportFormat.AUTO)
found = {(o.path, o.object_type) for o in w.workspace.list(f"{home}/py", recursive=True)}
assert found == {(f"{home}/py/nb", workspace.ObjectType.NOTEBOOK), (f"{home}/py/sub/f.txt", workspace.ObjectType.FILE)}, found
assert w.workspace.download(f"{home}/py/nb").read() == b"# Databricks notebook source\nprint(2)"
assert base64.b64decode(w.workspace.export(f"{home}/py/sub/f.txt").content) == b"text"
raises(NotFound, w.workspace.get_status, f"{home}/none")

# DBFS, by the client's own file interface.
with w.dbfs.open("/tmp/x.bin", write=True, overwrite=True) as f:
    f.write(large[: 3 << 20])
with w.dbfs.open("/tmp/x.bin", read=True) as f:
    assert f.read() == large[: 3 << 20]
w.dbfs.copy(f"dbfs:{root}/dir", "dbfs:/tmp/copied", recursive=True)
assert [f.path for f in w.dbfs.list("dbfs:/tmp/copied")] == ["/tmp/copied/small.txt"]
assert w.dbfs.exists("/tmp/x.bin") and not w.dbfs.exists("/tmp/none")
w.dbfs.delete("/tmp", recursive=True)

# Secrets and permissions.
w.secrets.create_scope("py")
w.secrets.put_secret("py", "k", string_value="hush")
assert w.dbutils.secrets.get("py", "k") == "hush"
assert [s.key for s in w.secrets.list_secrets("py")] == ["k"]
w.permissions.set("clusters", "c-1", access_control_list=[
    iam.AccessControlRequest(group_name="users", permission_level=iam.PermissionLevel.CAN_RESTART)])
got = w.permissions.get("clusters", "c-1")
assert got.access_control_list[0].all_permissions[0].permission_level == iam.PermissionLevel.CAN_RESTART

raises(NotImplemented, w.temporary_table_credentials.generate_temporary_table_credentials, table_id="x")
w.catalogs.delete("py", force=True)
raises(NotFound, w.volumes.read, "py.s.v")
print("ok")
