"""Writes a tiny model that answers by spans, what transformers makes of it, and scores of answers.

Run by hand, behind make.py, whose tokenizer it takes. Needs torch and transformers. The model is random. Answers of texts in
parts are looked for here among all pairs of tokens; scores are those of SQuAD's evaluate-v1.1.py, written anew from its
definition (Rajpurkar et al. 2016).
"""

import collections
import json
import pathlib
import random
import re
import shutil
import string

import torch
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
LONG = ("The old man and the big dog walked slowly on the mountain, with the small child and her cat; "
        "a woman never reads in the red house. Ünder the river the blue book writes bread, always.")
ASKED = [
    ("Who eats bread?", "The man eats bread in the garden.", 48, 12, 3),
    ("the dog", "a cat", 48, 0, 9),
    ("Who reads?", LONG, 24, 6, 5),
    ("Who walked on the big mountain?", LONG, 20, 3, 4),
    ("", "Ünhappy [MASK] 漢字 cats!", 48, 12, 3),
]


def model():
    torch.manual_seed(11)
    folder = HERE / "answerer"
    shutil.rmtree(folder, ignore_errors=True)
    vocabulary = PreTrainedTokenizerFast(tokenizer_file=str(HERE / "encoder/tokenizer.json")).vocab_size
    found = BertForQuestionAnswering(BertConfig(
        vocab_size=vocabulary, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=48, type_vocab_size=2, initializer_range=0.4))
    with torch.no_grad():
        found.qa_outputs.bias.copy_(torch.tensor([0.25, -0.5]))
    found.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    shutil.copy(HERE / "encoder/tokenizer.json", folder / "tokenizer.json")
    return found.eval()


def answers(model, question, text, length, stride, count):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(HERE / "answerer/tokenizer.json"), pad_token="[PAD]")
    tokenizer.backend_tokenizer.no_padding()
    around = len(tokenizer(question, "")["input_ids"])
    parts = tokenizer(question, text, truncation="only_second", max_length=length,
                      stride=min(stride, length - around - 1), return_overflowing_tokens=True,
                      return_offsets_mapping=True, padding=False, return_token_type_ids=True)
    best, logits = {}, []
    for at, ids in enumerate(parts["input_ids"]):
        with torch.no_grad():
            out = model(torch.tensor([ids]), token_type_ids=torch.tensor([parts["token_type_ids"][at]]))
        starts, ends = out.start_logits[0].tolist(), out.end_logits[0].tolist()
        logits.append([[round(x, 7) for x in values] for values in (starts, ends)])
        inside = [place for place, kind in enumerate(parts.sequence_ids(at)) if kind == 1]
        offsets = parts["offset_mapping"][at]
        for a in inside:
            for b in inside:
                if a <= b < a + 6:
                    span = (offsets[a][0], offsets[b][1])
                    best[span] = max(best.get(span, -1e9), starts[a] + ends[b])
    top = sorted(best, key=lambda span: (-best[span], span))[:count]
    return {"question": question, "text": text, "length": length, "stride": stride, "count": count, "logits": logits,
            "ids": parts["input_ids"], "answers": [[text[a:b], a, b, round(best[a, b], 6)] for a, b in top]}


def normalized(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(answer, expected):
    found, right = normalized(answer).split(), normalized(expected).split()
    common = sum((collections.Counter(found) & collections.Counter(right)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(found), common / len(right)
    return 2 * precision * recall / (precision + recall)


def scores():
    drawn = random.Random(3)
    words = ["The", "a", "An", "Paul's", "Eiffel", "tower.", "TOWER", "tower", "(1889)", "été", "e\u0301te\u0301", "a\u0301x",
             "the\u2013x", "_a_", "a1", "don't", "ĲSSEL", "Ⅷ", "x²", "-", "…", "a", "the", "\u00a0", "ß", "\u3000", "他"]
    cases = [["", [""]], ["the", ["a"]], ["x", [""]]]
    for _ in range(120):
        right = [" ".join(drawn.choices(words, k=drawn.randint(1, 6))) for _ in range(drawn.randint(1, 3))]
        kept = right[0].split(" ")
        drawn.shuffle(kept)
        answer = " ".join(kept[: drawn.randint(0, len(kept))] + drawn.choices(words, k=drawn.randint(0, 2)))
        cases.append([answer, right])
    return [{"answer": answer, "expected": right,
             "exact": max(float(normalized(answer) == normalized(text)) for text in right),
             "f1": max(f1(answer, text) for text in right)} for answer, right in cases]


if __name__ == "__main__":
    tiny = model()
    result = {"asked": [answers(tiny, *case) for case in ASKED], "scores": scores()}
    (HERE / "answers.json").write_text(json.dumps(result) + "\n")
