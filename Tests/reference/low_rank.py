"""A low-rank adapter of the tiny encoder of Tests/ApusLanguageTests/Fixtures, as the Python package peft writes it, and
what the model gives with it.

    low_rank.py     writes Reference/low-rank beside the tests of ApusTraining, and low-rank.json

Needs torch, transformers and peft.
"""

import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertModel

TESTS = pathlib.Path(__file__).parent.parent
REFERENCE = TESTS / "ApusTrainingTests" / "Reference"


def main():
    torch.manual_seed(3)
    model = BertModel.from_pretrained(REFERENCE / "bert", add_pooling_layer=False).eval()
    config = LoraConfig(r=3, lora_alpha=5, lora_dropout=0.0, target_modules=["query", "intermediate.dense"])
    tuned = get_peft_model(model, config).eval()
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = REFERENCE / "low-rank"
    shutil.rmtree(folder, ignore_errors=True)
    tuned.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "bert"
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    ids = torch.tensor([[5, 9, 2, 31, 7], [1, 40, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    hidden = tuned.double()(input_ids=ids, attention_mask=mask).last_hidden_state
    hidden = hidden * mask[:, :, None]
    result = {"hidden": [round(x, 9) for x in hidden.flatten().tolist()]}
    (REFERENCE / "low-rank.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
