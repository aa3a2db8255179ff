"""Real servers for tests, on loopback and in a folder of their own: PostgreSQL, and nginx with our file."""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg

from ml import locations
from ml.serving import service


class Postgres:
    """A database server in a folder of its own; PostgreSQL refuses to run as root, so then as ``postgres``.

    The folder lies beside those of the tests: pytest forbids all other users to enter these.
    """

    def __init__(self) -> None:
        """Make a new, empty cluster; nothing runs yet."""
        self._scratch = tempfile.TemporaryDirectory(prefix="ml-postgres-")
        self.folder, self.port = Path(self._scratch.name), service.free_port()
        self.url = f"postgresql+psycopg://tester@127.0.0.1:{self.port}/postgres"
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._call("initdb", "-D", str(self.folder / "data"), "-U", "tester", "--auth=trust", "--no-sync")

    @staticmethod
    def available() -> bool:
        """Tell whether the programs of the server are here."""
        return Postgres._program("initdb") is not None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        log = self.folder / "log"
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-l", str(log), "-o", options, "-w", "start")

    def new_database(self) -> str:
        """Return the URL of a database in which nothing is yet."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"{self.url.rpartition('/')[0]}/{name}"

    def stop(self) -> None:
        """Stop it at once, as a power cut would."""
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def _call(self, name: str, *arguments: str) -> None:
        user = "postgres" if os.getuid() == 0 else None
        command = [self._program(name) or name, *arguments]
        done = subprocess.run(
            command, user=user, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, done.stderr

    @staticmethod
    def _program(name: str) -> str | None:
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return str(found[-1]) if found else shutil.which(name)


@contextlib.contextmanager
def start_nginx(folder: Path, urls: list[str]) -> Iterator[str]:
    """Run nginx with ``docker/nginx.conf`` before these services; yield its address.

    The limit of requests of one client is raised: a load test is one client.
    """
    folder.mkdir(parents=True)
    port = service.free_port()
    ours = (locations.ROOT / "docker" / "nginx.conf").read_text(encoding="utf-8")
    servers = "".join(f"server {url.removeprefix('http://')} max_fails=0; " for url in urls)
    ours, count = re.subn(r"(?:server serving-\d:8000[^;]*;\s*)+", servers, ours)
    assert count == 1
    ours = ours.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace("rate=50r/s", "rate=100000r/s")
    ours = ours.replace("burst=100 ", "burst=100000 ")
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; worker_processes 1; error_log {folder}/error.log;\n"
        "events { worker_connections 2048; }\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{ours}\n}}\n",
        encoding="utf-8",
    )
    command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                try:
                    urllib.request.urlopen(f"{url}/a/path/that/is/not/ours", timeout=5)
                except urllib.error.HTTPError:
                    break
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
