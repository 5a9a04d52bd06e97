"""Where the real Mixtral goes: every quantization, with VRAM, RAM and context of common machines."""

from inline_snapshot import snapshot

from mixchat.errors import DoesNotFit
from mixchat.plan.place import place
from mixchat.plan.values import Wishes
from tests.builders import QUANTS
from tests.plan.machines import GIB, machine, mixtral

VRAM = (0, 6, 8, 12, 16, 24, 48, 80)


def cell(quant: str, vram: int, ram: int, context: int) -> str:
    """`all`, expert layers in VRAM, `tN` for N layers of the tail, `cpu`, or `-`; `q` for a KV cache of q8_0."""
    there = machine(ram * GIB, *([vram * GIB] if vram else []))
    try:
        plan = place(mixtral(quant), there, Wishes(context=context))
    except DoesNotFit:
        return "-"
    kv = "q" if plan.kv_type == "q8_0" else ""
    if not plan.on_gpu:
        return f"cpu{kv}"
    if plan.n_gpu_layers <= len(plan.layers):
        return f"t{plan.n_gpu_layers}{kv}"
    return ("all" if plan.expert_layers == len(plan.layers) else str(plan.expert_layers)) + kv


def table() -> str:
    rows = ["".join(f"{text:>7}" for text in ("ctx", "RAM", *VRAM))]
    for quant in QUANTS:
        rows.append(quant)
        for context in (4096, 16384, 32768):
            for ram in (16, 32, 64):
                cells = [cell(quant, vram, ram, context) for vram in VRAM]
                rows.append("".join(f"{text:>7}" for text in (context, ram, *cells)))
    return "\n".join(rows)


def test_the_table() -> None:
    assert table() == snapshot("""\
    ctx    RAM      0      6      8     12     16     24     48     80
static/Q2_K
   4096     16      -      6     11     19    28q    all    all    all
   4096     32    cpu      6     11     19    28q    all    all    all
   4096     64    cpu      6     11     19    28q    all    all    all
  16384     16      -     5q     9q    18q    26q    all    all    all
  16384     32    cpu     5q     9q    18q    26q    all    all    all
  16384     64    cpu     5q     9q    18q    26q    all    all    all
  32768     16      -     3q     7q    15q    24q    all    all    all
  32768     32    cpu     3q     7q    15q    24q    all    all    all
  32768     64    cpu     3q     7q    15q    24q    all    all    all
static/Q3_K_M
   4096     16      -      -     8q     14    21q    all    all    all
   4096     32    cpu      4     8q     14    21q    all    all    all
   4096     64    cpu      4     8q     14    21q    all    all    all
  16384     16      -      -      -    13q    19q   allq    all    all
  16384     32    cpu     3q     6q    13q    19q   allq    all    all
  16384     64    cpu     3q     6q    13q    19q   allq    all    all
  32768     16      -      -      -    11q    18q    31q    all    all
  32768     32    cpu     1q     5q    11q    18q    31q    all    all
  32768     64    cpu     1q     5q    11q    18q    31q    all    all
static/Q4_K_M
   4096     16      -      -      -      -     16    27q    all    all
   4096     32    cpu      3     6q    11q     16    27q    all    all
   4096     64    cpu      3     6q    11q     16    27q    all    all
  16384     16      -      -      -      -    15q    25q    all    all
  16384     32    cpu     2q     5q    10q    15q    25q    all    all
  16384     64    cpu     2q     5q    10q    15q    25q    all    all
  32768     16      -      -      -      -    14q    24q    all    all
  32768     32    cpu     1q     3q     8q    14q    24q    all    all
  32768     64    cpu     1q     3q     8q    14q    24q    all    all
static/Q5_K_M
   4096     16      -      -      -      -      -     22    all    all
   4096     32   cpuq     3q     5q      9    14q     22    all    all
   4096     64    cpu     3q     5q      9    14q     22    all    all
  16384     16      -      -      -      -      -    21q    all    all
  16384     32      -     2q     4q     8q    13q    21q    all    all
  16384     64    cpu     2q     4q     8q    13q    21q    all    all
  32768     16      -      -      -      -      -    20q    all    all
  32768     32      -     1q     3q     7q    12q    20q    all    all
  32768     64    cpu     1q     3q     7q    12q    20q    all    all
static/Q8_0
   4096     16      -      -      -      -      -      -    all    all
   4096     32      -      -      -      -      -     14    all    all
   4096     64    cpu      1     3q     6q      8     14    all    all
  16384     16      -      -      -      -      -      -    31q    all
  16384     32      -      -      -      -      -    14q    31q    all
  16384     64    cpu      0     2q     5q     8q    14q    31q    all
  32768     16      -      -      -      -      -      -    30q    all
  32768     32      -      -      -      -      -    13q    30q    all
  32768     64    cpu     0q     1q     4q     7q    13q    30q    all
i1/IQ2_XXS
   4096     16    cpu    10q    16q    28q    all    all    all    all
   4096     32    cpu    10q    16q    28q    all    all    all    all
   4096     64    cpu    10q    16q    28q    all    all    all    all
  16384     16    cpu     8q    14q    25q    all    all    all    all
  16384     32    cpu     8q    14q    25q    all    all    all    all
  16384     64    cpu     8q    14q    25q    all    all    all    all
  32768     16   cpuq     4q    10q    22q   allq    all    all    all
  32768     32    cpu     4q    10q    22q   allq    all    all    all
  32768     64    cpu     4q    10q    22q   allq    all    all    all
i1/IQ4_XS
   4096     16      -      -      -     13    19q     30    all    all
   4096     32    cpu      4      7     13    19q     30    all    all
   4096     64    cpu      4      7     13    19q     30    all    all
  16384     16      -      -      -    12q    17q    29q    all    all
  16384     32    cpu     3q     6q    12q    17q    29q    all    all
  16384     64    cpu     3q     6q    12q    17q    29q    all    all
  32768     16      -      -      -    10q    16q    27q    all    all
  32768     32    cpu     1q     4q    10q    16q    27q    all    all
  32768     64    cpu     1q     4q    10q    16q    27q    all    all
thebloke-legacy/Q4_K_M
   4096     16      -      -      -     12    18q     28    all    all
   4096     32    cpu     4q      6     12    18q     28    all    all
   4096     64    cpu     4q      6     12    18q     28    all    all
  16384     16      -      -      -      -    16q    27q    all    all
  16384     32    cpu     3q     5q    11q    16q    27q    all    all
  16384     64    cpu     3q     5q    11q    16q    27q    all    all
  32768     16      -      -      -      -    15q    26q    all    all
  32768     32    cpu     1q     4q     9q    15q    26q    all    all
  32768     64    cpu     1q     4q     9q    15q    26q    all    all\
""")
