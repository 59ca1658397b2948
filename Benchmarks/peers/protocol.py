"""How `apus bench --peers` talks to a peer: one process a peer, JSON lines out, commands in.

The harness starts the process and waits for {"first_step": true} (training only) and
{"ready": true}. Then it alternates short blocks between all sides: it writes "run N", and the peer
answers with the seconds that N repetitions took. So all sides see the same clock speed and the same
neighbours. End of input ends the process.
"""

import json
import os
import sys


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


def serve(run):
    """Answers every "run N" with `run(N)`, a dictionary with at least `seconds`."""
    for command in sys.stdin:
        word, _, argument = command.strip().partition(" ")
        if word != "run":
            sys.exit(f"unknown command {command!r}; expected 'run N'")
        steps = int(argument)
        peak_kib = peak_resident_kib()
        say(**run(steps), steps=steps, rss_mib=peak_kib / 1024)
