"""What the taps believe about ggml's tensors, and what they do when it is wrong; in a process that loads libllama."""

import json
import subprocess
import sys

from mixchat.engine.protocol import decode, encode
from mixchat.engine.tracing import Routed, choices_of, routed
from mixchat.routing.choices import Choices

CODE = """
import ctypes, json
from mixchat.engine.worker import graphs, taps
from mixchat.engine.worker.bindings import _ggml
from mixchat.errors import EngineError

set_name = _ggml("ggml_set_name", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
memory = graphs._init(graphs._Parameters(1 << 16, None, True))

def tensor(kind, name, *shape):
    made = graphs._tensor(memory, kind, shape)
    set_name(made, name)
    return made

def seen(made):
    found = taps.Tensor.from_address(made)
    return [found.type, list(found.ne), list(found.nb), graphs.nbytes(made)]

told = {"f32": seen(tensor("F32", b"a", 3, 5, 7)), "f16": seen(tensor("F16", b"b", 8, 2))}

tap = taps.Taps(None, 7)
experts, weights = tensor("F32", b"ffn_moe_topk-0", 2, 4), tensor("F32", b"ffn_moe_weights-0", 1, 2, 4)
told["asked"] = [tap._called(node, True, None) for node in (tensor("F32", b"ffn_moe_out-0", 1), experts, weights)]
told["goes on"] = tap._called(weights, False, None)
told["asks later"] = tap._called(tensor("F32", b"ffn_moe_weights-1", 2, 4), True, None)
try:
    tap.check()
except EngineError as error:
    told["error"] = error.message
tap.check()
strange = [tensor("F32", name, 1) for name in (b"ffn_moe_topk-", b"ffn_moe_topk-x", b"")]
told["strange"] = [tap._called(node, True, None) for node in strange]
tap.forget()
tap._called(experts, True, None)
try:
    list(tap.choices(0, 4))
except EngineError as error:
    told["missing"] = error.message
print(json.dumps(told))
"""


def test_tensors_are_read_and_mistakes_are_kept_for_later() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True, timeout=60)
    told = json.loads(done.stdout)
    assert told["f32"] == [0, [3, 5, 7, 1], [4, 12, 60, 420], 420]
    assert told["f16"] == [1, [8, 2, 1, 1], [2, 16, 32, 32], 32]
    assert told["asked"] == [False, False, True]
    assert (told["goes on"], told["asks later"]) == (True, False)
    assert "does not show its routers' choices as expected: 4 rows of 2 experts" in told["error"]
    assert told["strange"] == [False, False, False]
    assert "layer 0 shows 0 of 4 tokens" in told["missing"]


def test_choices_cross_the_pipe_unchanged() -> None:
    weights = (0.1, 1 / 3, 2.0**-140, 123456.789)
    exact = choices_of(routed(Choices(3, 512, 2, (0, 65535, 7, 7), weights)))
    assert exact.weights != weights
    assert choices_of(routed(exact)) == exact
    assert exact.experts == (0, 65535, 7, 7)
    request_id, packed = decode(encode(9, routed(exact))[4:])
    assert request_id == 9
    assert isinstance(packed, Routed)
    assert choices_of(packed) == exact
