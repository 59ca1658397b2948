"""Scores of texts by sacrebleu 2.5.1 and rouge-score 0.1.2; with both installed.

Writes Tests/ApusTextTests/Fixtures/text-scores.json: texts, their references, and chrF2, chrF++, BLEU and ROUGE of each
alone and of all together. Run once, by hand; the result is committed. TextScoreTests compares.
"""

import json
import pathlib
import random

from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

FILE = pathlib.Path(__file__).parent.parent / "ApusTextTests" / "Fixtures" / "text-scores.json"
KINDS = ["rouge1", "rouge2", "rougeL"]

SEGMENTS = [
    ("the cat sat on the mat", ["the cat is on the mat"]),
    ("the cat sat on the mat", ["the cat is on the mat", "there is a cat on the mat"]),
    ("Y dijo Dios: Sea la luz; y fué la luz.", ["Y dijo Dios: Sea la luz: y fué la luz."]),
    ("He paid 1,234.50 dollars - in 2-3 days, e.g. on Monday.",
     ["He paid 1,234.5 dollars, in 2-3 days, i.e. on Monday!"]),
    ("&quot;Tom &amp; Jerry&quot; said: <skipped>hello -\nworld\nagain  ",
     ["\"Tom & Jerry\" said: helloworld again"]),
    ("don't (hi) [there] {you} $5 50% a/b x_y ~z", ["do n't ( hi ) [ there ] { you } $ 5 50 %"]),
    ("été à Noël\u00a0: 你好,世界。 naïve", ["Été à Noel : 你好世界。 naive"]),
    ("", ["something"]),
    ("something", [""]),
    ("a", ["a"]),
    ("a b", ["b a"]),
    ("...", ["."]),
    ("x,y.z 3.14,15 9. 8, .7 ,6", ["x , y . z 3.14,15 9 . 8 , .7 , 6"]),
    ("A small, fast text editor for GTK+ 2.0", ["small and fast editor for texts (GTK+)"]),
    ("Libraries for e\u0301clair \u212a \u0130stanbul", ["libraries for éclair k istanbul"]),
    ("one\x1ctwo\x85three\u2003four\u200bfive", ["one two three four five"]),
]


def invented():
    """Longer ones, of words drawn at random and changed here and there."""
    draw = random.Random(7)
    words = ["the", "king", "of", "Israel", "went,", "and", "said:", "1,000", "men.", "(who)", "were"]
    for _ in range(12):
        reference = [draw.choice(words) for _ in range(draw.randint(5, 40))]
        others = [[w for w in reference if draw.random() > 0.1] for _ in range(draw.randint(0, 2))]
        text = [draw.choice(words) if draw.random() < 0.25 else w for w in reference]
        yield " ".join(text), [" ".join(r) for r in [reference] + others]


def scores(segments):
    texts = [text for text, _ in segments]
    most = max(len(references) for _, references in segments)
    # A text without so many references has none there.
    streams = [[r[i] if i < len(r) else None for _, r in segments] for i in range(most)]
    scorer = rouge_scorer.RougeScorer(KINDS)
    rouge = [scorer.score_multi(references, text) for text, references in segments]
    mean = {
        kind: [sum(getattr(r[kind], part) for r in rouge) / len(rouge)
               for part in ["precision", "recall", "fmeasure"]]
        for kind in KINDS}
    return {
        "chrf": CHRF().corpus_score(texts, streams).score,
        "chrfpp": CHRF(word_order=2).corpus_score(texts, streams).score,
        "bleu": BLEU(force=True).corpus_score(texts, streams).score, **mean}


if __name__ == "__main__":
    segments = SEGMENTS + list(invented())
    cases = [{"text": t, "references": r, **scores([(t, r)])} for t, r in segments]
    FILE.write_text(json.dumps({"cases": cases, "all": scores(segments)}, indent=1) + "\n")
