"""What Hugging Face's `generate` makes of small models; with PyTorch and `transformers` installed.

Writes Tests/ApusTrainingTests/Reference/generation.json: the rows that beam search finds in the folders gpt2 and llama
beside it (transformer_vectors.py has made them), with their scores; greedy rows with a penalty on repetition; and the
probabilities that the processors of logits leave. Run once, by hand; the result is committed. GenerationTests compares.
"""

import itertools
import json
import pathlib
import sys

import torch
import transformers
from transformers.generation import logits_process

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from transformer_vectors import MODELS, tokens


def searches(model):
    """Beam searches with all settings; tokens 3 and 11 end a row."""
    cases = []
    settings = itertools.product([1, 2, 4], [1.0, 0.0, 2.5, -1.0], [True, False, "never"], [[3, 11], []])
    for width, penalty, stopping, ends in settings:
        prompt = tokens(70 + len(cases), model.config.vocab_size, 1, 1 + len(cases) % 19)
        found = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False,
            num_beams=width, num_return_sequences=width, length_penalty=penalty,
            early_stopping=stopping if width > 1 else False, eos_token_id=ends or None,
            pad_token_id=0, return_dict_in_generate=True, output_scores=True)
        rows = []
        for row in found.sequences.tolist():
            row = row[prompt.shape[1]:]
            end = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
            rows.append(row[:end + 1])
        scores = found.sequences_scores.tolist() if width > 1 else []
        cases.append({
            "prompt": prompt[0].tolist(), "width": width, "penalty": penalty,
            "stopping": str(stopping), "ends": ends, "rows": rows,
            "scores": [float(f"{score:.7g}") for score in scores]})
    return cases


def repetitions(model):
    """Greedy rows whose tokens become less likely once they are there."""
    cases = []
    for penalty in [0.7, 1.0, 1.3, 4.0]:
        prompt = tokens(90, model.config.vocab_size, 1, 6)
        row = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, do_sample=False,
            repetition_penalty=penalty, pad_token_id=0)
        cases.append({"prompt": prompt[0].tolist(), "penalty": penalty, "row": row[0].tolist()})
    return cases


def filters():
    """Probabilities of 40 tokens by what a sampler is told."""
    logits = (tokens(5, 4000, 1, 40).float() - 2000) / 400
    cases = []
    settings = itertools.product([0.6, 1.0, 1.7], [None, 1, 5, 40], [None, 0.3, 0.95], [None, 0.05, 0.5])
    for temperature, k, p, least in settings:
        scores = logits_process.TemperatureLogitsWarper(temperature)(None, logits)
        if k:
            scores = logits_process.TopKLogitsWarper(k)(None, scores)
        if p:
            scores = logits_process.TopPLogitsWarper(p)(None, scores)
        if least:
            scores = logits_process.MinPLogitsWarper(least)(None, scores)
        probabilities = scores.softmax(-1)[0].tolist()
        cases.append({
            "temperature": temperature, "k": k, "p": p, "least": least,
            "probabilities": [float(f"{x:.6g}") for x in probabilities]})
    return {"logits": logits[0].tolist(), "cases": cases}


if __name__ == "__main__":
    torch.set_num_threads(1)
    result = {"filters": filters()}
    for name, kind in [
        ("gpt2", transformers.GPT2LMHeadModel), ("llama", transformers.LlamaForCausalLM)]:
        model = kind.from_pretrained(MODELS / name).eval()
        result[name] = {"searches": searches(model), "repetitions": repetitions(model)}
    (MODELS / "generation.json").write_text(json.dumps(result) + "\n")
