package project

// taken are names that Python, the project's libraries or its own folders have
// already: a package of such a name could not be imported.
const taken = `
abc aifc and antigravity argparse array as assert ast async asynchat asyncio asyncore atexit audioop await
base64 bdb binascii bisect black break builtins bz2 calendar case cgi cgitb chunk class cmath cmd code codecs
codeop collections colorsys compileall concurrent configparser contextlib contextvars continue copy copyreg
crypt csv ctypes curses dataclasses datetime dbm decimal def del difflib dis distutils doctest elif else email
encodings ensurepip enum errno except faulthandler fcntl filecmp fileinput finally flake8 fnmatch for
fractions from ftplib functools gc genericpath getopt getpass gettext glob global graphlib grp gzip hashlib
heapq hmac html http idlelib if imaplib imghdr imp import importlib in inspect io ipaddress ipykernel is
itertools json keyword lambda lib2to3 linecache locale logging lzma mailbox mailcap marshal match math
mimetypes mlflow mmap modulefinder msilib msvcrt multiprocessing nbformat netrc nis nntplib nonlocal not
notebooks nt ntpath nturl2path numbers numpy opcode operator optparse or os ossaudiodev pandas papermill pass
pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix posixpath pprint profile pstats
pty pwd py_compile pyarrow pyclbr pydoc pydoc_data pyexpat pyspark pytest queue quopri raise random re
readline reprlib resource resources return rlcompleter runpy sched scripts secrets select selectors shelve
shlex shutil signal site sklearn smtpd smtplib sndhdr socket socketserver spwd sqlite3 src sre_compile
sre_constants sre_parse ssl stat statistics string stringprep struct subprocess sunau symtable sys sysconfig
syslog tabnanny tarfile telnetlib tempfile termios test tests textwrap this threading time timeit tkinter
token tokenize tomllib trace traceback tracemalloc try tty turtle turtledemo types typing unicodedata unittest
urllib uu uuid venv warnings wave weakref webbrowser while winreg winsound with wsgiref xdrlib xml xmlrpc yaml
yield zipapp zipfile zipimport zlib zoneinfo
`
