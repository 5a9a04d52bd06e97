"""What an engine tells while it works, and what it is asked for.

Knows the values that cross the engine's port; refuses to know who runs the engine and who listens.
Times are milliseconds, sizes bytes.
"""

from dataclasses import dataclass, field
from typing import Literal

from mixchat.plan.values import KvType, LoadMode, Override

FinishReason = Literal["stop", "length", "interrupted"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, in the order llama.cpp's own tools apply it.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus; 1 is off.
        top_k: 0 is off.
        min_p: 0 is off.
        repeat_penalty: Over the last 64 tokens; 1 is off.
        seed: None draws one.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Loading:
    """A model is being read; `fraction` runs from 0 to 1."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Prefilling:
    """Prompt tokens evaluated: `done` of `total`, `cached` of which were there before."""

    done: int
    total: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer.

    Attributes:
        text: Whole characters; may be empty while a character or a stop string is incomplete.
        id: The sampled token; -1 for text that was held back until the end.
    """

    text: str
    id: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the prompt, of which cached, and of the answer."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds of each phase, and tokens per second of prefill and decode (0 when nothing ran).

    `major_faults` counts the pages that the answer had to wait for the disk for.
    """

    load_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    ttft_ms: float = 0.0
    prefill_tps: float = 0.0
    decode_tps: float = 0.0
    major_faults: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer's end."""

    reason: FinishReason
    usage: Usage
    timings: Timings


GenerateEvent = Prefilling | Token | Finished


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that llama.cpp can use; memory in bytes.

    Attributes:
        name: llama.cpp's name, such as `CUDA0`, `RPC0` or `CPU`; unique within a worker.
        description: The maker's name; of a remote device its HOST:PORT.
        kind: As ggml classes it.
        free: Free memory at the time of asking.
        total: All its memory.
        unified: It computes in the RAM that the CPU uses too (integrated GPUs, Apple silicon).
        remote: It is reached over RPC.
        backend: ggml's name of its backend, such as `CPU`, `CUDA`, `MTL` or `RPC`.
    """

    name: str
    description: str
    kind: Literal["cpu", "gpu", "igpu", "accel"]
    free: int
    total: int
    unified: bool = False
    remote: bool = False
    backend: str = ""


@dataclass(frozen=True, slots=True)
class BufferSize:
    """A buffer that llama.cpp reported in its log: its device's name, what it holds and its bytes.

    The CPU has several names: `CPU`, `CPU_Mapped` (a span of the mapped file), `CPU_REPACK` (private copies), and a
    card's `CUDA_Host` and the like. A remote device is named as in DeviceInfo, not by its HOST:PORT.
    """

    device: str
    holds: Literal["model", "kv", "compute", "output"]
    nbytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model is ready.

    Attributes:
        context: Tokens that fit the KV cache; llama.cpp rounds what was asked up to a multiple of 256.
        buffers: What was really allocated.
        load_ms: Milliseconds, reading ahead included.
        mapped: Bytes of the model's files that the worker still maps; 0 in copy mode and where nobody can tell.
        resident: Those of them that lie in RAM; the rest is read from the disk when it is needed. On a file that
            the user may not write Linux does not tell, and all of it counts as resident.
    """

    context: int
    buffers: tuple[BufferSize, ...]
    load_ms: float
    mapped: int = 0
    resident: int = 0


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Everything that decides how a model is loaded.

    Attributes:
        path: The model file.
        context: Tokens of KV cache.
        devices: Names of the devices to use, in order; none: the CPU alone.
        n_gpu_layers: The last layers, the head included, that go to those devices.
        tensor_split: How many of these each device gets.
        overrides: Tensors that go elsewhere, by pattern; the device `CPU` is RAM.
        outputs: Tokens of one batch whose logits are wanted at most.
        kv_type: Type of the KV cache.
        ubatch: Tokens of one physical prefill batch.
        threads: Compute threads.
        load_mode: How weights come into memory.
        extra_buffers: Let llama.cpp keep repacked private copies of weights; only a build that proved itself may.
        vocab_only: Load the tokenizer and no weights.
        read_ahead: Read the file into the page cache first, with progress.
        experts_used: Experts that each token passes; None: as the file says.
        architecture: llama.cpp's name of it, which the file's key for that begins with; only needed with
            `experts_used`.
        sequences: Answers that may be in the making at once. They share the context's cells: the room of each is what
            the others leave.
    """

    path: str
    context: int = 8192
    devices: tuple[str, ...] = ()
    n_gpu_layers: int = 0
    tensor_split: tuple[int, ...] = ()
    overrides: tuple[Override, ...] = ()
    outputs: int = 1
    kv_type: KvType = "f16"
    ubatch: int = 512
    threads: int = 1
    load_mode: LoadMode = "mmap"
    extra_buffers: bool = False
    vocab_only: bool = False
    read_ahead: bool = True
    experts_used: int | None = None
    architecture: str = ""
    sequences: int = 1


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A prompt to continue.

    Attributes:
        tokens: The whole prompt; the longest prefix that is already evaluated is reused.
        max_tokens: Limit of the answer; None goes on to the end of the context.
        stop: Texts that end the answer and are not part of it.
        shown: Control tokens, by their text, that are part of the answer's text; all others have no text.
        grammar: What the answer obeys, in GBNF with the rule `root`; empty: nothing.
        own_batch: So many of the first tokens are evaluated as batches of their own, so that a prefix that was kept
            gives the same numbers as one that is evaluated.
    """

    tokens: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    grammar: str = ""
    own_batch: int = 0


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Tokens of which the routers' choices are wanted.

    Attributes:
        tokens: From the first one of a text, BOS among them where the model wants it.
        layers: Of which layers, counted from 0; None: all that have a router.
    """

    tokens: tuple[int, ...]
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class StateKey:
    """What a kept KV state depends on besides its tokens; it is used only where all of it is equal.

    The engine itself adds what it alone knows: llama.cpp's build, the KV cache's type and whether flash attention is
    on.

    Attributes:
        model: Identity of the model file and of the experts used.
    """

    model: str


@dataclass(frozen=True, slots=True)
class StateKept:
    """The evaluated state was written: tokens of it, and bytes of the file. No tokens: there was nothing to keep."""

    tokens: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class StateRestored:
    """Tokens that are evaluated now; 0 when the kept state was not used, `reason` says why in one sentence."""

    tokens: int
    reason: str = ""
