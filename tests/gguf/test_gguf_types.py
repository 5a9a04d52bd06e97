from ctypes import CDLL, c_int, c_int64, c_size_t
from importlib.util import find_spec
from pathlib import Path

import pytest

from mixchat.errors import BadHeader
from mixchat.gguf.types import REMOVED, TYPES, GgmlType, ggml_type, nbytes

ONLY_IN_LLAMA_CPP = {"Q2_0"}
# The package gives 40 bytes; ggml's own block is two halves and 32 bytes.
WRONG_IN_THE_PACKAGE = {"Q8_1"}


def test_agree_with_the_gguf_package() -> None:
    from gguf import GGML_QUANT_SIZES

    theirs = {kind.name: (kind.value, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    ours = {kind.name: (kind.id, kind.elements, kind.nbytes) for kind in TYPES.values()}
    assert theirs.keys() - ours.keys() == set()
    assert ours.keys() - theirs.keys() <= ONLY_IN_LLAMA_CPP
    compared = theirs.keys() - WRONG_IN_THE_PACKAGE
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}


@pytest.fixture
def ggml() -> CDLL:
    found = find_spec("llama_cpp")
    assert found is not None
    assert found.origin is not None
    libraries = sorted((Path(found.origin).parent / "lib").glob("libggml-base.*"))
    library = CDLL(str(libraries[0]))
    library.ggml_type_size.restype = c_size_t
    library.ggml_blck_size.restype = c_int64
    library.ggml_type_size.argtypes = library.ggml_blck_size.argtypes = [c_int]
    return library


def test_agree_with_ggml_itself(ggml: CDLL) -> None:
    for kind in TYPES.values():
        assert (ggml.ggml_blck_size(kind.id), ggml.ggml_type_size(kind.id)) == (kind.elements, kind.nbytes), kind
    for number in REMOVED:
        assert ggml.ggml_type_size(number) == 0


@pytest.mark.parametrize("kind", TYPES.values(), ids=lambda kind: kind.name)
def test_found_by_number(kind: GgmlType) -> None:
    assert ggml_type(kind.id) is kind


def test_numbers_are_used_once() -> None:
    numbers = [kind.id for kind in TYPES.values()] + list(REMOVED)
    assert sorted(numbers) == list(range(43))


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (4, "Tensor type Q4_2 was removed from llama.cpp."),
        (31, "Tensor type Q4_0_4_4 was removed from llama.cpp."),
        (38, "Tensor type IQ4_NL_8_8 was removed from llama.cpp."),
        (43, "Tensor type 43 is unknown."),
        (2**32 - 1, "Tensor type 4294967295 is unknown."),
    ],
)
def test_numbers_that_no_file_may_have(number: int, cause: str) -> None:
    with pytest.raises(BadHeader) as caught:
        ggml_type(number)
    assert caught.value.message == cause
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("F32", (), 4),
        ("F32", (3,), 12),
        ("F16", (4096, 8), 65536),
        ("Q8_0", (64, 2), 136),
        ("Q4_K", (4096, 14336, 8), 4096 * 14336 * 8 // 256 * 144),
        ("MXFP4", (32, 3, 5, 2), 17 * 30),
    ],
)
def test_bytes_of_a_tensor(name: str, shape: tuple[int, ...], size: int) -> None:
    assert nbytes(TYPES[name], shape) == size


@pytest.mark.parametrize(("name", "shape"), [("Q4_K", (128, 2)), ("Q8_0", (33,)), ("Q4_0", ())])
def test_a_row_is_whole_blocks(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadHeader, match=f"not a whole number of {name} blocks"):
        nbytes(TYPES[name], shape)
