"""Interpolated modified Kneser-Ney by its definition, for LanguageModelTests.swift: every count is a walk over the text.

    python3 kneser_ney.py
"""
import math


def grams(text, n):
    return [tuple(text[i:i + n]) for i in range(len(text) - n + 1)]


class KneserNey:
    def __init__(self, text, order, vocabulary):
        self.text, self.order, self.vocabulary = text, order, vocabulary
        self.counts = []
        for n in range(1, order + 1):
            found = {}
            if n == order:
                for gram in grams(text, n):
                    found[gram] = found.get(gram, 0) + 1
            else:
                for gram in set(grams(text, n)):
                    before = {text[i - 1] if i > 0 else None
                              for i in range(len(text) - n + 1) if tuple(text[i:i + n]) == gram}
                    found[gram] = len(before)
            self.counts.append(found)
        self.discounts = []
        for found in self.counts:
            n = [sum(1 for c in found.values() if c == k) for k in range(5)]
            fallback = [0.5, 1.0, 1.5]
            if min(n[1:]) == 0:
                self.discounts.append(fallback)
                continue
            y = n[1] / (n[1] + 2 * n[2])
            d = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
            ok = all(0 <= d[k] <= k + 1 for k in range(3))
            self.discounts.append(d if ok else fallback)

    def p(self, token, context):
        context = tuple(context)[-(self.order - 1):] if self.order > 1 else ()
        return self._p(token, context)

    def _p(self, token, context):
        n = len(context) + 1
        found, d = self.counts[n - 1], self.discounts[n - 1]
        own = {g[-1]: c for g, c in found.items() if g[:-1] == context}
        lower = 1 / self.vocabulary if n == 1 else self._p(token, context[1:])
        if not own:
            return lower
        total = sum(own.values())
        taken = sum(d[min(c, 3) - 1] for c in own.values())
        c = own.get(token, 0)
        return (max(c - d[min(c, 3) - 1], 0) if c else 0) / total + taken / total * lower


texts = {
    "short": ([0, 1, 2, 0, 1, 3, 0, 1, 2, 2], 3, 5),
    # Pseudo-random, with counts of all sizes, so that the discounts are estimated.
    "long": ([(i * i * 7 + i // 3) % 11 % (3 + i % 4) for i in range(400)], 4, 7),
}
for name, (text, order, vocabulary) in texts.items():
    model = KneserNey(text, order, vocabulary)
    print(name, [[round(x, 6) for x in d] for d in model.discounts])
    for context in ([], [0], [0, 1], [2, 0, 1], [4, 4], [1, 1, 1, 1]):
        print("  ", context, [float("%.10f" % model.p(t, context)) for t in range(vocabulary)],
              sum(model.p(t, context) for t in range(vocabulary)))
    test = text[5:9] + [3, 3, 0, 1, vocabulary - 1]
    bits = -sum(math.log2(model.p(t, test[:i])) for i, t in enumerate(test))
    print("   bits", test, "%.10f" % bits)
