"""Reads a GGUF model back and runs it, independent of the trainer's code.

The reader uses nothing of `model`: interleaved rotary pairs, one matrix a tensor, an
explicit mask. So it checks the export, and it evaluates any llama-architecture model with
a gpt2-style vocabulary, the first model among them.
"""

import gguf
import numpy as np
import torch

from .tokenizer import byte_characters


class GgufModel:
    """A llama-architecture model from a GGUF file, in f32 or as an 8-bit engine sees it."""

    def __init__(self, path, eight_bits=False, window=None):
        """`eight_bits` rounds weights (per row), activations and KV (per token) to int8."""
        reader = gguf.GGUFReader(str(path))
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.tensors = {
            tensor.name: torch.from_numpy(
                np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            )
            for tensor in reader.tensors
        }
        key = self.fields.get
        self.layers, self.heads = key("llama.block_count"), key("llama.attention.head_count")
        self.kv_heads = key("llama.attention.head_count_kv")
        self.window = window or key("llama.attention.sliding_window") or key("llama.context_length")
        self.epsilon = key("llama.attention.layer_norm_rms_epsilon")
        self.base, self.size = key("llama.rope.freq_base"), key("llama.rope.dimension_count")
        self.eight_bits = eight_bits
        if eight_bits:
            for name, tensor in self.tensors.items():
                if tensor.ndim == 2:
                    self.tensors[name] = _round(tensor)
        self.token_bytes = self._token_bytes()

    def _token_bytes(self):
        back = {character: byte for byte, character in byte_characters().items()}
        control = [kind == 3 for kind in self.fields["tokenizer.ggml.token_type"]]
        return [
            b"" if skip else bytes(back[character] for character in text)
            for text, skip in zip(self.fields["tokenizer.ggml.tokens"], control)
        ]

    def _norm(self, x, name):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.tensors[name]

    def _apply(self, x, name):
        return (_round(x) if self.eight_bits else x) @ self.tensors[name].T

    def _rotate(self, x, positions):
        exponents = torch.arange(0, self.size, 2, dtype=torch.float64) / self.size
        angles = positions.double()[:, None] * self.base**-exponents
        cos, sin = angles.cos().float(), angles.sin().float()
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)

    @torch.no_grad()
    def logits(self, tokens):
        """Logits [batch, length, vocabulary] for `tokens` [batch, length]."""
        length = tokens.shape[1]
        positions = torch.arange(length)
        x = self.tensors["token_embd.weight"][tokens]
        for layer in range(self.layers):
            part = f"blk.{layer}."
            h = self._norm(x, part + "attn_norm.weight")
            q, k, v = (
                self._apply(h, f"{part}attn_{which}.weight").unflatten(-1, (-1, self.size)).transpose(1, 2)
                for which in "qkv"
            )
            q, k = self._rotate(q, positions), self._rotate(k, positions)
            if self.eight_bits:
                q, k, v = _round(q), _round(k), _round(v)
            seen = self._attend(q, k, v).transpose(1, 2).flatten(2)
            x = x + self._apply(seen, part + "attn_output.weight")
            h = self._norm(x, part + "ffn_norm.weight")
            gate = torch.nn.functional.silu(self._apply(h, part + "ffn_gate.weight"))
            x = x + self._apply(gate * self._apply(h, part + "ffn_up.weight"), part + "ffn_down.weight")
        head = "output.weight" if "output.weight" in self.tensors else "token_embd.weight"
        return self._apply(self._norm(x, "output_norm.weight"), head)

    def _attend(self, q, k, v, block=256):
        """A block of queries at a time, so that long lanes need little memory."""
        share, length = self.heads // self.kv_heads, q.shape[2]
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        parts = []
        for start in range(0, length, block):
            stop = min(start + block, length)
            first = max(0, start - self.window + 1)
            distance = torch.arange(start, stop)[:, None] - torch.arange(first, stop)
            hidden = (distance < 0) | (distance >= self.window)
            scores = q[:, :, start:stop] @ k[:, :, first:stop].transpose(-1, -2) * self.size**-0.5
            parts.append(torch.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v[:, :, first:stop])
        return torch.cat(parts, 2)


def _round(x):
    """Rounds each row (last dimension) to 255 levels of its largest magnitude."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return (x / scale).round() * scale
