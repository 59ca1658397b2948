"""Writes small tokenizers and what the Python package `tokenizers` makes of texts with them.

    python make.py      # with tokenizers 0.23.3 and tiktoken, in this folder

`NAME.json` is a tokenizer, `vectors.jsonl.gz` has a line for each text and tokenizer, `lengths.jsonl.gz` one for each
truncation and padding, `tiktoken.jsonl.gz` one for each text and pattern, `training.jsonl.gz` one for each vocabulary
that is learnt.
"""

import base64
import gzip
import json

import tiktoken
from samples import SENTENCES, texts
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ALPHABET = pre_tokenizers.ByteLevel.alphabet()
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def trained(tokenizer, trainer):
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def bpe_trainer(size, **settings):
    return trainers.BpeTrainer(vocab_size=size, show_progress=False, **settings)


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return trained(tokenizer, bpe_trainer(600, initial_alphabet=ALPHABET, special_tokens=["<|end|>"]))


def llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trained(tokenizer, bpe_trainer(500, initial_alphabet=ALPHABET, special_tokens=["<s>", "</s>"]))
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A </s>:1 $B:1", special_tokens=[("<s>", 0), ("</s>", 1)])])
    return tokenizer


def o200k():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(O200K), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trained(tokenizer, bpe_trainer(450, initial_alphabet=ALPHABET))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True, special=True)])
    tokenizer.add_tokens([AddedToken("foo bar", single_word=True), AddedToken("Zürich", normalized=True)])
    return tokenizer


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trained(tokenizer, trainers.WordPieceTrainer(
        vocab_size=700, limit_alphabet=200, show_progress=False,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def unigram(byte_fallback):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    special = ["<unk>", "<s>", "</s>"] + (BYTES if byte_fallback else [])
    trained(tokenizer, trainers.UnigramTrainer(
        vocab_size=900, special_tokens=special, unk_token="<unk>", show_progress=False))
    content = json.loads(tokenizer.to_str())
    content["model"]["byte_fallback"] = byte_fallback
    # Less of the alphabet, so that there is something to fall back from.
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = [
        entry for id, entry in enumerate(vocabulary) if id < len(special) or len(entry[0]) > 1 or id % 3]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return tokenizer


def llama2(byte_fallback):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trained(tokenizer, bpe_trainer(700, limit_alphabet=250, special_tokens=["<unk>", "<s>", "</s>"] + BYTES))
    content = json.loads(tokenizer.to_str())
    if byte_fallback:
        content["normalizer"] = {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
        content["pre_tokenizer"] = None
    else:
        content["pre_tokenizer"] = {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
        content["model"]["byte_fallback"] = False
    content["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return Tokenizer.from_str(json.dumps(content))


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True), pre_tokenizers.Punctuation("merged_with_previous")])
    return trained(tokenizer, trainers.WordLevelTrainer(
        vocab_size=300, special_tokens=["[UNK]"], show_progress=False))


def suffix():
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>", continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizers.NFKD()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(False), pre_tokenizers.Punctuation("merged_with_next"),
        # A pattern that nobody knows by heart.
        pre_tokenizers.Split(Regex("(?<=[aeiou])(?=[lr])|ch"), "contiguous")])
    tokenizer.decoder = decoders.BPEDecoder()
    return trained(tokenizer, bpe_trainer(
        500, limit_alphabet=150, special_tokens=["[UNK]"], end_of_word_suffix="</w>", continuing_subword_prefix="##"))


TOKENIZERS = {
    "byte-level": byte_level, "llama-3": llama3, "o200k": o200k, "wordpiece": word_piece,
    "unigram": lambda: unigram(True), "unigram-unknown": lambda: unigram(False), "llama-2": lambda: llama2(True),
    "metaspace": lambda: llama2(False), "word-level": word_level, "suffix": suffix,
}


def line(**members):
    return json.dumps(members, separators=(",", ":")) + "\n"


class lines:
    """A file of lines, compressed to the same bytes each time."""

    def __init__(self, name):
        self.path, self.text = f"{name}.jsonl.gz", []

    def __enter__(self):
        return self

    def write(self, text):
        self.text.append(text)

    def __exit__(self, *_):
        with open(self.path, "wb") as target:
            target.write(gzip.compress("".join(self.text).encode(), mtime=0))


def flat(pairs):
    return [number for pair in pairs for number in pair]


def write_vectors(tokenizers):
    with lines("vectors") as target:
        for index, (name, tokenizer) in enumerate(tokenizers.items()):
            for text in SENTENCES[index % 2 :: 2] + texts(index, 60, 24):
                encoding = tokenizer.encode(text)
                plain = tokenizer.encode(text, add_special_tokens=False)
                target.write(line(
                    tokenizer=name, text=text, ids=encoding.ids, offsets=flat(encoding.offsets),
                    words=[-1 if word is None else word for word in encoding.word_ids], plain=len(plain.ids),
                    tokens=encoding.tokens if name.startswith("uni") else [],
                    decoded=tokenizer.decode(encoding.ids),
                    whole=tokenizer.decode(encoding.ids, skip_special_tokens=False)))


def write_lengths(tokenizers):
    with lines("lengths") as target:
        for name in ["wordpiece", "llama-3", "unigram"]:
            for strategy in ["longest_first", "only_first", "only_second"]:
                for direction in ["left", "right"]:
                    for length, stride in [(9, 0), (12, 3), (4, 0), (2, 0), (1, 0)]:
                        tokenizer = tokenizers[name]
                        tokenizer.enable_truncation(length, stride=stride, strategy=strategy, direction=direction) \
                            if stride < length - 4 or stride == 0 else None
                        tokenizer.enable_padding(
                            direction=direction, pad_id=1, pad_type_id=1, pad_token="[pad]",
                            length=None if stride else 10, pad_to_multiple_of=4 if stride else None)
                        for texts in [(SENTENCES[0], None), ("a dog", SENTENCES[2]), (SENTENCES[4], "fox"), ("", "")]:
                            try:
                                encoding = tokenizer.encode(*texts)
                            except Exception:
                                encoding = None
                            target.write(line(
                                tokenizer=name, file=json.loads(tokenizer.to_str())["truncation"],
                                padding=json.loads(tokenizer.to_str())["padding"], texts=texts,
                                parts=None if encoding is None else [
                                    dict(ids=part.ids, types=part.type_ids, special=part.special_tokens_mask,
                                         attention=part.attention_mask, offsets=flat(part.offsets),
                                         sequences=[-1 if id is None else id for id in part.sequence_ids])
                                    for part in [encoding] + encoding.overflowing]))
                        tokenizer.no_truncation()
                        tokenizer.no_padding()


def write_tiktoken(tokenizers):
    spelled = {}
    codes = [code for code in range(256) if chr(code) in "".join(ALPHABET)]
    others = [byte for byte in range(256) if byte not in codes]
    for byte in codes:
        spelled[chr(byte)] = byte
    for index, byte in enumerate(others):
        spelled[chr(256 + index)] = byte
    vocabulary = tokenizers["byte-level"].get_vocab()
    # Single bytes in an order of their own, then what was learnt.
    names = sorted((name for name in vocabulary if name != "<|end|>"), key=lambda name: (len(name) > 1, vocabulary[name]))
    ranks = {bytes(spelled[c] for c in name): id for id, name in enumerate(names)}
    with open("ranks.tiktoken", "w") as target:
        for token, id in ranks.items():
            target.write(f"{base64.b64encode(token).decode()} {id}\n")
    from tiktoken_ext import openai_public

    patterns = {
        "gpt2": openai_public.r50k_pat_str,
        "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
        "o200k": O200K,
    }
    with lines("tiktoken") as target:
        for index, (name, pattern) in enumerate(patterns.items()):
            encoding = tiktoken.Encoding(
                name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|end|>": 1000, "<|pad|>": 700})
            for text in SENTENCES[index::3] + texts(100 + index, 100, 24) + ["<|end|>a<|pad|> <|end|>"]:
                target.write(line(pattern=name, text=text, ids=encoding.encode(text, allowed_special="all")))


def write_training():
    cases = [
        dict(vocab_size=400), dict(vocab_size=500, min_frequency=3, special_tokens=["<s>", "</s>"]),
        dict(vocab_size=2000), dict(vocab_size=450, max_token_length=4), dict(vocab_size=300, initial_alphabet=[]),
    ]
    with lines("training") as target:
        for case in cases:
            settings = dict(initial_alphabet=ALPHABET) | case
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.train_from_iterator(SENTENCES, trainers.BpeTrainer(show_progress=False, **settings))
            model = json.loads(tokenizer.to_str())["model"]
            target.write(line(settings=case, vocabulary=model["vocab"], merges=[" ".join(m) for m in model["merges"]]))


def main():
    tokenizers = {}
    for name, make in TOKENIZERS.items():
        tokenizers[name] = make()
        with open(f"{name}.json", "w") as target:
            target.write(json.dumps(json.loads(tokenizers[name].to_str()), ensure_ascii=False, separators=(",", ":")))
        # As the file has it: scores are read otherwise than they were learnt.
        tokenizers[name] = Tokenizer.from_file(f"{name}.json")
    with open("sentences.json", "w") as target:
        json.dump(SENTENCES, target)
    write_vectors(tokenizers)
    write_lengths(tokenizers)
    write_tiktoken(tokenizers)
    write_training()


main()
