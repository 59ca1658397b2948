"""Writes a tiny encoder of sentences and what the Python package sentence-transformers makes of texts with it.

    make.py                             the folder `encoder` and `vectors.json` beside this script
    make.py --folder FOLDER LINES OUT   texts, a line each, and their vectors by another folder, as JSON

Needs torch, transformers, tokenizers and sentence-transformers. The model is random: nothing here is anybody's data.
"""

import json
import pathlib
import shutil
import sys

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

HERE = pathlib.Path(__file__).parent
WORDS = """the a man woman child dog cat eats reads writes bread book letter in on under of and with her his house
garden river mountain slowly quickly never always big small old new red blue ##s ##ed ##ing ##ly un ##happy""".split()
TEXTS = [
    "The man eats bread.",
    "A woman reads a book in the garden, and her dog sleeps.",
    "unhappy cats",
    "",
    "Never!",
    "The old man and the big dog walked slowly on the mountain with the small child and her cat. " * 3,
    "Ünïcödé wörds 漢字 😀 are mostly [UNK]",
    "the river",
    "blue house, red house",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9",
]


def write_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,!?'-")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters
    vocabulary += ["##" + letter for letter in letters if letter.isalnum()] + WORDS
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    # As in published folders: lengths that the encoder does not go by.
    tokenizer.enable_truncation(12)
    tokenizer.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(5)
    model = BertModel(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=24, max_position_embeddings=48, type_vocab_size=2, initializer_range=0.3,
        )
    )
    model.save_pretrained(folder)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["embeddings.position_ids"] = torch.arange(48)[None]
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "bert"
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")

    def write(name, value):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value, indent=1) + "\n")

    write("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 48, "pad_token": "[PAD]",
                                    "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"})
    write("modules.json", modules("1_Pooling", "Normalize"))
    write("sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": False})
    write("1_Pooling/config.json", pooling("mean_tokens"))
    dense = torch.nn.Linear(16, 6)
    write("2_Dense/config.json", {"in_features": 16, "out_features": 6, "bias": True,
                                  "activation_function": "torch.nn.modules.activation.Tanh"})
    save_file({"linear.weight": dense.weight.data, "linear.bias": dense.bias.data},
              folder / "2_Dense/model.safetensors", metadata={"format": "pt"})


def modules(*parts):
    names = {"1_Pooling": "Pooling", "2_Dense": "Dense", "Normalize": "Normalize"}
    found = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, part in enumerate(parts, 1):
        path = f"{index}_Normalize" if part == "Normalize" else part
        found.append({"idx": index, "name": str(index), "path": path,
                      "type": f"sentence_transformers.models.{names[part]}"})
    return found


def pooling(*modes):
    keys = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"]
    return {"word_embedding_dimension": 16} | {f"pooling_mode_{key}": key in modes for key in keys}


def vectors(folder, texts=TEXTS):
    model = SentenceTransformer(str(folder), device="cpu").double()
    return model.encode(texts, batch_size=4, normalize_embeddings=False).tolist()


def main():
    if sys.argv[1:2] == ["--folder"]:
        folder, lines, out = sys.argv[2:]
        texts = [line for line in pathlib.Path(lines).read_text().split("\n") if line]
        pathlib.Path(out).write_text(json.dumps({"texts": texts, "vectors": vectors(folder, texts)}))
        return
    folder = HERE / "encoder"
    write_folder(folder)
    found = {"texts": TEXTS, "mean, normalized": vectors(folder)}
    scratch = HERE / "scratch"
    for name, parts, modes in [
        ("cls", ["1_Pooling"], ["cls_token"]), ("max", ["1_Pooling"], ["max_tokens"]),
        ("mean", ["1_Pooling"], ["mean_tokens"]),
        ("mean_sqrt_len_tokens", ["1_Pooling"], ["mean_sqrt_len_tokens"]),
        ("mean and max", ["1_Pooling", "Normalize"], ["mean_tokens", "max_tokens"]),
        ("dense", ["1_Pooling", "2_Dense"], ["mean_tokens"]),
    ]:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(folder, scratch)
        (scratch / "modules.json").write_text(json.dumps(modules(*parts)))
        (scratch / "1_Pooling/config.json").write_text(json.dumps(pooling(*modes)))
        found[name] = vectors(scratch)
    shutil.rmtree(scratch)
    rounded = {key: value if key == "texts" else [[round(x, 9) for x in row] for row in value]
               for key, value in found.items()}
    (HERE / "vectors.json").write_text(json.dumps(rounded) + "\n")


if __name__ == "__main__":
    main()
