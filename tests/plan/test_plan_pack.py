from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from mixchat.plan.pack import Bin, Piece, pack

COMPUTE = (1, 2, 3, 4)


def bins(*rooms: int) -> list[Bin]:
    return [Bin(str(index), room, COMPUTE) for index, room in enumerate(rooms)]


LAYERS = [
    piece
    for layer in range(2)
    for piece in (
        Piece(layer, "dense", 10),
        Piece(layer, "up", 5, 1),
        Piece(layer, "gate", 5, 1),
        Piece(layer, "down", 6, 1),
    )
]


def test_one_bin_holds_all_that_it_has_room_for() -> None:
    packed = pack(LAYERS, bins(52 + 4))
    assert packed is not None
    assert (packed.bins, packed.held, packed.compute) == ((0,) * 8, (52,), (4,))
    assert pack(LAYERS, bins(52 + 3)) is None


def test_attention_alone_needs_less_compute() -> None:
    packed = pack([LAYERS[0], LAYERS[4]], bins(21))
    assert packed is not None
    assert packed.compute == (1,)
    assert pack([LAYERS[0], LAYERS[4]], bins(20)) is None


def test_a_layer_is_divided_at_the_border() -> None:
    packed = pack(LAYERS, bins(26 + 4 + 10 + 5, 30))
    assert packed is not None
    assert packed.bins == (0, 0, 0, 0, 0, 0, 1, 1)
    assert packed.held == (41, 11)
    assert packed.compute == (4, 3)


def test_a_dense_block_needs_as_much_as_three_experts() -> None:
    assert pack([Piece(0, "dense", 10, 3)], bins(13)) is None
    assert pack([Piece(0, "dense", 10, 3)], bins(14)) is not None


def test_a_bin_that_is_too_small_is_left_out() -> None:
    packed = pack(LAYERS, bins(5, 56))
    assert packed is not None
    assert packed.held == (0, 52)
    assert packed.compute == (0, 4)


PIECES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans()), min_size=1, max_size=6)
ROOMS = st.lists(st.integers(0, 25), min_size=1, max_size=3)


def _pieces(drawn: list[tuple[int, int, bool]]) -> list[Piece]:
    """Pieces of some layers, of three matrices each at most."""
    layer, sum_of_parts = 0, 0
    pieces = []
    for parts, size, new in drawn:
        if new or sum_of_parts + parts > 3:
            layer, sum_of_parts = layer + 1, 0
        sum_of_parts += parts
        pieces.append(Piece(layer, "up" if parts else "dense", size, parts))
    return pieces


def _possible(pieces: list[Piece], rooms: list[int]) -> bool:
    """Whether any division into runs fits, by trying all."""
    ends = range(len(pieces) + 1)
    for cuts in combinations([*ends] * (len(rooms) - 1), len(rooms) - 1):
        borders = [0, *sorted(cuts), len(pieces)]
        runs = [pieces[start:end] for start, end in pairwise(borders)]
        if all(not run or pack(run, bins(room)) is not None for run, room in zip(runs, rooms, strict=True)):
            return True
    return False


@given(PIECES, ROOMS)
def test_room_is_found_whenever_there_is_some(drawn: list[tuple[int, int, bool]], rooms: list[int]) -> None:
    pieces = _pieces(drawn)
    assert (pack(pieces, bins(*rooms)) is not None) == _possible(pieces, rooms)
