"""Drives the storage endpoint with the real azure-storage-file-datalake client.

usage: datalake.py ACCOUNT_URL KEY
"""
import os
import sys

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.filedatalake import DataLakeServiceClient

svc = DataLakeServiceClient(sys.argv[1], credential=sys.argv[2])
fs = svc.create_file_system("raw")
try:
    svc.create_file_system("raw")
    raise SystemExit("a second create succeeded")
except ResourceExistsError:
    pass
assert [f.name for f in svc.list_file_systems()] == ["raw"]
fs.create_directory("a/b")
f = fs.get_file_client("a/b/x.txt")
f.upload_data(b"hello" * 1000, overwrite=True, metadata={"kind": "greeting"})
assert f.download_file().readall() == b"hello" * 1000
assert f.download_file(offset=5, length=5).readall() == b"hello"
assert f.get_file_properties().metadata["kind"] == "greeting"
paths = [(p.name, bool(p.is_directory), p.content_length) for p in fs.get_paths(recursive=True)]
assert paths == [("a", True, 0), ("a/b", True, 0), ("a/b/x.txt", False, 5000)], paths
before = f.get_file_properties().etag
g = f.rename_file("raw/a/b/y.txt")
assert g.get_file_properties().etag == before, "the ETag did not survive the rename"
try:
    f.get_file_properties()
    raise SystemExit("the source is still there")
except ResourceNotFoundError:
    pass
other = fs.get_file_client("a/b/z.txt")
other.upload_data(b"z", overwrite=True)
try:
    g.rename_file("raw/a/b/z.txt", match_condition=MatchConditions.IfMissing)
    raise SystemExit("a rename onto an existing file succeeded")
except (ResourceExistsError, ResourceModifiedError):
    pass
assert other.download_file().readall() == b"z"
big = os.urandom(9 << 20)
h = fs.get_file_client("big.bin")
h.upload_data(big, overwrite=True, chunk_size=1 << 20, max_concurrency=4)
assert h.download_file().readall() == big
h.append_data(b"tail", len(big))
h.flush_data(len(big) + 4)
assert h.get_file_properties().size == len(big) + 4
r = fs.get_file_client("retained.bin")
r.create_file()
for at, piece in ((0, b"one"), (3, b"two"), (6, b"three")):
    r.append_data(piece, at)
r.flush_data(3, retain_uncommitted_data=True)
assert r.download_file().readall() == b"one"
r.flush_data(6, retain_uncommitted_data=True)
r.append_data(b"four", 11)
r.flush_data(15)
assert r.download_file().readall() == b"onetwothreefour"
r.append_data(b"five", 15)
r.append_data(b"six", 19)
r.flush_data(19)
try:
    r.flush_data(22)
    raise SystemExit("bytes that a flush left out are still there")
except HttpResponseError as e:
    assert e.status_code == 400, e
r.delete_file()
e = fs.get_file_client("empty")
e.create_file()
assert e.download_file().readall() == b""
fs.get_directory_client("a").rename_directory("raw/moved")
acl = fs.get_directory_client("moved").get_access_control()
assert acl["permissions"].startswith("rwx"), acl
fs.get_directory_client("moved").set_access_control(permissions="rwxr-xr-x")
assert fs.get_directory_client("moved").get_access_control()["permissions"] == "rwxr-xr-x"
pages = list(fs.get_paths(recursive=True, max_results=2).by_page())
names = [p.name for page in pages for p in page]
assert names == ["big.bin", "empty", "moved", "moved/b", "moved/b/y.txt", "moved/b/z.txt"], names
g = fs.get_file_client("moved/b/y.txt")
g.delete_file()
fs.get_directory_client("moved").delete_directory()
assert [p.name for p in fs.get_paths()] == ["big.bin", "empty"]
svc.delete_file_system("raw")
try:
    fs.get_file_system_properties()
    raise SystemExit("the file system is still there")
except ResourceNotFoundError:
    pass
print("ok")
