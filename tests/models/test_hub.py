import os
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from mixchat.errors import NetworkError, NotFound, Transient
from mixchat.models.answers import content_range, retry_after
from mixchat.models.hub import Hub, RemoteFile
from mixchat.models.patience import Patience
from mixchat.models.remote import is_safe_path
from tests.fakes.downloads import QUICK, gguf
from tests.fakes.hub import FakeHub
from tests.fakes.hub_faults import Fault, Name

MODEL = gguf()
HOSTILE = ("../x.gguf", "a/../../x.gguf", "/etc/x.gguf", "C:\\x.gguf", "a\\b.gguf", "a//b.gguf", "./a.gguf", "x" * 201)


def opened(hub: Hub, file: RemoteFile, start: int = 0) -> bytes:
    with hub.open(file, start) as stream:
        return b"".join(stream.chunks())


def test_a_repository_lists_its_files_with_sizes_and_hashes(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    small = fake.add("o/n", "README.md", b"# hello", lfs=False)
    info = hub.info("o/n")
    assert info.commit == file.commit
    assert info.files == (file, small)
    assert small.sha256 is None
    assert info == hub.info("o/n", "main") == hub.info("o/n", file.commit)


def test_an_older_commit_keeps_its_content(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    newer = fake.add("o/n", "m.gguf", gguf(seed=1), new_commit=True)
    assert hub.info("o/n").files == (newer,)
    assert hub.info("o/n", file.commit).files == (file,)
    assert opened(hub, file) == MODEL


def test_hostile_names_are_left_out(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    for name in HOSTILE:
        fake.add("o/n", name, b"x")
        assert not is_safe_path(name)
    assert hub.info("o/n").files == (file,)


def test_missing_things_are_not_found(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    with pytest.raises(NotFound, match="no repository o/other") as caught:
        hub.info("o/other")
    assert "hf auth login" in caught.value.hint
    with pytest.raises(NotFound, match="no such revision"):
        hub.info("o/n", "v9")
    missing = RemoteFile("o/n", "other.gguf", file.commit, 10, None)
    with pytest.raises(NotFound, match=r"has no other\.gguf") as caught:
        hub.head(missing, 10)
    assert f"{fake.endpoint}/o/n" in caught.value.hint
    with pytest.raises(NotFound, match="no name of a repository"):
        hub.info("../../etc/passwd")


def test_gated_repositories_name_their_page(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    fake.repos["o/n"].gated = True
    for call in (lambda: hub.info("o/n"), lambda: hub.head(file, 4)):
        with pytest.raises(NetworkError, match="gated") as caught:
            call()
        assert hub.page("o/n") in caught.value.hint
        assert "hf auth login" in caught.value.hint
        assert caught.value.exit_code == 4


def test_the_token_goes_to_the_hub_and_never_to_the_second_origin(
    fake: FakeHub, hub: Hub, file: RemoteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.repos["o/n"].gated = True
    monkeypatch.setenv("HF_TOKEN", fake.token)
    assert hub.info("o/n").files == (file,)
    assert opened(hub, file) == MODEL
    sent = {(seen.origin, seen.authorization) for seen in fake.requests}
    assert sent == {("hub", f"Bearer {fake.token}"), ("cdn", None)}


def test_a_refused_token_says_so(fake: FakeHub, hub: Hub, file: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    del file
    monkeypatch.setattr("tests.fakes.hub._HubHandler._info", _bad_token)
    with pytest.raises(NetworkError, match="refuses the token") as caught:
        hub.info("o/n")
    assert "hf auth login" in caught.value.hint
    assert len(fake.requests) == 1


def test_a_token_that_cannot_be_sent_is_not_shown(
    fake: FakeHub, hub: Hub, file: RemoteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_sécret")
    for call in (lambda: hub.info("o/n"), lambda: hub.head(file, 4)):
        with pytest.raises(NetworkError, match="characters") as caught:
            call()
        assert "cret" not in "".join(traceback.format_exception(caught.value))
    assert fake.requests == []


def test_the_library_s_own_download_understands_this_hub(
    fake: FakeHub, hub: Hub, file: RemoteFile, tmp_path: Path
) -> None:
    small = fake.add("o/n", "README.md", b"# hello", lfs=False)
    assert len(hub.info("o/n").files) == 2
    from huggingface_hub import hf_hub_download

    for path, content in ((file.path, MODEL), (small.path, b"# hello")):
        got = hf_hub_download("o/n", path, endpoint=fake.endpoint, cache_dir=tmp_path / "cache")
        assert Path(got).read_bytes() == content


def _bad_token(handler: object, *_: object, **__: object) -> None:
    from tests.fakes.hub import _HubHandler

    assert isinstance(handler, _HubHandler)
    handler.say(401, b"{}", X_Error_Message="Invalid credentials in Authorization header")


def test_an_empty_endpoint_is_none() -> None:
    code = "from mixchat.models.hub import Hub; print(Hub().endpoint)"
    environ = {**os.environ, "HF_ENDPOINT": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "https://huggingface.co\n"


def test_offline_asks_nothing(fake: FakeHub, file: RemoteFile) -> None:
    hub = Hub(fake.endpoint, offline=True)
    for call in (lambda: hub.info("o/n"), lambda: hub.head(file, 4), lambda: opened(hub, file)):
        with pytest.raises(NetworkError, match="HF_HUB_OFFLINE") as caught:
            call()
        assert not isinstance(caught.value, Transient)
    assert fake.requests == []


def test_the_library_s_own_offline_mode_holds_too(
    fake: FakeHub, hub: Hub, file: RemoteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.info("o/n")
    fake.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for call in (lambda: hub.info("o/n"), lambda: hub.head(file, 4)):
        with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
            call()
    assert fake.requests == []


@pytest.mark.parametrize("part", [(4, 0), (1000, 0), (10, 5), (100, len(MODEL) - 50), (10**9, 0)])
@pytest.mark.parametrize("fault", [None, "no-range", "chunked"])
def test_head_reads_just_a_part(
    fake: FakeHub, hub: Hub, file: RemoteFile, part: tuple[int, int], fault: Name | None
) -> None:
    nbytes, offset = part
    if fault:
        fake.faults.add(Fault(fault, times=None))
    assert hub.head(file, nbytes, offset) == MODEL[offset : offset + nbytes]


def test_head_asks_for_no_more_than_it_needs(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    hub.head(file, 1000)
    assert fake.served["m.gguf"] == 1000
    assert {seen.range for seen in fake.requests} == {"bytes=0-999"}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_short_troubles_are_waited_for(fake: FakeHub, hub: Hub, file: RemoteFile, status: int) -> None:
    fake.faults.add(Fault("status", status, times=3, where="api"), Fault("status", status, times=2))
    assert hub.info("o/n").files == (file,)
    assert hub.head(file, 4) == b"GGUF"


def test_long_troubles_are_not(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    fake.faults.add(Fault("status", 503, times=None, where="api"), Fault("busy", 1000, times=None, where="resolve"))
    with pytest.raises(Transient, match="503"):
        hub.info("o/n")
    with pytest.raises(Transient, match="429") as caught:
        hub.head(file, 4)
    assert caught.value.retry_after == 1000
    assert len(fake.requests) == 5


def test_a_login_page_is_no_answer(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    fake.faults.add(Fault("login", times=None, where="api"), Fault("login", times=None))
    with pytest.raises(NetworkError, match="an answer that a hub does not give") as caught:
        hub.info("o/n")
    assert "log in" in caught.value.hint
    with pytest.raises(NetworkError, match="login page"):
        hub.head(file, 4)


def test_garbage_is_no_answer(fake: FakeHub, hub: Hub, file: RemoteFile) -> None:
    del file
    fake.faults.add(Fault("garbage", where="api"))
    with pytest.raises(NetworkError, match="an answer that a hub does not give"):
        hub.info("o/n")


def test_an_answer_s_commit_is_not_believed(fake: FakeHub, hub: Hub) -> None:
    fake.add("o/n", "m.gguf", MODEL)
    fake.repos["o/n"].commits["../../x"] = {}
    with pytest.raises(NetworkError, match="an answer that a hub does not give"):
        hub.info("o/n")


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "", "http://[", "http://127.0.0.1:99999/"]
)
def test_unsafe_redirects_are_refused(
    fake: FakeHub, hub: Hub, file: RemoteFile, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "link", lambda *_: location)
    with pytest.raises(NetworkError):
        hub.head(file, 4)


def test_circles_end(fake: FakeHub, hub: Hub, file: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{fake.endpoint}/o/n/resolve/{file.commit}/m.gguf"
    monkeypatch.setattr(fake, "link", lambda *_: address)
    with pytest.raises(NetworkError, match="circles"):
        hub.head(file, 4)


def test_nobody_there(fake: FakeHub) -> None:
    with FakeHub() as gone:
        pass
    with pytest.raises(Transient, match=f"The connection to {gone.endpoint} failed"):
        Hub(gone.endpoint, patience=QUICK).info("o/n")
    assert fake.requests == []


@pytest.mark.parametrize("endpoint", ["", "nonsense", "http://[", "http://127.0.0.1:x", "file:///etc"])
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    with pytest.raises(NetworkError):
        Hub(endpoint, patience=QUICK).info("o/n")


def test_the_page_and_the_endpoint() -> None:
    assert Hub("http://127.0.0.1:1/").page("o/n") == "http://127.0.0.1:1/o/n"
    assert Hub().page("o/n") == "https://huggingface.co/o/n"


def test_nothing_is_imported_before_it_is_needed_and_xet_is_off() -> None:
    script = """
import os, sys
import mixchat.models.download
from mixchat.models.hub import Hub
assert "huggingface_hub" not in sys.modules
hub = Hub()
assert hub.endpoint == "http://127.0.0.1:9", hub.endpoint
from huggingface_hub import constants
assert constants.HF_HUB_DISABLE_XET and constants.HF_HUB_DISABLE_TELEMETRY and constants.HF_HUB_DISABLE_PROGRESS_BARS
"""
    environ = {"HF_ENDPOINT": "http://127.0.0.1:9/", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environ, timeout=60)


def test_retry_after_is_read_in_all_its_forms() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30))
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30))
    table: dict[str, float | None] = {"7": 7.0, "": None, "soon": None, "-3": None, past: 0.0, "9" * 50: 999_999_999.0}
    assert {text: retry_after({"retry-after": text}) for text in table} == table
    assert 0 < (retry_after({"retry-after": soon}) or 0) <= 31
    assert retry_after({"ratelimit": '"resolvers";r=0;t=55'}) == 55
    assert retry_after({"ratelimit": '"resolvers";r=12;t=55'}) is None


def test_content_range_is_read_or_refused() -> None:
    table: dict[str | None, tuple[int, int | None] | None] = {
        "bytes 0-9/10": (0, 10),
        "bytes 5-9/*": (5, None),
        "bytes 9-5/10": None,
        "bytes */10": None,
        "items 0-9/10": None,
        f"bytes 0-{'9' * 40}/10": None,
        "": None,
        None: None,
    }
    assert {text: content_range(text) for text in table} == table


def test_pauses_double_up_to_a_limit() -> None:
    patience = Patience(first_pause=1, longest_pause=5, longest_wait=60)
    assert [patience.pause(failures, None) for failures in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]
    assert [patience.pause(1, seconds) for seconds in (0.0, 7.0, 1000.0)] == [0, 7, 60]
