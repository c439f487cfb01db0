"""Fusion, projector and a LoRA-tuned Llama as PyTorch modules, name for name as in
`signbind_jax.models`."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.train_speed_modules import ctc_sum, rms_norm, rotary_angles, rotate

N_BASIS, SHORTEST_GAP_S = 17, 0.04


class LoRALinear(nn.Linear):
    """A frozen linear layer with a trained low-rank update in float32."""

    def __init__(self, n_in: int, n_out: int, rank: int, alpha: float):
        super().__init__(n_in, n_out, bias=False)
        self.weight.requires_grad_(False)
        self.lora = nn.ModuleDict(
            {"a": nn.Linear(n_in, rank, bias=False), "b": nn.Linear(rank, n_out, bias=False)}
        )
        self.scale = alpha / rank

    def forward(self, x):
        update = self.lora["b"](self.lora["a"](x.float())) * self.scale
        return F.linear(x, self.weight) + update.to(x.dtype)


class Block(nn.Module):
    """Grouped-query attention, then a gated feed-forward layer."""

    def __init__(self, config: dict, rank: int, alpha: float):
        super().__init__()
        d, e, h, kv = (config[k] for k in ("d_model", "head_size", "n_heads", "n_kv_heads"))
        self.head_size = e

        def linear(n_in, n_out):
            return LoRALinear(n_in, n_out, rank, alpha)

        self.attention_norm = nn.RMSNorm(d, eps=config["norm_eps"])
        self.q, self.k, self.v = linear(d, h * e), linear(d, kv * e), linear(d, kv * e)
        self.o = linear(h * e, d)
        self.mlp_norm = nn.RMSNorm(d, eps=config["norm_eps"])
        self.gate, self.up = linear(d, config["d_mlp"]), linear(d, config["d_mlp"])
        self.down = linear(config["d_mlp"], d)

    def forward(self, x, see, cos, sin):
        b, t, _ = x.shape
        y = self.attention_norm(x)
        q, k, v = (
            f(y).view(b, t, -1, self.head_size).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=see, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, -1))
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """A Llama over embeddings; everything but the adapters is frozen."""

    def __init__(self, config: dict, rank: int, alpha: float):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config["vocab_size"], config["d_model"])
        self.layers = nn.ModuleList([Block(config, rank, alpha) for _ in range(config["n_layers"])])
        self.norm = nn.RMSNorm(config["d_model"], eps=config["norm_eps"])
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(".lora." in name)

    def frozen_to(self, dtype) -> None:
        """Stores what does not train in another type."""
        for parameter in self.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)

    def forward(self, x, mask):
        position = (mask.long().cumsum(1) - 1).clamp(min=0)
        cos, sin = rotary_angles(position, self.config["head_size"], self.config["rope_base"])
        t = x.shape[1]
        causal = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        see = (causal & mask[:, None, :])[:, None]
        for block in self.layers:
            x = block(x, see, cos[:, None], sin[:, None])
        return x

    def logits(self, x):
        return F.linear(self.norm(x), self.embedding.weight).float()


class FusionLayer(nn.Module):
    """Attention that fades with the distance in seconds, then a gated feed-forward layer."""

    def __init__(self, config: dict):
        super().__init__()
        d, self.n_heads = config["d_model"], config["n_heads"]
        self.norm_attention = rms_norm(d)
        self.q, self.k, self.v, self.out = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.log_decay = nn.Parameter(torch.zeros(self.n_heads))
        self.norm_mlp = rms_norm(d)
        self.gate = nn.Linear(d, config["d_mlp"], bias=False)
        self.up = nn.Linear(d, config["d_mlp"], bias=False)
        self.down = nn.Linear(config["d_mlp"], d, bias=False)
        self.dropout = nn.Dropout(config["dropout"])

    def forward(self, x, cos, sin, distance, mask):
        b, m, d = x.shape
        y = self.norm_attention(x)
        q, k, v = (
            f(y).view(b, m, self.n_heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        bias = -self.log_decay.exp()[:, None, None] * distance[:, None]
        bias = bias.masked_fill(~mask[:, None, None, :], -1e30)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        x = x + self.dropout(self.out(y.transpose(1, 2).reshape(b, m, d)))
        y = self.norm_mlp(x)
        return x + self.dropout(self.down(F.silu(self.gate(y)) * self.up(y)))


def intervals(middle, stream, mask, n_streams: int):
    """Seconds to the token before and after of the same stream, and the stream's median gap."""
    before, after, usual = (torch.zeros_like(middle) for _ in range(3))
    never = float("inf")
    for i in range(n_streams):
        mine = mask & (stream == i)
        last = F.pad(middle.masked_fill(~mine, -never).cummax(1)[0][:, :-1], (1, 0), value=-never)
        following = middle.masked_fill(~mine, never).flip(1).cummin(1)[0].flip(1)
        following = F.pad(following[:, 1:], (0, 1), value=never)
        has_last, has_following = mine & last.isfinite(), mine & following.isfinite()
        to_last = torch.where(has_last, (middle - last).clamp(min=0), 0.0)
        to_next = torch.where(has_following, (following - middle).clamp(min=0), 0.0)
        n = has_last.sum(1, keepdim=True)
        ordered = to_last.masked_fill(~has_last, never).sort(1)[0]
        median = ordered.gather(1, n // 2)
        before, after = torch.where(mine, to_last, before), torch.where(mine, to_next, after)
        usual = torch.where(mine & (n > 0), median, usual)
    return before, after, usual


def places(ratio):
    """How near a gap, in usual gaps, is to each of 0.5, 0.625, ..."""
    return [(-((ratio - 0.5 - i * 0.125) / 0.125).square()).exp() for i in range(N_BASIS)]


class Fusion(nn.Module):
    """Tokens of all streams, in order of time, into fused tokens and CTC posteriors."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        d, n_streams = config["d_model"], len(config["n_ids"])
        self.hidden = nn.Linear(config["d_hidden"], n_streams * d, bias=False)
        self.id_embed = nn.Embedding(sum(config["n_ids"]), d)
        self.stream_embed = nn.Embedding(n_streams, d)
        self.features = nn.Linear(5 + 2 * N_BASIS, d, bias=False)
        self.layers = nn.ModuleList([FusionLayer(config) for _ in range(config["n_layers"])])
        self.norm = rms_norm(d)
        self.ctc_frames = nn.Linear(d, config["ctc_frames"] * d, bias=False)
        self.ctc_head = nn.Linear(d, config["n_targets"])
        self.dropout = nn.Dropout(config["dropout"])
        first = torch.tensor([0, *config["n_ids"][:-1]]).cumsum(0)
        self.register_buffer("first_id", first, persistent=False)

    def _features(self, tokens: dict):
        gap, after, usual = intervals(
            (tokens["start_bm"] + tokens["end_bm"]) / 2,
            tokens["stream_bm"],
            tokens["mask_bm"],
            len(self.config["n_ids"]),
        )
        usual = usual.clamp(min=SHORTEST_GAP_S)
        features = [
            tokens["confidence_bm"],
            torch.log1p(10 * (tokens["end_bm"] - tokens["start_bm"])),
            torch.log1p(10 * gap),
            gap.clamp(max=2.0),
            (gap > 0).float(),
            *places(gap / usual),
            *places(after / usual),
        ]
        return torch.stack(features, dim=-1)

    def _embed(self, tokens: dict):
        x = self.id_embed(tokens["ids_bm"] + self.first_id[tokens["stream_bm"]])
        x = x + self.stream_embed(tokens["stream_bm"])
        b, m, d = x.shape
        hidden = self.hidden(tokens["hidden_bmd"].float()).view(b, m, -1, d)
        own = tokens["stream_bm"][..., None, None].expand(b, m, 1, d)
        x = x + hidden.gather(2, own)[:, :, 0] + self.features(self._features(tokens))
        return x * tokens["mask_bm"][..., None]

    def forward(self, tokens: dict):
        """Fused vectors, their mask, log posteriors of the CTC frames."""
        config = self.config
        key = tokens["start_bm"].masked_fill(~tokens["mask_bm"], float("inf"))
        order = key.argsort(dim=1, stable=True)
        tokens = {
            name: x.gather(1, order) if x.dim() == 2 else x.gather(1, order[..., None].expand_as(x))
            for name, x in tokens.items()
        }
        mask, half = tokens["mask_bm"], config["d_model"] // config["n_heads"] // 2
        x = self.dropout(self._embed(tokens))
        span = config["longest_s"] / config["shortest_s"]
        power = torch.arange(half, device=x.device) / max(half - 1, 1)
        wavelength = config["shortest_s"] * span**power
        angle = tokens["start_bm"][:, None, :, None] * (2 * torch.pi / wavelength)
        middle = (tokens["start_bm"] + tokens["end_bm"]) / 2
        distance = (middle[:, :, None] - middle[:, None]).abs()
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin(), distance, mask)
        x = self.norm(x)
        frames = F.silu(self.ctc_frames(x)).view(x.shape[0], -1, x.shape[2])
        return x, mask, F.log_softmax(self.ctc_head(frames).float(), dim=-1)


def fused_text(log_probs, frame_mask, pieces, capacity: int):
    """The greedy CTC path as tokens of the LLM: ids and mask."""
    ids = log_probs.argmax(-1) * frame_mask
    begins = (ids != 0) & (ids != F.pad(ids[:, :-1], (1, 0)))
    place = begins.cumsum(1) - 1
    place = torch.where(begins & (place < capacity), place, capacity)
    read = ids.new_zeros(ids.shape[0], capacity + 1).scatter_(1, place, ids)[:, :capacity]
    real = torch.arange(capacity, device=ids.device) < begins.sum(1, keepdim=True)
    text = pieces[read].flatten(1)
    real = (text >= 0) & real.repeat_interleave(pieces.shape[1], dim=1)
    order = (~real).byte().argsort(dim=1, stable=True)[:, :capacity]
    mask = torch.arange(capacity, device=ids.device) < real.sum(1, keepdim=True)
    return torch.where(mask, text.gather(1, order), 0), mask


class Projector(nn.Module):
    def __init__(self, d_in: int, d_out: int):
        super().__init__()
        self.norm = rms_norm(d_in)
        self.up = nn.Linear(d_in, d_out, bias=False)
        self.down = nn.Linear(d_out, d_out, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.up(self.norm(x)), approximate="tanh"))


class TranslationTask(nn.Module):
    """Fusion, projector and decoder with their loss; what `compile` works on is all but the
    CTC."""

    def __init__(self, spec: dict, batch: dict):
        super().__init__()
        fusion, decoder, lora = spec["model"]
        self.fusion = Fusion(fusion)
        self.projector = Projector(fusion["d_model"], decoder["d_model"])
        self.decoder = Decoder(decoder, lora["rank"], lora["alpha"])
        self.ctc_weight = spec["options"].get("ctc_weight", 0.3)
        self.weight = batch["text_mask_bl"].sum()

    def prefix(self, tokens: dict, batch: dict):
        """Embeddings in front of the sentence, their mask, and fusion's posteriors."""
        fused, mask, log_probs = self.fusion(tokens)
        b, m = mask.shape
        frame_mask = mask.repeat_interleave(log_probs.shape[1] // m, dim=1)
        head = batch["head_ids_p"].expand(b, -1)
        text, text_mask = fused_text(log_probs.detach(), frame_mask, batch["pieces_vr"], m + 8)
        embed = self.decoder.embedding
        soft = (self.projector(fused) * mask[..., None]).to(embed.weight.dtype)
        x = torch.cat([embed(head), soft, embed(text), embed(batch["prompt_ids_bp"])], dim=1)
        mask = torch.cat(
            [torch.ones_like(head, dtype=torch.bool), mask, text_mask, batch["prompt_mask_bp"]],
            dim=1,
        )
        return x, mask, log_probs, frame_mask

    def forward(self, batch: dict):
        tokens = {k.removeprefix("tokens/"): v for k, v in batch.items() if k.startswith("tokens/")}
        x, mask, log_probs, frame_mask = self.prefix(tokens, batch)
        text, text_mask = batch["text_ids_bl"], batch["text_mask_bl"]
        p = x.shape[1]
        x = torch.cat([x, self.decoder.embedding(text[:, :-1])], dim=1)
        mask = torch.cat([mask, text_mask[:, :-1]], dim=1)
        logits = self.decoder.logits(self.decoder(x, mask)[:, p - 1 :])
        loss = F.cross_entropy(logits.flatten(0, 1), text.flatten(), reduction="none")
        correct = ((logits.argmax(-1) == text) & text_mask).sum()  # the loop logs it
        return (loss * text_mask.flatten()).sum(), correct, log_probs, frame_mask

    def loss(self, batch: dict, forward):
        """Mean loss a sentence token, fusion's CTC in it."""
        sentence, _, log_probs, frame_mask = forward(batch)
        ctc = ctc_sum(log_probs, frame_mask, batch["target_bn"], batch["target_length_b"])
        return (sentence + self.ctc_weight * ctc) / self.weight
