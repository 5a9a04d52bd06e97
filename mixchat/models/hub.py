"""The Hugging Face hub, or a mirror of it.

Knows what a repository has and how to read a file of it from any byte on; refuses to know what is done with the bytes.
The only user of huggingface_hub: it gives metadata, tokens, names and the HTTP session. The bytes come through requests
of our own, because its downloads neither resume nor check hashes.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

import mixchat
from mixchat.errors import NetworkError, NotFound, Transient
from mixchat.models.answers import LATER, REDIRECTS, Answer, Asked, refusal
from mixchat.models.patience import PATIENCE, Patience
from mixchat.models.remote import RemoteFile, RepoInfo, is_safe_path
from mixchat.models.stream import Stream, opened

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx

__all__ = ["Hub", "RemoteFile", "RepoInfo", "Stream"]

T = TypeVar("T")

_MAX_REDIRECTS = 8
_TRIES = 4
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SWITCHED_OFF = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS")


class Hub:
    """A hub.

    Its methods raise NotFound and NetworkError: offline, no connection, a refusal, an answer that makes no sense; the
    latter's Transient when the same may work later.

    Args:
        endpoint: Its address; None leaves it to the hub library's own rules (HF_ENDPOINT, else huggingface.co).
        offline: Refuse every request at once.
        patience: How long to wait for it.
    """

    def __init__(self, endpoint: str | None = None, offline: bool = False, patience: Patience = PATIENCE) -> None:
        self.patience = patience
        self._given = endpoint
        self._offline = offline

    @property
    def endpoint(self) -> str:
        """Its address, without a slash at the end."""
        if self._given is not None:
            return self._given.rstrip("/")
        _switch_off()
        from huggingface_hub import constants

        return constants.ENDPOINT

    def page(self, repo: str) -> str:
        """The address of the repository's page for people."""
        return f"{self.endpoint}/{repo}"

    def info(self, repo: str, revision: str | None = None) -> RepoInfo:
        """What a repository has at a branch, tag or commit; None is its main branch."""
        return self._patiently(lambda: self._info(repo, revision))

    def head(self, file: RemoteFile, nbytes: int, offset: int = 0) -> bytes:
        """`nbytes` bytes of a file from `offset` on; fewer where it ends before."""
        return self._patiently(lambda: self._head(file, nbytes, offset))

    @contextmanager
    def open(self, file: RemoteFile, start: int, end: int | None = None) -> Iterator[Stream]:
        """Read a file from `start` up to `end` (exclusive) or its end; the stream says where it really begins."""
        asked = Asked(file.repo, file.path, self.page(file.repo))
        with self._connected(), closing(_Request(self, file, start, end)) as request:
            response = request.send(asked)
            stream = opened(response, file, start, self.patience)
            stream.tag = request.tag or stream.tag
            yield stream

    def _info(self, repo: str, revision: str | None) -> RepoInfo:
        with self._connected():
            from huggingface_hub import HfApi
            from huggingface_hub.errors import HfHubHTTPError, HFValidationError

            api = HfApi(self.endpoint, library_name="mixchat", library_version=mixchat.__version__)
            try:
                found = api.model_info(repo, revision=revision, timeout=self.patience.connect, files_metadata=True)
                files = [(file.rfilename, file.size, file.lfs) for file in found.siblings or ()]
                return self._checked(repo, found.sha, [(name, size, lfs and lfs.sha256) for name, size, lfs in files])
            except HfHubHTTPError as exc:
                raise self._refusal(exc.response, Asked(repo, revision or "main", self.page(repo))) from exc
            except HFValidationError as exc:
                raise NotFound(f"{repo[:80]!a} is no name of a repository.", "Give it as owner/name.") from exc
            except UnicodeEncodeError:
                raise _unspeakable() from None
            except (ValueError, TypeError, KeyError, AttributeError) as exc:
                raise self._nonsense() from exc

    def _refusal(self, response: "httpx.Response", asked: Asked) -> Exception:
        return refusal(Answer(response.status_code, response.headers, self.has(str(response.url))), asked)

    def _checked(self, repo: str, commit: object, files: list[tuple[object, object, object]]) -> RepoInfo:
        """Believe nothing of an answer that has not the right form."""
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise self._nonsense()
        remote = tuple(
            RemoteFile(repo, path, commit, size, sha if isinstance(sha, str) and _SHA256.fullmatch(sha) else None)
            for path, size, sha in files
            if isinstance(path, str) and is_safe_path(path) and isinstance(size, int) and size >= 0
        )
        return RepoInfo(repo, commit, remote)

    def _head(self, file: RemoteFile, nbytes: int, offset: int) -> bytes:
        data = bytearray()
        with self.open(file, offset, offset + nbytes) as stream:
            skipped = offset - stream.start
            for chunk in stream.chunks():
                data += chunk
                if len(data) >= skipped + nbytes:
                    break
        return bytes(data[skipped : skipped + nbytes])

    def _patiently(self, call: Callable[[], T]) -> T:
        """Try a short request some times, unless the hub asks for a long pause."""
        for failures in range(1, _TRIES):
            try:
                return call()
            except Transient as exc:
                pause = self.patience.pause(failures, exc.retry_after)
                if pause > self.patience.longest_pause:
                    raise
                time.sleep(pause)
        return call()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Translate what can happen to a connection; offline, there is none."""
        if self._offline:
            raise _offline()
        _switch_off()
        from huggingface_hub.errors import OfflineModeIsEnabled
        from huggingface_hub.utils import httpx

        try:
            yield
        except OfflineModeIsEnabled as exc:
            raise _offline() from exc
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            raise _unspeakable() from None
        except httpx.TimeoutException as exc:
            raise Transient(f"{self.endpoint} does not answer.", LATER) from exc
        except httpx.TransportError as exc:
            why = str(exc).rstrip(".") or type(exc).__name__
            raise Transient(f"The connection to {self.endpoint} failed: {why}.", LATER) from exc
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
            raise self._nonsense() from exc

    def has(self, url: str) -> bool:
        """Whether an address is the hub's own: scheme, host and port."""
        return _origin(url) == _origin(self.endpoint)

    def _nonsense(self) -> NetworkError:
        return NetworkError(
            f"{self.endpoint} gives an answer that a hub does not give.",
            "Check HF_ENDPOINT, and whether this network asks you to log in with a browser.",
        )


class _Request:
    """A ranged GET that follows redirects; the token goes to the hub's own origin only.

    Attributes:
        tag: The hub's own name for the content, which holds wherever it sends us; empty when it gave none.
    """

    def __init__(self, hub: Hub, file: RemoteFile, start: int, end: int | None) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import httpx

        self.tag = ""
        self._hub = hub
        self._url = hf_hub_url(file.repo, file.path, revision=file.commit, endpoint=hub.endpoint)
        self._range = f"bytes={start}-{'' if end is None else end - 1}"
        self._timeout = httpx.Timeout(hub.patience.connect, read=hub.patience.stall)
        self._response: httpx.Response | None = None

    def send(self, asked: Asked) -> "httpx.Response":
        """The answer that brings the file."""
        for _ in range(_MAX_REDIRECTS):
            response = self._response = self._get()
            by_hub = self._hub.has(self._url)
            if by_hub:
                self.tag = response.headers.get("x-linked-etag", "").strip('"') or self.tag
            if response.status_code in {200, 206}:
                return response
            if response.status_code not in REDIRECTS:
                raise refusal(Answer(response.status_code, response.headers, by_hub), asked)
            self._redirect(response.headers.get("location", ""))
        raise NetworkError(f"The hub sends us round in circles for {asked.what}.", "Check HF_ENDPOINT.")

    def close(self) -> None:
        """Drop the connection."""
        if self._response is not None:
            self._response.close()

    def _get(self) -> "httpx.Response":
        from huggingface_hub.utils import build_hf_headers, get_session

        token = None if self._hub.has(self._url) else False
        headers = build_hf_headers(token=token, library_name="mixchat", library_version=mixchat.__version__)
        headers |= {"range": self._range, "accept-encoding": "identity"}
        session = get_session()
        request = session.build_request("GET", self._url, headers=headers, timeout=self._timeout)
        return session.send(request, stream=True, follow_redirects=False)

    def _redirect(self, location: str) -> None:
        """Go on elsewhere, but never from a protected connection to an open one."""
        self.close()
        allowed = {"https"} if _origin(self._url)[0] == "https" else {"http", "https"}
        with suppress(ValueError):
            target = urljoin(self._url, location)
            if location and _origin(target)[0] in allowed:
                self._url = target
                return
        raise NetworkError("The hub sends us to an address that is not safe.", "Check HF_ENDPOINT.")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; of what is no address, one that no other has."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", url, None
    return parts.scheme, parts.hostname, port


def _switch_off() -> None:
    """The hub library reads these when it is imported; it takes an empty endpoint for an address."""
    os.environ.update(dict.fromkeys(_SWITCHED_OFF, "1"))
    if not os.environ.get("HF_ENDPOINT"):
        os.environ.pop("HF_ENDPOINT", None)


def _unspeakable() -> NetworkError:
    """The library's own error quotes the header, which may be the token."""
    return NetworkError(
        "A request to the hub would have characters that HTTP does not allow.",
        "Check HF_TOKEN and HF_ENDPOINT, or run: hf auth login",
    )


def _offline() -> NetworkError:
    return NetworkError(
        "This needs the network, and HF_HUB_OFFLINE is set.",
        "Unset HF_HUB_OFFLINE, or use a model that is on this machine: mixchat list",
    )
