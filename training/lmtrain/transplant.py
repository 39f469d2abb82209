"""Starts a model from a shipped GGUF file, even one of another shape or tokenizer.

What a model has learned survives fewer KV heads, more layers and other tokens well enough
that going on is far cheaper than starting again:

- Shared KV heads replace separate ones by the closest low-rank form: values and outputs by
  one truncated SVD over the heads, queries and keys by the leading complex direction of
  each rotary frequency (a pair of rows is one complex row, its turning a phase).
- New layers start as the identity (zero output matrices).
- A token that the old vocabulary lacks starts as the mean of the old tokens that spell it.
"""

import numpy as np
import torch

from .evaluate import encoder
from .gguf_model import GgufModel
from .model import HEAD, Model
from .tokenizer import ByteTokenizer


def transplant(path, shape, tokenizer):
    """A `Model` of `shape` for the tokenizer file, as close as may be to the GGUF at `path`."""
    old = GgufModel(path)
    if old.heads != shape.heads or old.tensors["output_norm.weight"].numel() != shape.width:
        raise ValueError(f"{path} has another width than {shape}: only layers, KV heads and tokens may differ")
    if shape.kv_heads != 1 or old.layers > shape.layers or old.size != HEAD:
        raise ValueError("a transplant needs one KV head, heads of 64 and at least as many layers")
    model = Model(shape)
    with torch.no_grad():
        model.embedding.copy_(_embedding(old, tokenizer))
        model.norm.copy_(old.tensors["output_norm.weight"])
        added = shape.layers - old.layers
        kept = [*range(old.layers - 1), shape.layers - 1]  # new layers go before the last one
        for layer, place in enumerate(kept):
            _block(old, layer, model.blocks[place])
    print(f"transplanted {old.layers} layers, {added} new ones")
    return model


def _embedding(old, tokenizer):
    """Rows for the new tokens, copied or averaged from the old ones."""
    table, encode = old.tensors["token_embd.weight"], encoder(old)
    known = {piece: token for token, piece in enumerate(old.token_bytes)}  # b"" is the start mark
    rows, copied = [], 0
    for piece in ByteTokenizer(tokenizer).token_bytes:
        copied += piece in known
        rows.append(table[known[piece]] if piece in known else table[encode(piece)].mean(0))
    print(f"transplanted {copied} of {len(rows)} tokens as they are")
    return torch.stack(rows)


def _block(old, layer, block):
    part = {
        name: old.tensors[f"blk.{layer}.{name}.weight"].numpy().astype(np.float64)
        for name in ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
    }
    gain = part["attn_norm"]
    share = old.heads // old.kv_heads
    q, k, v = (
        (part[f"attn_{which}"] * gain).reshape(-1, HEAD, len(gain)) for which in "qkv"
    )  # [heads, HEAD, width], the norm's gain folded in
    k, v = np.repeat(k, share, 0), np.repeat(v, share, 0)
    q, k = shared_keys(q, k)
    v, out = shared_values(v, part["attn_output"])
    values = {
        "attn_norm": np.ones_like(gain),
        "q": q.reshape(-1, len(gain)),
        "k": k,
        "v": v,
        "out": out,
        "ffn_norm": part["ffn_norm"],
        "gate": part["ffn_gate"],
        "up": part["ffn_up"],
        "down": part["ffn_down"],
    }
    for name, value in values.items():
        getattr(block, name).copy_(torch.from_numpy(value))


def shared_keys(q, k):
    """One key head for all query heads: from [heads, HEAD, width] twice, rows (2j, 2j + 1) a pair.

    Returns q [heads, HEAD, width] and k [HEAD, width] with pairs (j, j + HEAD / 2). A pair is
    a complex row; scores are Re(q conj(k) e^(i turn)), so per frequency the heads' forms
    q_h k_h* are replaced by u_h v*, v leading in the sum of |q_h|^2 k_h k_h*.
    """
    heads = len(q)
    q, k = q[:, 0::2] + 1j * q[:, 1::2], k[:, 0::2] + 1j * k[:, 1::2]
    new_q, new_k = np.empty_like(q), np.empty_like(k[0])
    for pair in range(HEAD // 2):
        rows = np.linalg.norm(q[:, pair], axis=1)[:, None] * k[:, pair].conj()
        v = np.linalg.svd(rows, full_matrices=False)[2][0].conj()  # q conj(k): conj(k) as a row
        scale = np.linalg.norm(k[:, pair], axis=1).mean()
        for head in range(heads):
            new_q[head, pair] = q[head, pair] * (k[head, pair].conj() @ v) / scale
        new_k[pair] = v * scale
    return (
        np.concatenate((new_q.real, new_q.imag), axis=1),
        np.concatenate((new_k.real, new_k.imag), axis=0),
    )


def shared_values(v, out):
    """One value head for all: from v [heads, HEAD, width] and out [width, heads * HEAD].

    Returns v [HEAD, width] and out of the same shape as before; the products out_h v_h are
    kept as well as rank HEAD allows.
    """
    heads, _, width = v.shape
    products = np.concatenate([out[:, h * HEAD : (h + 1) * HEAD] @ v[h] for h in range(heads)])
    left, values, right = np.linalg.svd(products, full_matrices=False)
    scale = np.linalg.norm(v, axis=2).mean()
    new = (left[:, :HEAD] * values[:HEAD] / scale).reshape(heads, width, HEAD)
    return right[:HEAD] * scale, np.concatenate(list(new), axis=1)
