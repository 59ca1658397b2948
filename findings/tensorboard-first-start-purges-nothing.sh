#!/usr/bin/env bash
# TensorBoard 2.21.0: a resumed run that says from which step on it counts is shown with the steps of before all the
# same, unless the first run has said so too; the default data server never listens.
#
# A writer that resumes after step 5 begins a new file with SessionLog.START at step 6 (PyTorch's
# SummaryWriter(purge_step=6) does that): what earlier files have from step 6 on is to go. Three readers of the package
# do three things. The first run wrote x at steps 1 to 8, the second one y at 6 to 9. Seen, as steps of x:
#
#                                    first file without START      with START at step 1
#   event_accumulator (the library)  1 to 5                        1 to 5
#   plugin_event_accumulator         1 to 8                        1 to 5
#     (the server, --load_fast=false)
#   the data server (the default)    1 to 8                        1 to 8
#
# The second takes the first START of a run for its beginning, also where that is in the second file. The data server
# drops a tag's later points only when the tag itself comes again at an earlier step.
#
# What this means for Apus: TensorBoardWriter begins every file with START, the first one too, and a resumed run notes
# the same tags at the same steps again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorboard==2.21.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import importlib, json, os, socket, subprocess, sys, time, urllib.request
from importlib.metadata import version

from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

assert version("tensorboard") == "2.21.0"


def write(folder, tag, steps, start):
    writer = EventFileWriter(folder)
    if start is not None:
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        writer.add_event(event_pb2.Event(wall_time=time.time(), step=start, session_log=log))
    for step in steps:
        value = summary_pb2.Summary.Value(tag=tag, simple_value=step)
        writer.add_event(
            event_pb2.Event(wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=[value])))
    writer.close()


def served(root):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [os.path.join(os.path.dirname(sys.executable), "tensorboard"), "--logdir", root, "--port",
         str(port), "--host", "127.0.0.1", "--load_fast=true"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=run&tag=x"
        for _ in range(120):
            time.sleep(0.5)
            try:
                with urllib.request.urlopen(address) as answer:
                    return [point[1] for point in json.load(answer)]
            except OSError:
                continue
        raise SystemExit("the server does not answer")
    finally:
        server.terminate()
        server.wait()


whole, kept = list(range(1, 9)), list(range(1, 6))
for start, expected in [(None, (kept, whole, whole)), (1, (kept, kept, whole))]:
    root = os.path.join(sys.argv[1], f"logs-{start}")
    run = os.path.join(root, "run")
    write(run, "x", whole, start)
    time.sleep(1.1)  # files are read in the order of their names, which have seconds
    write(run, "y", range(6, 10), 6)
    old = event_accumulator.EventAccumulator(run)
    old.Reload()
    new = plugin_event_accumulator.EventAccumulator(run)
    new.Reload()
    seen = (
        [event.step for event in old.Scalars("x")], [event.step for event in new.Tensors("x")],
        served(root))
    print("START in the first file:", start, *seen)
    assert seen == expected, "this has changed"
PYTHON
echo "as described"
