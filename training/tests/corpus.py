"""A corpus small enough to train on in seconds, written by the tests themselves."""

import random
from pathlib import Path

from lmtrain import synthetic, tokenizer

MIX = {
    "seed": 7,
    "kinds": {
        "prose_en": {"weight": 3},
        "other_lang": {"weight": 1, "boost": {"a+chinese": 2.0}},
        "synthetic": {"weight": 1},
        "binary": {"weight": 1, "text": "not+there"},
        "latex": {"weight": 1},
        "code": {"weight": 1},
    },
    "augment": {"bytes_only": 0.05, "latin1": 0.5},
}
WORDS = "the cat sat on a mat and looked at seven birds which sang of rivers far away in spring".split()


def write(folder, seed=3):
    """Writes a corpus with its manifest and returns its path."""
    rng = random.Random(seed)
    folder = Path(folder) / "train"
    prose = " ".join(rng.choice(WORDS) for _ in range(40_000))
    french = " ".join(rng.choice(["été", "garçon", "naïve", "la", "où"]) for _ in range(9_000))
    chinese = "".join(rng.choice("的一是不了人我在有他这中大来上国") for _ in range(9_000))
    python = "\n".join(f"def f{n}(x):\n    return x + {rng.randrange(99)}\n" for n in range(900))
    files = {
        "prose_en/a+prose/one.txt": prose,
        "other_lang/a+french/two.txt": french,
        "other_lang/a+chinese/three.txt": chinese,
        "code/TheAlgorithms+Python/four.py": python,
    }
    rows = ["kind\trepo\tlicence\tbytes\tfiles"]
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        kind, repository, _ = name.split("/")
        rows.append(f"{kind}\t{repository.replace('+', '/')}\tCC0-1.0\t{path.stat().st_size}\t1")
    (folder / "MANIFEST.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def train_tokenizer(folder):
    """Trains a tokenizer of 512 tokens on the corpus and returns its path."""
    path = Path(folder).parent / "tokenizer.json"
    tokenizer.train(folder, MIX, 512, 0.2, path)
    return path


def sample(seed=5, size=3000):
    """Some text that no row holds."""
    return synthetic.make(random.Random(seed), size)
