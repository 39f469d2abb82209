"""Byte-level BPE: training it, and tokenizing any bytes the way the codec does.

Token 0 is `<s>`, which only ever starts a lane; tokens 1 to 256 are the single bytes; the
rest are merges. Words are cut by the "qwen2" pattern, so `tokenizer.ggml.pre = qwen2`
makes llama.cpp cut the same way (one digit to a token).
"""

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from . import corpus as corpora

BOS = 0
PATTERN = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_characters():
    """The printable character that stands for each byte in a gpt2-style vocabulary."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in plain:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


def train(corpus, mix, vocabulary, megabytes, path):
    """Trains a tokenizer on a sample of the mix and writes it to `path` (JSON)."""
    tokenizer = _cutting(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>"],
        initial_alphabet=sorted(byte_characters().values()),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(corpus, mix, megabytes), trainer=trainer)
    _write(tokenizer, path)


def take(model, path):
    """Writes the tokenizer of a shipped model (a `GgufModel`) to `path`, so that training goes on with its tokens."""
    _write(of_model(model), path)


def of_model(model):
    """The tokenizer of a `GgufModel`, for valid UTF-8."""
    vocabulary = {text: token for token, text in enumerate(model.fields["tokenizer.ggml.tokens"])}
    merges = [tuple(pair.split(" ")) for pair in model.fields["tokenizer.ggml.merges"]]
    return _cutting(models.BPE(vocab=vocabulary, merges=merges))


def _cutting(model):
    """A tokenizer of `model` that cuts words as `PATTERN` says."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _write(tokenizer, path):
    description = json.loads(tokenizer.to_str())
    # Without this a literal "<s>" in a text (it is an HTML tag) would become token 0.
    description["added_tokens"] = []
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")


def _sample(corpus, mix, megabytes):
    """Yields pieces of text in the proportions of the mix, `megabytes` in all."""
    listed = corpora.sources(corpus, mix)
    kinds = {source.kind for source in listed}
    total = sum(mix["kinds"][kind]["weight"] for kind in kinds)
    rng = random.Random(mix["seed"])
    for source in listed:
        share = mix["kinds"][source.kind]["weight"] / total * source.share
        want = int(share * megabytes * 1e6)
        data, _ = corpora.read_source(corpus, source, mix["seed"], limit=max(want, 1 << 20))
        for start in range(0, len(data), 1 << 16):
            if want <= 0:
                break
            if rng.random() < 0.5 and len(data) - start > want + (1 << 16):
                continue
            piece = data[start : start + min(want, 1 << 16)]
            want -= len(piece)
            yield piece.decode("utf-8", errors="ignore")


class ByteTokenizer:
    """Tokenizes any bytes: valid UTF-8 by BPE, every other byte as its own token."""

    def __init__(self, path):
        """Reads a tokenizer written by `train`."""
        self.bpe = Tokenizer.from_file(str(path))
        self.size = self.bpe.get_vocab_size()
        table = byte_characters()
        back = {character: byte for byte, character in table.items()}
        vocabulary = self.bpe.get_vocab()
        self.byte_token = [vocabulary[table[byte]] for byte in range(256)]
        self.token_bytes = [b""] * self.size
        for text, token in vocabulary.items():
            if token != BOS:
                self.token_bytes[token] = bytes(back[character] for character in text)

    def encode(self, data):
        """Token ids of `data`; the bytes of the tokens joined are `data` again."""
        return self.encode_many([data])[0]

    def encode_many(self, pieces):
        """Token ids of each of `pieces`, in one call of the BPE for speed."""
        plans, texts = [], []
        for data in pieces:
            plan = []
            for valid, run in utf8_runs(data):
                if valid:
                    plan.append(len(texts))
                    texts.append(run)
                else:
                    plan.append(run)
            plans.append(plan)
        coded = self.bpe.encode_batch_fast(texts, add_special_tokens=False)
        result = []
        for plan in plans:
            ids = []
            for part in plan:
                if isinstance(part, int):
                    ids.extend(coded[part].ids)
                else:
                    ids.extend(self.byte_token[byte] for byte in part)
            result.append(ids)
        return result


def utf8_runs(data):
    """Cuts `data` into (True, text) and (False, bytes) runs: valid UTF-8 and the rest."""
    runs, position = [], 0
    while position < len(data):
        try:
            runs.append((True, data[position:].decode("utf-8")))
            break
        except UnicodeDecodeError as error:
            if error.start:
                runs.append((True, data[position : position + error.start].decode("utf-8")))
            bad = data[position + error.start : position + error.end]
            if runs and not runs[-1][0]:
                runs[-1] = (False, runs[-1][1] + bad)
            else:
                runs.append((False, bad))
            position += error.end
    return runs
