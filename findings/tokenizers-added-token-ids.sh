#!/usr/bin/env bash
# tokenizers 0.23.3 does not read the ids of added tokens that stand in tokenizer.json.
#
# Each added token of the file has an `id`. On loading, a token that is not in the model's vocabulary gets the next id
# behind it, in the order of the list, whatever the file says, and nothing is said about it. A file whose ids have a gap, as
# those of vocabularies of OpenAI's have, gives a model other tokens than it was trained with. Seen:
#
#   the file says {'<a>': 10, '<b>': 20}
#   the tokenizer has {'<a>': 3, '<b>': 4}
#   encode("<b>") gives [4]
#
# What this means for Apus: Tokenizer(file:) refuses such a file and names the token. Tokenizer(tiktoken:) puts special
# tokens into the model's vocabulary, whose ids are read, so that what it saves is read everywhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import json

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
tokenizer = Tokenizer(models.WordLevel({"x": 0, "y": 1, "?": 2}, unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.add_special_tokens(["<a>", "<b>"])
content = json.loads(tokenizer.to_str())
for token, id in zip(content["added_tokens"], [10, 20]):
    token["id"] = id
print("the file says", {token["content"]: token["id"] for token in content["added_tokens"]})
read = Tokenizer.from_str(json.dumps(content))
ids = {name: read.token_to_id(name) for name in ["<a>", "<b>"]}
print("the tokenizer has", ids)
print('encode("<b>") gives', read.encode("<b>").ids)
if ids != {"<a>": 3, "<b>": 4} or read.id_to_token(20) is not None:
    raise SystemExit("the ids are read: this has changed")
PYTHON
echo "as described"
