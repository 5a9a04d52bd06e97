"""How soon Ctrl-C is answered in the middle of a 4000-token prefill on the CPU.

    python benchmarks/interrupt.py [--rounds 10]

A real `mixchat chat demo` on a pseudo-terminal: a long text is pasted, Ctrl-C comes one second later, and the time
until "[interrupted]" is shown counts. After each round a short turn must be answered.
"""

import argparse
import statistics
import sys
import time

import pexpect

TEXT = "The lighthouse keeper counted the ships that passed in the night and wrote their names down. " * 230
PASTE = f"\x1b[200~{TEXT}\x1b[201~\r"


def main() -> None:
    """Run the rounds and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    chat = pexpect.spawn(sys.executable, ["-m", "mixchat", "chat", "demo"], dimensions=(24, 80), timeout=60)
    chat.expect("is ready")
    chat.expect(">>>")
    times: list[float] = []
    for _ in range(rounds):
        chat.send(PASTE)
        chat.expect(r"\d+ t/s", timeout=30)
        time.sleep(1)
        started = time.perf_counter()
        chat.sendintr()
        chat.expect(r"\[interrupted\]")
        times.append(time.perf_counter() - started)
        chat.expect(">>>")
        chat.send("Say yes.\r")
        chat.expect(r"\w[^\r\n]*\r\n", timeout=30)
        chat.expect(">>>")
        print(f"{times[-1] * 1000:.0f} ms", flush=True)
    print(f"median {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms ({rounds} rounds)")
    chat.sendeof()


if __name__ == "__main__":
    main()
