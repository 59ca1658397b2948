"""Writes the tables of Sources/ApusText/Unicode from what the Python package `tokenizers` does.

Each part of that package goes by a version of Unicode of its own, so nothing is taken from the standard's
files: every scalar is put through every normaliser and pattern, and what comes out is written down.

    python unicode.py ../../../Sources/ApusText/Unicode

The version of the package is noted in the files. Takes about a minute.
"""

import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

SCALARS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-"
HANGUL = range(0xAC00, 0xD7A4)


def mapped(normalizer):
    """What a normaliser makes of each scalar that it changes."""
    results = {c: normalizer.normalize_str(c) for c in SCALARS}
    return {ord(c): text for c, text in results.items() if text != c}


def removed(splitter):
    """The scalars that a splitter leaves out."""
    found = set()
    for start in range(0, len(SCALARS), 4096):
        part = SCALARS[start : start + 4096]
        kept = set()
        for _, (first, end) in splitter.pre_tokenize_str("".join(part)):
            kept.update(range(first, end))
        found.update(ord(c) for index, c in enumerate(part) if index not in kept)
    return found


def matching(pattern):
    return removed(pre_tokenizers.Split(Regex(pattern), behavior="removed"))


def pieces(splitter):
    return [len(splitter.pre_tokenize_str(f"a{c}a")) for c in SCALARS]


def bert(**settings):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**(off | settings))


def classes():
    digits = pieces(pre_tokenizers.Digits(True))
    words = pieces(pre_tokenizers.Whitespace())
    accents = mapped(normalizers.StripAccents())
    cleaned = mapped(bert(clean_text=True))
    plain = mapped(bert(strip_accents=True))
    sets = [
        ("upper", matching(r"[\p{Lu}\p{Lt}]")),
        ("lower", matching(r"\p{Ll}")),
        ("otherLetter", matching(r"[\p{Lm}\p{Lo}]")),
        ("mark", matching(r"\p{M}")),
        ("number", matching(r"\p{N}")),
        ("space", matching(r"\s")),
        ("word", {ord(c) for c, n in zip(SCALARS, words) if n == 1}),
        ("numeric", {ord(c) for c, n in zip(SCALARS, digits) if n == 3}),
        ("punctuation", removed(pre_tokenizers.Punctuation("removed"))),
        ("combining", {code for code, text in accents.items() if text == ""}),
        ("control", {code for code, text in cleaned.items() if text == ""}),
        ("accent", {code for code, text in plain.items() if text == ""}),
    ]
    assert removed(pre_tokenizers.WhitespaceSplit()) == dict(sets)["space"]
    assert {ord(c) for c, n in zip(SCALARS, words) if n == 2} == dict(sets)["space"]
    return sets


def combining_classes():
    """Canonical combining classes, as far as the package orders marks by them."""
    nfd = normalizers.NFD()
    found = {}
    for c in SCALARS:
        if klass := unicodedata.combining(c):
            low = nfd.normalize_str("\u0345" + c) != "\u0345" + c
            if low or klass == 240:
                found[ord(c)] = klass
    return found


def number(value):
    """Five bits a character, the lowest first; all but the last are marked by 32."""
    text = ""
    while value >= 32:
        text += DIGITS[32 + value % 32]
        value //= 32
    return text + DIGITS[value]


def signed(value):
    return number(2 * value if value >= 0 else -2 * value - 1)


def runs(values):
    """Lengths of runs of equal values, each with its value."""
    text, start = "", 0
    for code in range(1, 0x110001):
        if code == 0x110000 or values[code] != values[start]:
            text += number(code - start) + number(values[start])
            start = code
    return text


def mapping(table):
    """Scalars that are mapped, as steps, and what to: a count, and steps from one to the next."""
    text, last = "", 0
    for code in sorted(table):
        text += number(code - last) + number(len(table[code]))
        here = code
        for c in table[code]:
            text += signed(ord(c) - here)
            here = ord(c)
        last = code
    return text


def write(folder, file, opening, type_name, tables):
    lines = [f"// {line}" for line in opening] + ["//"]
    lines += [f"// Written by Tests/ApusTextTests/Fixtures/unicode.py from tokenizers {tokenizers.__version__}."]
    lines += ["", f"extension {type_name} {{"]
    for index, (name, text) in enumerate(tables):
        lines += [""] * (index > 0) + [f'  static let {name}: StaticString = """']
        rows = [text[start : start + 96] for start in range(0, len(text), 96)]
        lines += [f"    {row}\\" for row in rows[:-1]] + [f"    {rows[-1]}", '    """']
    with open(f"{folder}/{file}", "w") as target:
        target.write("\n".join(lines + ["}", ""]))
    print(file, len(lines))


def main(folder):
    sets = classes()
    masks = [0] * 0x110000
    for bit, (name, members) in enumerate(sets):
        for code in members:
            masks[code] |= 1 << bit
    distinct = sorted(set(masks))
    order = {mask: index for index, mask in enumerate(distinct)}
    print([name for name, _ in sets])
    write(
        folder, "ScalarClass+Table.swift",
        ["Which classes each scalar is of: the distinct sets of classes, then runs of them."], "ScalarClass",
        [("sets", number(len(distinct)) + "".join(number(mask) for mask in distinct)),
         ("runs", runs([order[mask] for mask in masks]))])

    nfd = {code: text for code, text in mapped(normalizers.NFD()).items() if code not in HANGUL}
    nfkd = {code: text for code, text in mapped(normalizers.NFKD()).items()
            if code not in HANGUL and text != nfd.get(code)}
    nfc = mapped(normalizers.NFC())
    lower = mapped(normalizers.Lowercase())
    ordered = combining_classes()
    write(
        folder, "Decomposition+Table.swift",
        ["Canonical decompositions, which of them are not put together again, combining classes and lower case."],
        "Decomposition",
        [("canonical", mapping(nfd)),
         ("notComposed", mapping({code: "" for code in nfd if code in nfc})),
         ("lowercase", mapping(lower)),
         ("classes", mapping({code: chr(klass) for code, klass in ordered.items()}))])
    write(
        folder, "Decomposition+Compatibility.swift",
        ["Compatibility decompositions, where they are not the canonical ones."], "Decomposition",
        [("compatibility", mapping(nfkd))])


main(sys.argv[1])
