"""Reads the event files of a folder by TensorBoard's own code and prints what they hold as one JSON object.

    tensorboard_events.py FOLDER

The tests call it with a Python that has the package `tensorboard` (.ci/python).
"""
import json
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

folder = sys.argv[1]
accumulator = event_accumulator.EventAccumulator(
    folder, size_guidance={name: 0 for name in event_accumulator.DEFAULT_SIZE_GUIDANCE})
accumulator.Reload()
tags = accumulator.Tags()


def number(value):
    return value if value == value and abs(value) != float("inf") else str(value)


result = {
    "scalars": {
        tag: [[event.step, number(event.value)] for event in accumulator.Scalars(tag)]
        for tag in tags["scalars"]
    },
    "histograms": {
        tag: [
            {
                "step": event.step, "min": event.histogram_value.min,
                "max": event.histogram_value.max, "num": event.histogram_value.num,
                "sum": event.histogram_value.sum,
                "sum_squares": event.histogram_value.sum_squares,
                "bucket_limit": list(event.histogram_value.bucket_limit),
                "bucket": list(event.histogram_value.bucket),
            } for event in accumulator.Histograms(tag)
        ]
        for tag in tags["histograms"]
    },
    "images": {
        tag: [
            {
                "step": event.step, "width": event.width, "height": event.height,
                "png": event.encoded_image_string[:8].hex(),
                "bytes": len(event.encoded_image_string),
            } for event in accumulator.Images(tag)
        ]
        for tag in tags["images"]
    },
    "texts": {
        tag: [
            [event.step, tensor_util.make_ndarray(event.tensor_proto).item().decode()]
            for event in accumulator.Tensors(tag)
        ]
        for tag in tags["tensors"] if tag.endswith("/text_summary")
    },
    "graph": None,
    "hparams": {},
}
if tags["graph"]:
    graph = accumulator.Graph()
    result["graph"] = [
        {"name": node.name, "op": node.op, "inputs": list(node.input),
         "shapes": [[d.size for d in shape.dim] for shape in
                    node.attr["_output_shapes"].list.shape]}
        for node in graph.node
    ]
for tag in accumulator.summary_metadata:
    if not tag.startswith("_hparams_/"):
        continue
    data = plugin_data_pb2.HParamsPluginData.FromString(
        accumulator.SummaryMetadata(tag).plugin_data.content)
    if data.HasField("experiment"):
        result["hparams"]["infos"] = {i.name: i.type for i in data.experiment.hparam_infos}
        result["hparams"]["metrics"] = [m.name.tag for m in data.experiment.metric_infos]
    if data.HasField("session_start_info"):
        values = data.session_start_info.hparams
        result["hparams"]["values"] = {
            name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()
        }
    if data.HasField("session_end_info"):
        result["hparams"]["status"] = data.session_end_info.status

# Every record of every file, by the loader that checks the checksums.
files = []
import glob
import os

for path in sorted(glob.glob(os.path.join(folder, "events.out.tfevents.*"))):
    events = list(EventFileLoader(path).Load())
    files.append({"version": events[0].file_version, "events": len(events)})
result["files"] = files
json.dump(result, sys.stdout, sort_keys=True)
