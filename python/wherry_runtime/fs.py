"""dbutils.fs: files by their platform paths, directly where the box has them, else through Spark."""

from __future__ import annotations

import os
import re
import shutil
from collections import namedtuple
from typing import Any, NoReturn

from wherry_runtime import lazy

MountInfo = namedtuple("MountInfo", ["mountPoint", "source", "encryptionType"])
_DIRECT = ("/Volumes", "/Workspace")


class FileInfo(namedtuple("FileInfo", ["path", "name", "size", "modificationTime"])):
    """One entry of ls; a folder's name ends in a slash."""

    __slots__ = ()

    def isDir(self) -> bool:
        return str(self.name).endswith("/")

    def isFile(self) -> bool:
        return not self.isDir()


class ExecutionError(Exception):
    """A file operation failed; the text names Java's exception, which users' code looks for."""


def _missing(path: str) -> ExecutionError:
    return ExecutionError(f"java.io.FileNotFoundException: No such file or directory: {path}")


def local(path: str) -> str | None:
    """The POSIX path of a platform path; None if only Spark can reach it."""
    path = str(path)
    found = re.match(r"([A-Za-z][\w+.-]*):", path)
    scheme = found[1].lower() if found else "dbfs"
    if scheme not in ("dbfs", "file"):
        return None
    rest = "/" + (path[found.end() :] if found else path).lstrip("/")
    if scheme == "file":
        return rest
    if rest == "/dbfs" or rest.startswith("/dbfs/"):
        rest = rest[5:] or "/"
    if rest.split("/")[1:2] and "/" + rest.split("/")[1] in _DIRECT:
        return rest
    return os.path.normpath("/dbfs" + rest)


def _shown(asked: str, posix: str) -> str:
    """How ls names a file: with the scheme that was asked for."""
    if asked.startswith("file:"):
        return "file:" + posix
    return "dbfs:" + (posix[5:] if posix.startswith("/dbfs/") else posix)


class FS:
    """ls, cp, mv, rm, put, head, mkdirs, mounts over dbfs:/, /Volumes, /Workspace, file:/ and abfss://."""

    def help(self, method: str | None = None) -> None:
        print(getattr(self, method).__doc__ if method else type(self).__doc__)

    def ls(self, dir: str) -> list[FileInfo]:
        """List a folder, or one file."""
        path = local(dir)
        if path is None:
            return _Hadoop(dir).ls()
        if not os.path.exists(path):
            raise _missing(dir)
        if os.path.isfile(path):
            return [_info(dir, path)]
        return sorted(_info(dir, e.path) for e in os.scandir(path))

    def cp(self, from_: str, to: str, recurse: bool = False) -> bool:
        """Copy a file, or a folder with recurse."""
        source, target = local(from_), local(to)
        if source is None or target is None:
            return _Hadoop(from_).copy(to, recurse, False)
        if not os.path.exists(source):
            raise _missing(from_)
        if os.path.isdir(source):
            if not recurse:
                raise ExecutionError(f"java.io.IOException: {from_} is a directory; pass recurse=True")
            shutil.copytree(source, target, dirs_exist_ok=True)
            return True
        if os.path.isdir(target) or to.endswith("/"):
            target = os.path.join(target, os.path.basename(source))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        return True

    def mv(self, from_: str, to: str, recurse: bool = False) -> bool:
        """Move a file, or a folder with recurse."""
        source, target = local(from_), local(to)
        if source is None or target is None:
            return _Hadoop(from_).copy(to, recurse, True)
        if not os.path.exists(source):
            raise _missing(from_)
        if os.path.isdir(source) and not recurse:
            raise ExecutionError(f"java.io.IOException: {from_} is a directory; pass recurse=True")
        if os.path.isdir(target):
            target = os.path.join(target, os.path.basename(source))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.move(source, target)
        return True

    def rm(self, dir: str, recurse: bool = False) -> bool:
        """Remove a file, or a folder with recurse; False if there is none."""
        path = local(dir)
        if path is None:
            return _Hadoop(dir).remove(recurse)
        if not os.path.lexists(path):
            return False
        if os.path.isdir(path) and not os.path.islink(path):
            if os.listdir(path) and not recurse:
                raise ExecutionError(f"java.io.IOException: {dir} is not empty; pass recurse=True")
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return True

    def put(self, file: str, contents: str, overwrite: bool = False) -> bool:
        """Write text to a file."""
        path = local(file)
        if path is None:
            return _Hadoop(file).put(contents, overwrite)
        if os.path.exists(path) and not overwrite:
            raise ExecutionError(f"java.nio.file.FileAlreadyExistsException: {file}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = contents.encode()
        with open(path, "wb") as f:
            f.write(data)
        print(f"Wrote {len(data)} bytes.")
        return True

    def head(self, file: str, maxBytes: int = 65536) -> str:
        """Return the beginning of a file."""
        path = local(file)
        if path is None:
            return _Hadoop(file).head(maxBytes)
        if not os.path.isfile(path):
            raise _missing(file)
        if os.path.getsize(path) > maxBytes:
            print(f"[Truncated to first {maxBytes} bytes]")
        with open(path, "rb") as f:
            return f.read(maxBytes).decode("utf-8", "replace")

    def mkdirs(self, dir: str) -> bool:
        """Make a folder and those above it."""
        path = local(dir)
        if path is None:
            return _Hadoop(dir).mkdirs()
        os.makedirs(path, exist_ok=True)
        return True

    def mount(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(
            "dbutils.fs.mount is not supported by wherry: read abfss:// paths directly, or make a volume"
        )

    updateMount = mount

    def unmount(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("dbutils.fs.unmount is not supported by wherry: there are no mounts")

    def mounts(self) -> list[MountInfo]:
        """Return the mounts: the roots that every workspace has."""
        return [MountInfo("/", "DatabricksRoot", ""), MountInfo("/Volumes", "UnityCatalogVolumes", "")]

    def refreshMounts(self) -> bool:
        return True

    def cacheTable(self, *_: Any) -> NoReturn:
        raise NotImplementedError("dbutils.fs caching is not supported by wherry")

    uncacheTable = cacheFiles = uncacheFiles = cacheTable


def _info(asked: str, path: str) -> FileInfo:
    st = os.stat(path)
    slash = "/" if os.path.isdir(path) else ""
    return FileInfo(
        _shown(asked, path) + slash, os.path.basename(path) + slash, 0 if slash else st.st_size, int(st.st_mtime * 1000)
    )


class _Hadoop:
    """A path that Spark's file systems serve."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.jvm = lazy.session()._jvm
        # The session's own configuration: users set account keys with spark.conf.
        self.conf = lazy.session()._jsparkSession.sessionState().newHadoopConf()
        self.jpath = self.jvm.org.apache.hadoop.fs.Path(path)
        self.fs = self.jpath.getFileSystem(self.conf)

    def ls(self) -> list[FileInfo]:
        if not self.fs.exists(self.jpath):
            raise _missing(self.path)
        out = []
        for status in self.fs.listStatus(self.jpath):
            slash = "/" if status.isDirectory() else ""
            p = status.getPath()
            out.append(
                FileInfo(p.toString() + slash, p.getName() + slash, status.getLen(), status.getModificationTime())
            )
        return out

    def copy(self, to: str, recurse: bool, move: bool) -> bool:
        if not self.fs.exists(self.jpath):
            raise _missing(self.path)
        if self.fs.getFileStatus(self.jpath).isDirectory() and not recurse:
            raise ExecutionError(f"java.io.IOException: {self.path} is a directory; pass recurse=True")
        target = self.jvm.org.apache.hadoop.fs.Path(to)
        util = self.jvm.org.apache.hadoop.fs.FileUtil
        return bool(util.copy(self.fs, self.jpath, target.getFileSystem(self.conf), target, move, self.conf))

    def remove(self, recurse: bool) -> bool:
        return bool(self.fs.delete(self.jpath, recurse))

    def mkdirs(self) -> bool:
        return bool(self.fs.mkdirs(self.jpath))

    def put(self, contents: str, overwrite: bool) -> bool:
        if not overwrite and self.fs.exists(self.jpath):
            raise ExecutionError(f"java.nio.file.FileAlreadyExistsException: {self.path}")
        stream = self.fs.create(self.jpath, overwrite)
        data = contents.encode()
        try:
            stream.write(bytearray(data))
        finally:
            stream.close()
        print(f"Wrote {len(data)} bytes.")
        return True

    def head(self, limit: int) -> str:
        if not self.fs.exists(self.jpath):
            raise _missing(self.path)
        stream = self.fs.open(self.jpath)
        try:
            data = self.jvm.org.apache.commons.io.IOUtils.toByteArray(
                self.jvm.org.apache.commons.io.input.BoundedInputStream(stream, limit)
            )
        finally:
            stream.close()
        return bytes(data).decode("utf-8", "replace")
