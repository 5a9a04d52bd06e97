"""Forecast against measured: calibrate by the microbenchmark alone, load, decode, compare.

Every model runs with plain weights and with extra buffers. For each, a few turns of (calibrate afresh, decode 24
tokens) at a shallow context, then prefill of 512 tokens, then the same turns after 1500 tokens; medians of all. Turns
in which other processes were busy do not count. Two workers take turns: one measures kernels, one holds the model.

    python -m benchmarks.random_mixtral --quant Q4_K_M two.gguf
    python -m benchmarks.forecast two.gguf demo.gguf
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from mixchat.engine.calibration import calibrate
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateRequest, LoadRequest, Sampling
from mixchat.engine.platform import physical_cores
from mixchat.engine.proof import prove
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.shards import read_model
from mixchat.plan.forecast import Costs
from mixchat.plan.values import CPU, Forecast, Machine, Placement, Plan
from mixchat.store.places import Places

SHALLOW, BATCH, DEEP, TOKENS = 16, 512, 1500, 24
QUIET, PATIENCE = 0.4, 4
"""Seconds that other processes may take of the processor in one turn; how often more turns are tried."""


@dataclass(frozen=True, slots=True)
class Run:
    """One model in one worker."""

    name: str
    client: WorkerClient
    model: MoeModel
    extra: bool
    tokens: tuple[int, ...]

    def decode(self, depth: int) -> Finished:
        """Continue a prompt of that many tokens; what is cached of it is not evaluated again."""
        request = GenerateRequest(self.tokens[:depth], Sampling(temperature=0), TOKENS)
        (end,) = [event for event in self.client.generate(request) if isinstance(event, Finished)]
        return end

    def forecast(self, depth: int) -> Forecast:
        """What a calibration made this moment says, with everything on the CPU."""
        parts = (each for layer in self.model.layers for each in layer.weights)
        types = {each.type for each in (*parts, *self.model.outside)}
        with tempfile.TemporaryDirectory() as folder:
            known = calibrate(places(folder), worker, types, physical_cores(), self.extra)
        layers = tuple(Placement(index, CPU, CPU, CPU, CPU) for index in range(self.model.n_layers))
        plan = Plan(2048, "f16", BATCH, "mmap", self.extra, layers, CPU, (), 0, (), (), (), None)
        told = Costs(self.model, known.with_rates(Machine((), 0)), "f16", depth).forecast(plan)
        if told is None:
            raise SystemExit("no forecast")
        return told

    def compare(self, depth: int, turns: int) -> str:
        """A line of the table: decoding."""
        told: list[Forecast] = []
        found: list[float] = []
        for _ in range(PATIENCE * turns):
            before = self.quiet()
            now, speed = self.forecast(depth + TOKENS // 2), self.decode(depth).timings.decode_tps
            if self.others() - before < QUIET:
                told.append(now)
                found.append(speed)
            if len(found) == turns:
                break
        if not found:
            return f"{self.name}  decode  {depth:5}  other processes were busy all the time"
        says, is_ = median(each.decode_tps for each in told), median(found)
        parts = " ".join(f"{kind.split()[0]} {ms:.1f}" for kind, ms in told[-1].parts)
        spread = f"{min(found):.2f}-{max(found):.2f}"
        return f"{self.name}  decode  {depth:5}  {says:8.2f}  {is_:8.2f}  {says / is_:6.2f}  ({spread}; ms: {parts})"

    def quiet(self) -> float:
        """Wait until other processes are quiet, or half a minute; returns what `others` says then."""
        for _ in range(100):
            before = self.others()
            time.sleep(0.3)
            if self.others() - before < 0.03:
                break
        return self.others()

    def others(self) -> float:
        """Seconds that processes beside ours have taken of the processor."""
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
        held, ours = psutil.Process(self.client.pid).cpu_times(), psutil.Process().cpu_times()
        mine = held.user + held.system + ours.user + ours.system + ours.children_user + ours.children_system
        return float(busy - mine)


def worker() -> WorkerClient:
    """A worker of its own."""
    return WorkerClient(os.environ)


def places(folder: str) -> Places:
    """All folders in one."""
    return Places(*[Path(folder)] * len(Places.__slots__))


def lines(path: Path, extra: bool, turns: int) -> Iterator[str]:
    """The table's lines for one model."""
    model = describe(read_model(path))
    tokens = tuple(random.Random(0).choices(range(300, model.vocab_size), k=DEEP))
    with closing(worker()) as client:
        request = LoadRequest(str(path), context=2048, threads=physical_cores(), extra_buffers=extra)
        list(client.load(request))
        run = Run(f"{path.stem[:24]:24} {'extra' if extra else 'plain'}", client, model, extra, tokens)
        run.decode(SHALLOW)
        yield run.compare(SHALLOW, turns)
        told, found = run.forecast(BATCH).prefill_tps, run.decode(BATCH).timings.prefill_tps
        yield f"{run.name}  prefill {BATCH:5}  {told:8.2f}  {found:8.2f}  {told / found:6.2f}"
        run.decode(DEEP)
        yield run.compare(DEEP, turns)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--buffers", choices=["plain", "extra", "both"], default="both")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        proof, _new = prove(places(folder), worker)
    kinds = {"plain": [False], "extra": [True], "both": [False, True]}[options.buffers]
    print(f"{'':30}  what    depth  forecast  measured   ratio")
    for path in options.models:
        for extra in kinds:
            if proof.extra_buffers or not extra:
                for line in lines(path, extra, options.turns):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
