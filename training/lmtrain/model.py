"""The network: the llama architecture with shared KV heads and a sliding window.

Pre-norm blocks of attention (rotary positions, `kv_heads` heads of keys and values shared
by `heads` query heads, each token sees itself and the `window - 1` tokens before it) and
SwiGLU, RMSNorm, tied embeddings, no biases. Rotary pairs are (j, j + 32) here, which
vectorizes; `export` reorders the rows of Q and K to the (2j, 2j + 1) pairs of GGUF.

Sources: Touvron et al. 2023 (arXiv 2302.13971); Shazeer 2019 (1911.02150, shared KV
heads); Shazeer 2020 (2002.05202, SwiGLU); Su et al. 2021 (2104.09864, rotary positions).
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .attention import attend

HEAD = 64
EPSILON = 1e-5
ROPE_BASE = 10_000.0


@dataclass(frozen=True)
class Shape:
    """The size of a model. `width` is `heads` times 64."""

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int = 4096
    window: int = 512

    @property
    def width(self):
        """Width of the residual stream."""
        return self.heads * HEAD

    def multiply_adds(self):
        """Multiply-adds a token in matrix products, attention over the cache left out."""
        attention = self.width * HEAD * (2 * self.heads + 2 * self.kv_heads)
        block = attention + 3 * self.width * self.hidden
        return self.layers * block + self.width * self.vocabulary

    def to_dict(self):
        """The fields as plain values, for checkpoints."""
        return asdict(self)


SHAPES = {
    "test": Shape(layers=2, heads=2, kv_heads=1, hidden=192, vocabulary=512, window=64),
    "tiny": Shape(layers=4, heads=2, kv_heads=1, hidden=192),
    "small": Shape(layers=5, heads=4, kv_heads=1, hidden=768),
    "base": Shape(layers=8, heads=7, kv_heads=1, hidden=1216),
}


def precision(device):
    """The type of the products: bf16 where there are instructions for it, and f32 on CPUs without, which only emulate
    them (a step of `small` took 93 s on a Zen 3 that way)."""
    native = device == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def rotary(length, device=None):
    """Cosines and sines of positions 0..length, each [length, HEAD / 2]."""
    exponents = torch.arange(0, HEAD, 2, dtype=torch.float64, device=device) / HEAD
    angles = torch.arange(length, dtype=torch.float64, device=device)[:, None] * ROPE_BASE**-exponents
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    """Turns `x` [batch, heads, length, HEAD] by its positions."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).to(x.dtype)


def norm(x, weight):
    """RMSNorm in f32."""
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPSILON)
    return (wide * scale * weight).to(x.dtype)


class Block(nn.Module):
    """One layer."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        width, kv = shape.width, shape.kv_heads * HEAD
        self.attn_norm = nn.Parameter(torch.ones(width))
        self.q = nn.Parameter(_uniform(width, width))
        self.k = nn.Parameter(_uniform(kv, width))
        self.v = nn.Parameter(_uniform(kv, width))
        self.out = nn.Parameter(torch.zeros(width, width))
        self.ffn_norm = nn.Parameter(torch.ones(width))
        self.gate = nn.Parameter(_uniform(shape.hidden, width))
        self.up = nn.Parameter(_uniform(shape.hidden, width))
        self.down = nn.Parameter(torch.zeros(width, shape.hidden))

    def forward(self, x, cos, sin):
        """`x` is the residual stream [batch, length, width]."""
        shape, (batch, length, _) = self.shape, x.shape
        weight = torch.cat((self.q, self.k, self.v)).to(x.dtype)
        heads = F.linear(norm(x, self.attn_norm), weight).view(batch, length, -1, HEAD).transpose(1, 2)
        q, k, v = heads.split((shape.heads, shape.kv_heads, shape.kv_heads), dim=1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        seen = attend(q, k, v, shape.window)
        x = x + F.linear(seen.transpose(1, 2).reshape(batch, length, -1), self.out.to(x.dtype))
        both = F.linear(norm(x, self.ffn_norm), torch.cat((self.gate, self.up)).to(x.dtype))
        gate, up = both.chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.down.to(x.dtype))


class Model(nn.Module):
    """The whole network; parameters are f32, `dtype` is what it computes in."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.width) * 0.02)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        self._rotary = {}
        self.final_norm = norm

    def forward(self, tokens, dtype=torch.float32):
        """The final normed state [batch, length, width] for `tokens` [batch, length]."""
        x = F.embedding(tokens, self.embedding).to(dtype)
        key = (tokens.shape[1], x.device)
        if key not in self._rotary:
            self._rotary[key] = rotary(*key)
        cos, sin = self._rotary[key]
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.final_norm(x, self.norm)

    def logits(self, tokens):
        """Logits [batch, length, vocabulary] in f32."""
        return F.linear(self(tokens), self.embedding)


def _uniform(rows, columns):
    bound = (3 / columns) ** 0.5 * 0.5
    return torch.empty(rows, columns).uniform_(-bound, bound)
