"""Tokenizer, rows and the overlap check, on a corpus made here."""

import random
import tempfile
import unittest
from pathlib import Path

import numpy as np

from lmtrain import binary, overlap, pack
from lmtrain.data import Rows
from lmtrain.tokenizer import BOS, ByteTokenizer, utf8_runs

from . import corpus


class Data(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.corpus = corpus.write(cls.folder.name)
        cls.tokenizer_path = corpus.train_tokenizer(cls.corpus)
        cls.tokenizer = ByteTokenizer(cls.tokenizer_path)
        cls.pack = Path(cls.folder.name) / "tokens"
        pack.pack(cls.corpus, corpus.MIX, cls.tokenizer_path, 60_000, cls.pack)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def spell(self, ids):
        return b"".join(self.tokenizer.token_bytes[token] for token in ids)

    def test_any_bytes_come_back(self):
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        rng = random.Random(seed)
        for size in (0, 1, 2, 3, 50, 999):
            for data in (rng.randbytes(size), "naïve 猫 \N{CAT}".encode()[: size % 17], bytes(range(256))[:size]):
                self.assertEqual(self.spell(self.tokenizer.encode(data)), data)

    def test_a_literal_start_mark_is_text(self):
        ids = self.tokenizer.encode(b"a <s> b")
        self.assertNotIn(BOS, ids)
        self.assertEqual(self.spell(ids), b"a <s> b")

    def test_all_bytes_are_tokens(self):
        self.assertEqual(sorted(set(self.tokenizer.byte_token)), list(range(1, 257)))

    def test_runs_cover_the_data_in_order(self):
        data = b"ok \xff\xfe\xe7\x8c\xab \xe7\x8c"
        runs = utf8_runs(data)
        self.assertEqual(runs, [(True, "ok "), (False, b"\xff\xfe"), (True, "猫 "), (False, b"\xe7\x8c")])

    def test_rows_start_with_the_mark_and_hold_text_of_the_corpus(self):
        rows = Rows(self.pack)
        text = (self.corpus / "prose_en/a+prose/one.txt").read_bytes()
        prose = rows.summary["kinds"].index("prose_en")
        starts = set()
        for index in range(rows.total):
            row = rows.row(index)
            self.assertEqual(row[0], BOS)
            ids = [int(token) for token in row[1:] if token != BOS]
            self.assertTrue(ids)
            if rows.kinds[index] == prose:
                spelled = self.spell(ids)
                self.assertIn(spelled, text)
                starts.add(spelled[:1])
        self.assertGreater(len(starts), 5, "rows start inside words, too")

    def test_packing_again_leaves_nothing_of_before(self):
        folder = Path(self.folder.name) / "again"
        folder.mkdir()
        for stray in ("train-07.u16", "valid-old.u16", "train-old.u8"):
            (folder / stray).write_bytes(b"stale")
        pack.pack(self.corpus, corpus.MIX, self.tokenizer_path, 20_000, folder)
        rows = Rows(folder)
        self.assertEqual(rows.total, rows.summary["rows"])
        (folder / "train-07.u16").write_bytes(bytes(2 * (rows.length + 1)))
        with self.assertRaises(ValueError):
            Rows(folder)

    def test_packing_twice_gives_the_same_rows(self):
        again = Path(self.folder.name) / "again"
        pack.pack(self.corpus, corpus.MIX, self.tokenizer_path, 60_000, again)
        for path in self.pack.iterdir():
            self.assertEqual(path.read_bytes(), (again / path.name).read_bytes(), path.name)

    def test_short_pieces_start_like_lanes(self):
        inputs, targets = Rows(self.pack).batch(0, 2, 256)
        self.assertEqual(tuple(inputs.shape), (8, 256))
        self.assertTrue(bool((inputs[:, 0] == BOS).all()))
        self.assertTrue(bool((inputs[:, 1:] == targets[:, :-1]).all()))

    def test_whole_rows_are_contiguous(self):
        for tensor in Rows(self.pack).batch(0, 2, 1024):
            self.assertTrue(tensor.is_contiguous())

    def test_binary_kinds_have_the_size_asked_for(self):
        rng = np.random.default_rng(1)
        for _ in range(60):
            made = binary.make(rng, 1000, b"x = 1\n" * 50)
            self.assertLessEqual(len(made), 1000)
            self.assertGreater(len(made), 0)

    def test_overlap_finds_what_was_planted_and_nothing_else(self):
        planted = (self.corpus / "prose_en/a+prose/one.txt").read_text()[5000:6000]
        folder = Path(self.folder.name) / "eval"
        folder.mkdir(exist_ok=True)
        (folder / "planted.txt").write_text(planted.upper())
        (folder / "clean.txt").write_text(" ".join(f"word{n} other{n}" for n in range(200)))
        found = overlap.check(self.corpus, folder, ["planted.txt", "clean.txt"], report=lambda line: None)
        self.assertGreater(found["planted.txt"][0], 0.9 * found["planted.txt"][1])
        self.assertEqual(found["clean.txt"][0], 0)
        self.assertGreater(found["clean.txt"][1], 300)


if __name__ == "__main__":
    unittest.main()
