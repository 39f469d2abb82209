"""Sliding-window attention with shared keys: torch's kernel, and a faster one for CPUs.

Torch's attention for CPUs repeats the shared keys for every query head, and its gradient
takes a third of a training step. Here the query heads that share keys become rows of one
large matrix product, and the masked softmax and its gradient are one fused loop each.
"""

import functools

import torch
import torch.nn.functional as F


@torch.compiler.disable
def attend(q, k, v, window):
    """Causal attention over the last `window` positions, itself included.

    q is [batch, heads, length, size]; k and v are [batch, kv_heads, length, size], each
    shared by heads / kv_heads query heads in order. Returns the shape of q.
    """
    batch, heads, length, size = q.shape
    kv_heads = k.shape[1]
    if q.device.type == "cpu" and torch.is_grad_enabled():
        share = heads // kv_heads
        rows = q.reshape(batch * kv_heads, share, length, size)
        seen = _Attention.apply(rows, k.reshape(-1, length, size), v.reshape(-1, length, size), window)
        return seen.view(batch, heads, length, size)
    k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    if length <= window:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    parts = []
    for start, stop, first in _blocks(length, window, window // 2):
        mask = visible(start, stop, first, window, q.device)
        parts.append(
            F.scaled_dot_product_attention(q[:, :, start:stop], k[:, :, first:stop], v[:, :, first:stop], mask)
        )
    return torch.cat(parts, dim=2)


@functools.lru_cache(maxsize=256)
def visible(start, stop, first, window, device):
    """Which of the keys first..stop each of the queries start..stop sees."""
    distance = torch.arange(start, stop, device=device)[:, None] - torch.arange(first, stop, device=device)
    return (distance >= 0) & (distance < window)


def _blocks(length, window, block):
    """(start, stop, first key) of each block of queries."""
    for start in range(0, length, block):
        yield start, min(start + block, length), max(0, start - window + 1) // 32 * 32


def _softmax(scores, mask, scale):
    wide = torch.where(mask, scores.float() * scale, float("-inf"))
    return torch.softmax(wide, dim=-1).to(scores.dtype)


def _softmax_gradient(p, upstream, scale):
    wide = p.float() * upstream.float()
    return ((wide - p.float() * wide.sum(-1, keepdim=True)) * scale).to(p.dtype)


_fused = {"softmax": _softmax, "gradient": _softmax_gradient}


def compile_kernels():
    """Fuses the elementwise parts; without it they are plain torch operations."""
    _fused["softmax"] = torch.compile(_softmax, dynamic=False)
    _fused["gradient"] = torch.compile(_softmax_gradient, dynamic=False)


class _Attention(torch.autograd.Function):
    BLOCK = 128

    @staticmethod
    def forward(context, q, k, v, window):
        groups, share, length, size = q.shape
        out = torch.empty_like(q)
        scale = size**-0.5
        saved = []
        for start, stop, first in _blocks(length, window, _Attention.BLOCK):
            rows = q[:, :, start:stop].reshape(groups, -1, size)
            scores = torch.bmm(rows, k[:, first:stop].transpose(1, 2)).view(groups, share, stop - start, -1)
            p = _fused["softmax"](scores, visible(start, stop, first, window, q.device), scale)
            p = p.view(groups, rows.shape[1], -1)
            out[:, :, start:stop] = torch.bmm(p, v[:, first:stop]).view(groups, share, -1, size)
            saved.append(p)
        context.window = window
        context.save_for_backward(q, k, v, *saved)
        return out

    @staticmethod
    def backward(context, upstream):
        q, k, v, *saved = context.saved_tensors
        groups, share, length, size = q.shape
        scale = size**-0.5
        d_q, d_k, d_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for (start, stop, first), p in zip(_blocks(length, context.window, _Attention.BLOCK), saved):
            rows = q[:, :, start:stop].reshape(groups, -1, size)
            d_out = upstream[:, :, start:stop].reshape(groups, -1, size)
            d_v[:, first:stop] += torch.bmm(p.transpose(1, 2), d_out)
            d_scores = _fused["gradient"](p, torch.bmm(d_out, v[:, first:stop].transpose(1, 2)), scale)
            d_q[:, :, start:stop] = torch.bmm(d_scores, k[:, first:stop]).view(groups, share, -1, size)
            d_k[:, first:stop] += torch.bmm(d_scores.transpose(1, 2), rows)
        return d_q, d_k, d_v, None
