#!/usr/bin/env bash
# PyYAML 6.0.3 reads a number of a JSON text as a text: 1e-08 comes back as the string '1e-08'.
#
# JSON is said to be YAML, and programs read configurations of either kind by yaml.safe_load. PyYAML follows YAML 1.1,
# where a float with an exponent has a point and a sign ("1.0e-08"); json.dumps writes neither, and no error is told. A
# learning rate of 1e-05 is then a str. Seen:
#
#   json: {'epsilon': 1e-08, 'rate': 0.001}
#   yaml: {'epsilon': '1e-08', 'rate': 0.001}
#
# What this means for Apus: config.json is read as JSON (Python: json.load), and in YAML files 1e-3 and 1e-08 are
# numbers, as in YAML 1.2 (ConfigurationTests, ConfiguredRunTests).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyyaml==6.0.3
"$folder/venv/bin/python" - <<'PYTHON'
import json
import yaml

assert yaml.__version__ == "6.0.3", yaml.__version__
text = json.dumps({"epsilon": 1e-8, "rate": 1e-3})
own, other = json.loads(text), yaml.safe_load(text)
print("json:", own)
print("yaml:", other)
assert own == {"epsilon": 1e-8, "rate": 1e-3}
assert other == {"epsilon": "1e-08", "rate": 1e-3}, "this has changed"
# With a point and a sign it is a number to both.
assert yaml.safe_load('{"epsilon": 1.0e-08}') == {"epsilon": 1e-8}
PYTHON
echo "as described"
