"""A hub on loopback: what huggingface_hub asks of one, a second origin for the bytes, and faults by name.

    python -m tests.fakes.hub FOLDER [--port N]

serves the files FOLDER/owner/name/... as repositories and prints what to export. In tests:

    with FakeHub() as hub:
        file = hub.add("owner/name", "model.gguf", content)
        hub.faults.add(Fault("reset", amount=1000, times=3))
"""

import argparse
import hashlib
import hmac
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from mixchat.models.hub import RemoteFile
from tests.fakes.hub_body import Content, Repo, Seen, send_body
from tests.fakes.hub_faults import Fault, Faults

__all__ = ["FakeHub", "Fault"]

LOGIN_PAGE = b"<!DOCTYPE html><html><title>Welcome to the hotel</title>Room number and name, please.</html>"


class FakeHub:
    """A running hub.

    Attributes:
        endpoint: Its address, for HF_ENDPOINT.
        faults: What will go wrong.
        requests: What was asked, in order.
        sent: Bytes of bodies per file's path, so far.
        token: Opens gated repositories.
        link_seconds: How long a signed link is good.
        sending: Bodies on their way.
        pace: Seconds to wait after each piece of a body (256 KiB).
    """

    def __init__(self, port: int = 0) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults = Faults()
        self.requests: list[Seen] = []
        self.sent: Counter[str] = Counter()
        self.token = "hf_of_the_tests"  # noqa: S105 - opens nothing else
        self.link_seconds = 3600.0
        self.pace = 0.0
        self.sending = 0
        self.errors: list[BaseException] = []
        self.stopping = Event()
        self._secret = secrets.token_bytes(16)
        self._lock = Lock()
        self._servers = [_Server(("127.0.0.1", port), _HubHandler, self), _Server(("127.0.0.1", 0), _CdnHandler, self)]
        self.endpoint, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def __enter__(self) -> Self:
        for server in self._servers:
            Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def served(self) -> Counter[str]:
        """Bytes of bodies per file's path, once none is on its way."""
        end = time.monotonic() + 30
        while self.sending and time.monotonic() < end:
            time.sleep(0.005)
        return self.sent

    def add(
        self, repo: str, path: str, data: bytes | Path, *, lfs: bool = True, new_commit: bool = False
    ) -> RemoteFile:
        """Put a file into a repository, and say what a client learns about it."""
        commits = self.repos.setdefault(repo, Repo()).commits
        if new_commit or not commits:
            last = next(reversed(commits.values()), {})
            commits[hashlib.sha1(f"{repo} {len(commits)}".encode(), usedforsecurity=False).hexdigest()] = dict(last)
        commit = next(reversed(commits))
        content = commits[commit][path] = Content(data, lfs=lfs)
        return RemoteFile(repo, path, commit, content.size, content.sha256 if lfs else None)

    def saw(self, request: Seen) -> None:
        with self._lock:
            self.requests.append(request)

    def count(self, path: str, nbytes: int) -> None:
        with self._lock:
            self.sent[path] += nbytes

    @contextmanager
    def body(self) -> Iterator[None]:
        """While a body is sent."""
        with self._lock:
            self.sending += 1
        try:
            yield
        finally:
            with self._lock:
                self.sending -= 1

    def link(self, repo: str, commit: str, path: str) -> str:
        """A signed address at the second origin."""
        expires = f"{time.time() + self.link_seconds:.3f}"
        name = f"/{repo}/{commit}/{path}"
        return f"{self.cdn}{quote(name)}?{urlencode({'expires': expires, 'signature': self._sign(name, expires)})}"

    def is_good(self, path: str, query: str) -> bool:
        """Whether a signed address is ours and has not expired."""
        values = parse_qs(query)
        expires, signature = (values.get(name, ["0"])[0] for name in ("expires", "signature"))
        return hmac.compare_digest(signature, self._sign(path, expires)) and time.time() < float(expires)

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path} {expires}".encode(), "sha256").hexdigest()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: "type[_Handler]", hub: FakeHub) -> None:
        super().__init__(address, handler)
        self.hub = hub

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as the base class has it
        """A client may leave at any time; anything else is a mistake of this file."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.hub.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin = ""
    commit = ""
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.hub = self.server.hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        headers = self.headers
        path = unquote(address.path)
        seen = Seen(self.origin, self.command, path, headers.get("Range"), headers.get("Authorization"))
        self.hub.saw(seen)
        self.answer(path, address.query)

    do_HEAD = do_GET  # noqa: N815 - as the base class wants it

    def answer(self, path: str, query: str) -> None:
        raise NotImplementedError

    def say(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        """A short answer."""
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fails(self, faults: dict[str, int]) -> bool:
        """Whether a fault answered instead of us."""
        match faults:
            case {"status": int(status)}:
                self.say(status, b"{}")
            case {"busy": int(seconds)}:
                self.say(429, b"{}", Retry_After=str(seconds))
            case {"login": _}:
                self.say(200, LOGIN_PAGE, "text/html")
            case {"garbage": _}:
                self.say(200, b'{"siblings": [7], "sha": {"a": "../../b"}}')
            case {"expired": _}:
                self.say(403, b"<Error>AccessDenied</Error>", "application/xml")
            case _:
                return False
        return True


class _HubHandler(_Handler):
    """The hub itself: metadata, and links to the second origin."""

    origin = "hub"

    def answer(self, path: str, query: str) -> None:
        if path.startswith("/api/models/"):
            if not self.fails(self.hub.faults.take("api")):
                name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
                self._info(name, revision or "main", blobs="blobs" in query)
            return
        name, found, rest = path.lstrip("/").partition("/resolve/")
        if not found:
            self.say(200, b"<html>A page for people.</html>", "text/html")
        elif not self.fails(self.hub.faults.take("resolve")):
            revision, _, file = rest.partition("/")
            self._resolve(name, revision, file)

    def _info(self, name: str, revision: str, *, blobs: bool) -> None:
        found = self._allowed(name, revision)
        if found is not None:
            commit, files = found
            siblings = [_sibling(path, content, blobs=blobs) for path, content in files.items()]
            body = {"_id": "0", "id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": []}
            self.say(200, json.dumps(body).encode())

    def _resolve(self, name: str, revision: str, path: str) -> None:
        found = self._allowed(name, revision)
        if found is None:
            return
        commit, files = found
        if path not in files:
            self.say(404, b"{}", X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        elif files[path].lfs:
            content = files[path]
            linked = {"X_Linked_Etag": f'"{content.sha256}"', "X_Linked_Size": str(content.size)}
            self.say(302, b"", X_Repo_Commit=commit, Location=self.hub.link(name, commit, path), **linked)
        else:
            self.commit = commit
            send_body(self, path, files[path], self.hub.faults.take("cdn"))

    def _allowed(self, name: str, revision: str) -> tuple[str, dict[str, Content]] | None:
        repo = self.hub.repos.get(name)
        if repo is None:
            self.say(
                401, b'{"error": "Invalid username or password."}', X_Error_Message="Invalid username or password."
            )
        elif repo.gated and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.say(403, b"Access to this model is restricted.", "text/plain", X_Error_Code="GatedRepo")
        elif (found := repo.at(revision)) is not None:
            return found
        else:
            self.say(404, b"{}", X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        return None


class _CdnHandler(_Handler):
    """The second origin: bytes behind signed links."""

    origin = "cdn"

    def answer(self, path: str, query: str) -> None:
        faults = self.hub.faults.take("cdn")
        if self.fails(faults):
            return
        if not self.hub.is_good(path, query):
            self.say(403, b"<Error>Request has expired</Error>", "application/xml")
            return
        owner, name, commit, file = path.lstrip("/").split("/", 3)
        send_body(self, file, self.hub.repos[f"{owner}/{name}"].commits[commit][file], faults)


def _sibling(path: str, content: Content, *, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": path}
    lfs = {"sha256": content.sha256, "size": content.size, "pointerSize": 135}
    return {"rfilename": path, "size": content.size, "blobId": "0" * 40, **({"lfs": lfs} if content.lfs else {})}


def serve(folder: Path, port: int) -> None:
    """Serve a folder until Ctrl-C."""
    with FakeHub(port) as hub:
        for path in sorted(path for path in folder.glob("*/*/**/*") if path.is_file()):
            owner, name, *rest = path.relative_to(folder).parts
            file = hub.add(f"{owner}/{name}", "/".join(rest), path)
            print(f"hf:{file.repo}/{file.path}", flush=True)  # noqa: T201 - a program of its own
        print(f"export HF_ENDPOINT={hub.endpoint}", flush=True)  # noqa: T201
        try:
            Event().wait()
        except KeyboardInterrupt:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    serve(options.folder, options.port)


if __name__ == "__main__":
    main()
