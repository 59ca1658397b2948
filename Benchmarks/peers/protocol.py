"""How `apus bench --peers` talks to a peer: one process a peer, JSON lines out, commands in.

The harness starts the process and waits for {"first_step": true} (training only) and
{"ready": true}. A peer that runs kernels is then told "case {...}", and answers {"ready": true}
again. Then the harness alternates short blocks between all sides: it writes "run N", and the peer
answers with the seconds that N repetitions took. So all sides see the same clock speed and the same
neighbours. {"error": "..."} tells what went wrong. End of input ends the process.
"""

import json
import os
import platform
import sys
import time


def peak_resident_kib():
    """The peak of this process alone; ru_maxrss would count what its parent held at the fork."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def use_threads(count):
    """Keeps the process, and with it every thread pool made later, to `count` of its processors."""
    processors = sorted(os.sched_getaffinity(0))
    if count < len(processors):
        os.sched_setaffinity(0, processors[:count])
    os.environ["OMP_NUM_THREADS"] = str(count)


def say(**line):
    print(json.dumps(line), flush=True)


def require(*modules):
    """Ends the process with a word to the harness where a module is not installed."""
    for module in modules:
        try:
            __import__(module)
        except ImportError as error:
            say(error=f"{error} in {sys.executable}", missing=True)
            sys.exit(3)


def versions(*modules):
    found = {"python": platform.python_version()}
    return found | {module: sys.modules[module].__version__ for module in modules}


def timed(step, finish=lambda result: None, report=lambda finished: {}):
    """A `run` for `serve`: repeats `step`, and waits for its last result by `finish`, whose value
    `report` makes more of the answer from."""

    def run(repetitions):
        for _ in range(max(1, repetitions // 10)):  # wakes the thread pool and the caches, untimed
            result = step()
        finish(result)
        start = time.perf_counter()
        for _ in range(repetitions):
            result = step()
        finished = finish(result)
        return {"seconds": time.perf_counter() - start} | report(finished)

    return run


def serve(run=None, prepare=None):
    """Answers every "run N" with `run(N)`, a dictionary with at least `seconds`.

    "case {...}" makes `prepare` of the case's dictionary the next `run`.
    """
    for command in sys.stdin:
        word, _, argument = command.strip().partition(" ")
        if word == "case" and prepare:
            try:
                run = prepare(json.loads(argument))
                run(1)
            except Exception as error:  # told to the user by the harness
                say(error=f"{argument}: {type(error).__name__}: {error}")
                sys.exit(1)
            say(ready=True)
        elif word == "run" and run:
            steps = int(argument)
            peak_kib = peak_resident_kib()
            say(**run(steps), steps=steps, rss_mib=peak_kib / 1024)
        else:
            sys.exit(f"unknown command {command!r}; expected 'run N'")
