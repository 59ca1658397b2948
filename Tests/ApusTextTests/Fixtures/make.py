"""Writes small tokenizers and what the Python package `tokenizers` makes of texts with them.

    python make.py      # with tokenizers 0.23.3 and tiktoken, in this folder

`NAME.json` is a tokenizer, `vectors.jsonl.gz` has a line for each text and tokenizer, `lengths.jsonl.gz` one for each
truncation and padding, `tiktoken.jsonl.gz` one for each text and pattern, `training.jsonl.gz` one for each vocabulary
that is learnt, and `scalars.jsonl.gz` one for each normaliser and pre-tokenizer over all scalars of two planes.
"""

import base64
import gzip
import json

import tiktoken
from samples import SENTENCES, texts
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

# How many tokens there are; comparisons over much text have more.
SIZES = dict(bpe=0, wordpiece=700, unigram=900, words=300, alphabet=0)
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
    if "limit_alphabet" in settings and SIZES["alphabet"]:
        settings["limit_alphabet"] = SIZES["alphabet"]
    return trainers.BpeTrainer(vocab_size=SIZES["bpe"] or size, show_progress=False, **settings)


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
        vocab_size=SIZES["wordpiece"], limit_alphabet=SIZES["alphabet"] or 200, show_progress=False,
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
        vocab_size=SIZES["unigram"], special_tokens=special, unk_token="<unk>", show_progress=False))
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


# Compiled by sentencepiece 0.2.3 from rules of its own kind: ﬁ to fi, Ａ to A, ① to (1), a soft hyphen to nothing, A and
# a ring to Å, é to e and an accent, two letters of a flag to DE, and more.
CHARACTER_MAP = (
    "AAQAAAAAAQBBPAMAzCwCAIodAAATAACAzAgCAIEFAAAWAACArQUAAAAAAICpBQAADAAAgKRQAgCVjAMA4JQCAKSMAgC8BQAAGQAAgI1tAACgHQ"
    "AAAwAAgIAMAgCABQAAAQAAgIEFAAAQAACAoQUAAAcAAICfGAIAh6gCAKnEAwDwhAIAgPwCAJ8UAgCs7AIAh7wCAAkAAIBlsAMAqgkAACYAAAAp"
    "AAAAKAAAACsAAAAqAAAALQAAACwAAAAvAAAALgAAADEAAACRCAIAvCQCADIAAAA1AAAANAAAADcAAAA2AAAAOQAAADgAAAA7AAAAOgAAAD0AAA"
    "A8AAAAPwAAAD4AAABBAAAAQAAAAEMAAABCAAAARQAAAEQAAABHAAAARgAAAEkAAABIAAAASwAAAEoAAABNAAAATAAAAE8AAABOAAAAUQAAAFAA"
    "AABTAAAAUgAAAFUAAABUAAAAVwAAAFYAAABZAAAAWAAAAFsAAABaAAAAXQAAAFwAAABfAAAAXgAAAGEAAABgAAAAYwAAAGIAAABlAAAAZAAAAG"
    "cAAABmAAAAaQAAAGgAAABrAAAAagAAAG0AAABsAAAAbwAAAG4AAABxAAAAcAAAAHMAAAByAAAAdQAAAHQAAAB3AAAAdgAAAHkAAAB4AAAAewAA"
    "AHoAAAB9AAAAfAAAAH8AAAB+AAAAgQAAAIAAAADCnAAAw4AAAIUAAACEAAAAhwAAAIYAAACJAAAAiAAAAIsAAACKAAAAjQAAAIwAAACPAAAAjg"
    "AAAJEAAACQAAAAkwAAAJIAAACVAAAAlAAAAJcAAACWAAAAmQAAAJgAAACbAAAAmgAAAJ0AAACcAAAAnwAAAJ4AAADgIAAAoAAAAOIIAADj2AAA"
    "pQAAAKQAAACnAAAApgAAAKkAAACoAAAAqwAAAKoAAACtAAAArAAAAK8AAADvhAAA8MwAALAAAACzAAAAsgAAALUAAAC0AAAAtwAAALYAAAC5AA"
    "AAuAAAALsAAAC6AAAAvQAAALwAAAC/AAAAvgAAAMEAAADAAAAAwwAAAMIAAADFAAAAxAAAAMcAAADGAAAAyQAAAMgAAADLAAAAygAAAM0AAADM"
    "AAAAzwAAAM4AAADRAAAA0AAAANMAAADSAAAA1QAAANQAAADXAAAA1gAAANkAAADYAAAA2wAAANoAAADdAAAA3AAAAN8AAADeAAAA4QAAAOAAAA"
    "DjAAAA4gAAAOUAAADkAAAA5wAAAOYAAADpAAAA6AAAAOsAAADqAAAA7QAAAOwAAADvAAAA7gAAAPEAAADwAAAA8wAAAPIAAAD1AAAA9AAAAPcA"
    "AAD2AAAA+QAAAPgAAAD7AAAA+gAAAP0AAAD8AAAA/wAAAP4AAAAAIAAoMSkAQQBERQBlzIEAZmkAw4UAw6kA4KWYAA==")


def precompiled():
    content = json.loads(unigram(False).to_str())
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": CHARACTER_MAP}
    return Tokenizer.from_str(json.dumps(content))


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True), pre_tokenizers.Punctuation("merged_with_previous")])
    return trained(tokenizer, trainers.WordLevelTrainer(
        vocab_size=SIZES["words"], special_tokens=["[UNK]"], show_progress=False))


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
    "precompiled": precompiled,
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


def write_ranks(content, path):
    """The tokens of a byte-level tokenizer as tiktoken reads them: single bytes first, then what was learnt."""
    codes = [code for code in range(256) if chr(code) in ALPHABET]
    others = [byte for byte in range(256) if byte not in codes]
    spelled = {chr(byte): byte for byte in codes} | {chr(256 + index): byte for index, byte in enumerate(others)}
    vocabulary = content["model"]["vocab"]
    names = sorted(
        (name for name in vocabulary if name != "<|end|>"), key=lambda name: (len(name) > 1, vocabulary[name]))
    ranks = {bytes(spelled[c] for c in name): id for id, name in enumerate(names)}
    with open(path, "w") as target:
        for token, id in ranks.items():
            target.write(f"{base64.b64encode(token).decode()} {id}\n")
    return ranks


def patterns():
    from tiktoken_ext import openai_public

    return {
        "gpt2": openai_public.r50k_pat_str,
        "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
        "o200k": O200K,
    }


def write_tiktoken():
    ranks = write_ranks(json.load(open("byte-level.json")), "ranks.tiktoken")
    with lines("tiktoken") as target:
        for index, (name, pattern) in enumerate(patterns().items()):
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


def digest(texts):
    """FNV-1a of texts in UTF-8, with a zero byte behind each."""
    value = 0xCBF29CE484222325
    for text in texts:
        for byte in text.encode() + b"\0":
            value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def write_scalars():
    """What each normaliser and pre-tokenizer makes of every scalar of the first two planes, by 512 with x between."""
    texts = []
    for start in range(0, 0x20000, 512):
        codes = (code for code in range(start, start + 512) if not 0xD800 <= code < 0xE000)
        texts.append("x".join(map(chr, codes)))
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    parts = [
        normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase(),
        normalizers.StripAccents(), normalizers.Nmt(), normalizers.BertNormalizer(**off | dict(clean_text=True)),
        normalizers.BertNormalizer(**off | dict(handle_chinese_chars=True)),
        normalizers.BertNormalizer(**off | dict(strip_accents=True)),
        pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(True), pre_tokenizers.Whitespace(),
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.Split(Regex(O200K), "isolated"),
    ]
    with lines("scalars") as target:
        for part in parts:
            tokenizer = Tokenizer(models.BPE())
            is_normalizer = hasattr(part, "normalize_str")
            setattr(tokenizer, "normalizer" if is_normalizer else "pre_tokenizer", part)
            results = [
                part.normalize_str(text) if is_normalizer else "\0".join(piece for piece, _ in part.pre_tokenize_str(text))
                for text in texts]
            content = json.loads(tokenizer.to_str())
            target.write(line(
                normalizer=content["normalizer"], pre_tokenizer=content["pre_tokenizer"], digest=digest(results)))


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
    write_tiktoken()
    write_training()
    write_scalars()


if __name__ == "__main__":
    main()
