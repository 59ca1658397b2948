"""What PyTorch and Hugging Face make of small transformers; with PyTorch and `transformers` installed.

Writes Tests/ApusNNTests/Reference/transformers.json (results and gradients of nn.MultiheadAttention and the layers of
nn.Transformer, in double) and, under Tests/ApusTrainingTests/Reference, the folders gpt2, bert and llama as
save_pretrained writes them, with transformers.json: their logits, what they generate, and loss curves of training
from these folders. Run once, by hand; the results are committed. TransformerLayerTests and PretrainedModelTests
compare. Parameters and inputs of the layers come from SplitMix64 on both sides, in the order of their sorted names.
"""

import json
import math
import pathlib
import shutil
import sys

import numpy
import torch
import transformers
from torch import nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from loss_curves import uniform

TESTS = pathlib.Path(__file__).parent.parent
LAYERS = TESTS / "ApusNNTests" / "Reference" / "transformers.json"
MODELS = TESTS / "ApusTrainingTests" / "Reference"
BATCH, LENGTH, KEYS, WIDTH, HEADS, HIDDEN, CONTEXT = 2, 5, 4, 8, 2, 12, 6
LENGTHS, MEMORY_LENGTHS = [5, 3], [2, 4]
STEPS = 100


def values(seed, *shape):
    return torch.tensor(uniform(seed, math.prod(shape)).reshape(shape))


def rounded(tensor):
    return [float(f"{x:.8g}") for x in tensor.detach().double().flatten().tolist()]


def filled(module):
    """The module in double, with values by the places of its sorted names."""
    module = module.double()
    for seed, (_, parameter) in enumerate(sorted(module.named_parameters())):
        with torch.no_grad():
            parameter.copy_(values(100 + seed, *parameter.shape) * 0.5)
    return module.train()


def padding(lengths, count):
    """True for what is padding."""
    return torch.arange(count)[None] >= torch.tensor(lengths)[:, None]


def case(module, forward):
    module = filled(module)
    x = values(1, BATCH, LENGTH, WIDTH).requires_grad_()
    y = forward(module, x)
    (y * values(2, *y.shape)).sum().backward()
    gradients = {name: rounded(p.grad) for name, p in sorted(module.named_parameters())}
    return {"y": rounded(y), "x": rounded(x.grad), "gradients": gradients}


def layers():
    causal = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    memory, context = values(3, BATCH, KEYS, WIDTH), values(4, BATCH, KEYS, CONTEXT)
    options = {"dropout": 0, "batch_first": True}

    def attention(**more):
        return nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **more)

    def attend(module, x, keys=None, **more):
        keys = x if keys is None else keys
        return module(x, keys, keys, need_weights=False, **more)[0]

    def layer(kind, activation, norm_first):
        return kind(WIDTH, HEADS, HIDDEN, activation=activation, norm_first=norm_first, **options)

    encoder, decoder = nn.TransformerEncoderLayer, nn.TransformerDecoderLayer
    result = {
        "attention": case(attention(), attend),
        "attention-causal": case(
            attention(bias=False), lambda m, x: attend(m, x, attn_mask=causal)),
        "attention-lengths": case(
            attention(), lambda m, x: attend(m, x, key_padding_mask=padding(LENGTHS, LENGTH))),
        "attention-cross": case(attention(), lambda m, x: attend(m, x, memory)),
        "attention-context": case(
            attention(kdim=CONTEXT, vdim=CONTEXT), lambda m, x: attend(m, x, context)),
        "encoder-post": case(
            layer(encoder, "relu", False),
            lambda m, x: m(x, src_key_padding_mask=padding(LENGTHS, LENGTH))),
        "encoder-pre": case(
            layer(encoder, "gelu", True), lambda m, x: m(x, src_mask=causal)),
    }
    for name, first in [("decoder-post", False), ("decoder-pre", True)]:
        result[name] = case(
            layer(decoder, "relu", first), lambda m, x: m(
                x, memory, tgt_mask=causal,
                memory_key_padding_mask=padding(MEMORY_LENGTHS, KEYS)))
    LAYERS.write_text(json.dumps(result) + "\n")


def tokens(seed, vocabulary, *shape):
    numbers = (uniform(seed, math.prod(shape)) + 1) / 2 * vocabulary
    return torch.tensor(numpy.floor(numbers).astype(numpy.int64).reshape(shape))


def saved(name, model):
    """The model with lively weights, in f32, after it has been written to its folder."""
    for seed, (path, parameter) in enumerate(sorted(model.named_parameters())):
        drawn = values(500 + seed, *parameter.shape)
        with torch.no_grad():
            if parameter.dim() > 1:
                parameter.copy_((drawn / math.sqrt(parameter.shape[-1])).float())
            else:
                parameter.add_((drawn * 0.1).float())
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    return model.eval()


def curve(model, loss_of, rate):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    losses = []
    for step in range(STEPS):
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def models():
    torch.set_num_threads(1)
    result = {}
    none = {"bos_token_id": None, "eos_token_id": None}

    gpt = saved("gpt2", transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=48, n_positions=40, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0,
        attn_pdrop=0, **none)))
    llama = saved("llama", transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=40, rope_theta=500.0,
        rms_norm_eps=1e-5, pad_token_id=None, **none)))
    for name, model in [("gpt2", gpt), ("llama", llama)]:
        count = model.config.vocab_size
        ids = tokens(7, count, 2, 20)
        with torch.no_grad():
            logits = model(ids).logits
            written = model.generate(
                ids[:1, :18], attention_mask=torch.ones(1, 18), max_new_tokens=16, do_sample=False,
                pad_token_id=0)
        result[name] = {"logits": rounded(logits), "generated": written[0].tolist()}

    bert = saved("bert", transformers.BertForPreTraining(transformers.BertConfig(
        vocab_size=48, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=24, max_position_embeddings=24, hidden_dropout_prob=0,
        attention_probs_dropout_prob=0)))
    ids, kinds, lengths = tokens(8, 48, 2, 10), tokens(9, 2, 2, 10), [10, 6]
    mask = (~padding(lengths, 10)).long()
    with torch.no_grad():
        body = bert.bert(ids, attention_mask=mask, token_type_ids=kinds)
        logits = bert(ids, attention_mask=mask, token_type_ids=kinds).prediction_logits
    result["bert"] = {
        "hidden": rounded(body.last_hidden_state), "pooled": rounded(body.pooler_output),
        "logits": rounded(logits)}

    stream = tokens(11, 48, 8, 4, 21)
    # A pattern to learn: each token is followed by the next number most of the time.
    for at in range(1, 21):
        follows = tokens(20 + at, 4, 8, 4) > 0
        stream[..., at] = torch.where(follows, (stream[..., at - 1] + 1) % 48, stream[..., at])

    def gpt_loss(step):
        batch = stream[step % 8]
        logits = gpt(batch[:, :-1]).logits
        return cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def bert_loss(step):
        # Token 0 is padding here, whose vector is not learnt.
        batch = stream[step % 8][:, :20].clamp(min=1)
        hidden = tokens(60 + step, 5, 4, 20) == 0
        labels = torch.where(hidden, batch, -100)
        logits = bert(torch.where(hidden, 3, batch)).prediction_logits
        return cross_entropy(logits.flatten(0, 1), labels.flatten())

    result["gpt2"]["curve"] = curve(gpt, gpt_loss, 2e-3)
    for part in [bert.bert.pooler, bert.cls.seq_relationship]:
        part.requires_grad_(False)
    result["bert"]["curve"] = curve(bert, bert_loss, 2e-3)
    (MODELS / "transformers.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    layers()
    models()
