"""The network, its loss, its training and its export."""

import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lmtrain import export, pack, train
from lmtrain.attention import attend, visible
from lmtrain.evaluate import encoder, lane_bits
from lmtrain.gguf_model import GgufModel
from lmtrain.loss import cross_entropy
from lmtrain.model import Model, precision
from lmtrain.optimizer import orthogonalize
from lmtrain.tokenizer import ByteTokenizer, take
from lmtrain.transplant import shared_keys, shared_values, transplant

from . import corpus


class Parts(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(11)

    def test_attention_and_its_gradients(self):
        for heads, kv_heads, length, window in ((4, 1, 300, 128), (4, 2, 130, 512), (2, 2, 65, 7)):
            q, k, v = (torch.randn(2, n, length, 64, requires_grad=True) for n in (heads, kv_heads, kv_heads))
            upstream = torch.randn(2, heads, length, 64)
            mine = attend(q, k, v, window)
            mine.backward(upstream)
            gradients = [t.grad.clone() for t in (q, k, v)]
            for t in (q, k, v):
                t.grad = None
            share = heads // kv_heads
            mask = visible(0, length, 0, window, "cpu")
            wide = (k.repeat_interleave(share, 1), v.repeat_interleave(share, 1))
            reference = F.scaled_dot_product_attention(q, *wide, mask)
            reference.backward(upstream)
            torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)
            for theirs, ours in zip((q, k, v), gradients):
                torch.testing.assert_close(ours, theirs.grad, rtol=1e-4, atol=1e-5)
            with torch.no_grad():
                torch.testing.assert_close(attend(q, k, v, window), reference, rtol=1e-4, atol=1e-5)

    def test_chunked_loss_is_cross_entropy(self):
        states = torch.randn(1500, 64, requires_grad=True)
        embedding = torch.randn(300, 64, requires_grad=True)
        targets = torch.randint(1, 300, (1500,))
        targets[::7] = 0
        loss, count = cross_entropy(states, embedding, targets, 0.01)
        loss.backward()
        got = [states.grad.clone(), embedding.grad.clone()]
        states.grad = embedding.grad = None
        reference = 0.01 * F.cross_entropy(states @ embedding.T, targets, ignore_index=0, reduction="sum")
        reference.backward()
        self.assertEqual(count, int((targets != 0).sum()))
        torch.testing.assert_close(loss, reference)
        torch.testing.assert_close(got, [states.grad, embedding.grad])

    def test_orthogonalized_matrices_keep_their_directions(self):
        for dtype in (torch.bfloat16, torch.float32):
            for rows, columns in ((64, 192), (192, 64), (64, 64)):
                values = torch.linalg.svdvals(orthogonalize(torch.randn(3, rows, columns), dtype))
                self.assertGreater(float(values.median()), 0.6)
                self.assertLess(float(values.max()), 1.3)

    def test_bf16_is_not_emulated(self):
        native = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        self.assertEqual(precision("cpu"), torch.bfloat16 if native else torch.float32)
        self.assertEqual(precision("cuda"), torch.bfloat16)


class Runs(unittest.TestCase):
    """A tiny model trained for a few steps, and what is made of it."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        cls.corpus = corpus.write(cls.folder)
        cls.tokenizer = corpus.train_tokenizer(cls.corpus)
        pack.pack(cls.corpus, corpus.MIX, cls.tokenizer, 60_000, cls.folder / "tokens")
        cls.checkpoint = train.run(cls.settings("straight"))

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def settings(cls, name, **more):
        """A run of about 14 steps that is dealt out in turn and so repeats exactly."""
        return train.Settings(
            model="test",
            tokens=cls.folder / "tokens",
            tokenizer=cls.tokenizer,
            out=cls.folder / name,
            budget=110_000,
            count="tokens",
            elastic=False,
            compile=False,
            **more,
        )

    def test_an_interrupted_run_ends_where_a_straight_one_does(self):
        train.run(self.settings("resumed", stop_at=5))
        path = train.run(self.settings("resumed"))
        straight = torch.load(self.checkpoint, weights_only=True)
        resumed = torch.load(path, weights_only=True)
        self.assertEqual((straight["step"], straight["seen"]), (resumed["step"], resumed["seen"]))
        self.assertGreater(straight["step"], 5)
        for name, tensor in straight["model"].items():
            self.assertTrue(torch.equal(tensor, resumed["model"][name]), name)

    def model(self):
        shape, tensors = export.read_checkpoint(self.checkpoint)
        model = Model(shape)
        model.load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()})
        return model

    def test_exported_model_gives_the_logits_of_the_trainer(self):
        model = self.model()
        tokens = torch.randint(1, 512, (2, 200))  # longer than the window of 64
        tokens[:, 0] = 0
        with torch.no_grad():
            reference = model.logits(tokens)
        self.assertGreater(float(reference.std()), 0.1, "a model that says nothing proves nothing")
        for kind, tolerance in (("f32", 1e-4), ("f16", 5e-3), ("q8_0", 5e-2)):
            path = self.folder / f"{kind}.gguf"
            export.export(self.checkpoint, self.tokenizer, path, kind, 0.0, "test")
            error = (GgufModel(path).logits(tokens) - reference).abs().max() / reference.std()
            self.assertLess(float(error), tolerance, kind)

    def test_the_file_names_its_window_and_tokenizes_like_the_trainer(self):
        path = self.folder / "window.gguf"
        export.export(self.checkpoint, self.tokenizer, path, "q8_0", 0.0, "test")
        model = GgufModel(path)
        self.assertEqual(model.fields["llama.attention.sliding_window"], 64)
        self.assertEqual(model.fields["llama.context_length"], 64)
        data = corpus.sample() + bytes(range(256))
        self.assertEqual(encoder(model)(data), ByteTokenizer(self.tokenizer).encode(data))
        taken = self.folder / "taken.json"
        take(model, taken)
        self.assertEqual(ByteTokenizer(taken).encode(data), ByteTokenizer(self.tokenizer).encode(data))

    def test_a_transplant_of_what_fits_changes_nothing(self):
        path = self.folder / "old.gguf"
        export.export(self.checkpoint, self.tokenizer, path, "f32", 0.0, "test")
        model = self.model()
        grown = transplant(path, replace(model.shape, layers=3), self.tokenizer)
        tokens = torch.randint(1, 512, (2, 200))
        with torch.no_grad():
            torch.testing.assert_close(grown.logits(tokens), model.logits(tokens), rtol=1e-3, atol=1e-3)

    def test_sharing_keys_and_values_keeps_most_of_them(self):
        generator = np.random.default_rng(1)
        common = generator.normal(size=(1, 64, 128))
        for noise, limit in ((0.0, 1e-9), (0.2, 0.25)):
            q, k, v = (generator.normal(size=(2, 64, 128)) for _ in range(3))
            k, v = common + noise * k, common[:, ::-1] + noise * v
            out = generator.normal(size=(128, 128))
            new_q, new_k = shared_keys(q, k)
            new_v, new_out = shared_values(v, out)
            for head in range(2):
                rows = slice(head * 64, head * 64 + 64)
                products = out[:, rows] @ v[head], new_out[:, rows] @ new_v
                self.assertLess(np.linalg.norm(products[0] - products[1]) / np.linalg.norm(products[0]), limit)
                pairs = slice(0, 32), slice(32, 64)  # GGUF's (2j, 2j + 1) against (j, j + 32)
                a = np.einsum("jx,jy->jxy", q[head, 0::2] + 1j * q[head, 1::2], k[head, 0::2] - 1j * k[head, 1::2])
                b = np.einsum(
                    "jx,jy->jxy",
                    new_q[head, pairs[0]] + 1j * new_q[head, pairs[1]],
                    new_k[pairs[0]] - 1j * new_k[pairs[1]],
                )
                self.assertLess(np.linalg.norm(a - b) / np.linalg.norm(a), limit)

    def test_eight_bits_cost_little(self):
        path = self.folder / "eight.gguf"
        export.export(self.checkpoint, self.tokenizer, path, "f32", 0.0, "test")
        data = (self.corpus / "prose_en/a+prose/one.txt").read_bytes()[-4000:]
        bits = []
        for eight in (False, True):
            model = GgufModel(path, eight_bits=eight)
            bits.append(sum(float(lane.sum()) for lane, _ in lane_bits(model, encoder(model), data, 4)))
        self.assertNotEqual(*bits)
        self.assertLess(abs(bits[1] / bits[0] - 1), 0.005)


if __name__ == "__main__":
    unittest.main()
