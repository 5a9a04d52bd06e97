import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import UsageError
from mixchat.plan.units import format_bytes, parse_size, parse_speeds


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (28448468384, "26.5 GiB"),
        (1024**4, "1.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_format(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 << 30),
        ("512MiB", 512 << 20),
        ("24GB", 24 * 10**9),
        ("1048576", 1 << 20),
        ("0", 0),
        ("7B", 7),
        ("1.5GiB", 3 << 29),
        ("0.1KB", 100),
        ("1.0001KB", 1000),
        (" 2 tib ", 2 << 40),
        ("3kb", 3000),
        ("1MB", 10**6),
        ("1TB", 10**12),
        ("1KiB", 1024),
    ],
)
def test_parse(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "8G", "8 Gi", "-1", "1e3", "1,5GiB", ".5GiB", "1.GiB", "8GiBs", "٣GiB", "9" * 19, "8\nGiB"]
)
def test_not_a_size(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.message == f"{text!r} is not a size."
    assert caught.value.exit_code == 2


@given(st.integers(1 << 20, 10**17))
def test_plain_bytes_are_exact(size: int) -> None:
    assert parse_size(str(size)) == size


@pytest.mark.parametrize("text", ["1", "24", " 8 ", "1048575"])
def test_a_small_number_lacks_its_unit(text: str) -> None:
    with pytest.raises(UsageError, match="has no unit") as caught:
        parse_size(text)
    assert caught.value.hint == f"Write {text.strip()}GiB or the like."


@given(st.integers(0, 2**60))
def test_what_is_formatted_can_be_parsed(size: int) -> None:
    assert abs(parse_size(format_bytes(size)) - size) <= max(size // 20, 1)


@pytest.mark.parametrize(
    ("text", "speeds"),
    [
        ("", ()),
        ("60GB/s", (60 * 10**9,)),
        ("60GB/s, 900 GB/s", (60 * 10**9, 900 * 10**9)),
        ("1.5GiB", (3 << 29,)),
        ("60000000000", (60 * 10**9,)),
    ],
)
def test_speeds_are_sizes_per_second(text: str, speeds: tuple[int, ...]) -> None:
    assert parse_speeds(text) == speeds


@pytest.mark.parametrize("text", ["fast", "60GB/h", "0", "0GB/s", "60GB/s,", ",", "-1", "60 G/s"])
def test_what_is_no_speed_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r" is not a bandwidth\.$") as refused:
        parse_speeds(text)
    assert "RAM first" in refused.value.hint
