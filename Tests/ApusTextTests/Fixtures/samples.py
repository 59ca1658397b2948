"""Sentences in many scripts and random texts, for the vectors of tokenizers and for big comparisons."""

import random

SENTENCES = """
The quick brown fox jumps over the lazy dog, and isn't it odd that it's never the dog's turn?
We'll see: they'd said I'M HERE, she'll say YOU'RE NOT; HelloWorld, XMLHttpRequest, iPhone15s and snake_case_name.
In 1969 two people walked on the Moon; 1234567 metres away, 3.14159 was still pi, and 2nd isn't ½ or ².
def encode(self, text: str) -> list[int]:\n    return [ord(c) for c in text if c != '\\t']\n\n\n
Die Straße nach Zürich führt über Bäche, Brücken und große Wälder; ÄÖÜ äöüß.
Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë au delà des îles.
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío, añoraba a su querido cachorro.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ёлка и йод: 25 ЯНВАРЯ.
Ξεσκεπάζω την ψυχοφθόρα σου βδελυγμία· ΟΔΟΣ ΑΘΗΝΩΝ, πόλις.
דג סקרן שט בים מאוכזב ולפתע מצא לו חברה. שָׁלוֹם עֲלֵיכֶם
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق. مُحَمَّد ١٢٣
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले विष्णुवतार भगवान श्रीराम। क्ष १२३
வணக்கம் உலகம், தமிழ் மொழி இனிது. நீங்கள் எப்படி இருக்கிறீர்கள்?
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓
いろはにほへと ちりぬるを。東京都の人口は約1400万人です。カタカナとﾊﾝｶｸ、「引用」もある。
天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。中文字符和English混合，２０２４年！
다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 하고, 각각의 값.
სწრაფი ყავისფერი მელა, Ճարպիկ շագանակագույն աղվեսը, ፈጣን ቡናማ ቀበሮ, ഒരു വേഗത്തിലുള്ള കുറുക്കൻ, དབུ་ཅན།
Emoji 😀😃 👨‍👩‍👧‍👦 🇩🇪🇫🇷 ❤️ and math ∑∫≠≤ 𝒜𝔹ℂ, arrows → ⇒, boxes ─│┌, spaces \u00a0\u2003\u3000 and \u200bzero\u200dwidth\ufeff.
""".strip().split("\n")

POOLS = [
    "abcXYZ 012.,'\"-!?\n\t ", "éüÅßñçİıǅﬁſK", "абвГДЕ ёй", "你好世界日本語カタカナﾊﾟ", "한국어가각ᄀ가힣",
    "عربيעברית", "नमस्तेक्षिকরতமிழ்ไทยนี้", "😀👨‍👩‍👧🇩🇪❤️\u200d\ufe0f",
    "\u0301\u0300\u0315\u0345\u093c\u0334\u3099\u1161\u11a8", "\u00a0\u2003\u3000\r\n\u0085\u200b\ufeff\u2028",
    "▁ĠĊ<s></s><unk>[UNK]<mask>foo barZürich'LL'sRE'Ve", " ','S','T 'ſ '", "ÀÈÌ̈ḍ̇q̣̇", "½²Ⅷ㊀①１２３",
    "ഀ𝒜𝟘𐍈𠀀\U00011938\U0001fae8\U000e0001",
]
WORDS = [
    "<mask>", "foo bar", "Zürich", "ZÜRICH", "[MASK]", "[SEP]", "</s>", "<s>", "<unk>", "don't", "I'LL", "<0x41>",
    "  ", "\r\n\r\n", "123456", "HelloWorld", "XMLHttp", "▁▁", "foo barn", "<|end|>",
]


def random_text(generator, most=40):
    """Up to `most` scalars: of one script, of all, with words that tokenizers know, or of all Unicode."""
    kind, length = generator.random(), generator.randint(0, most)
    everything = "".join(POOLS)
    if kind < 0.3:
        pool = generator.choice(POOLS)
        return "".join(generator.choice(pool) for _ in range(length))
    if kind < 0.6:
        return "".join(generator.choice(everything) for _ in range(length))
    if kind < 0.8:
        return "".join(
            generator.choice(generator.choice(POOLS)) if generator.random() < 0.7 else generator.choice(WORDS)
            for _ in range(length))
    codes = [generator.randrange(0x3000 if generator.random() < 0.7 else 0x110000) for _ in range(length)]
    return "".join(" " if 0xD800 <= code < 0xE000 else chr(code) for code in codes)


def texts(seed, count, most=40):
    generator = random.Random(seed)
    return [random_text(generator, most) for _ in range(count)]
