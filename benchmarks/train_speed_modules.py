"""The experts as PyTorch modules: the layers of `signbind_jax.models`, name for name."""

import torch
import torch.nn.functional as F
from torch import nn

PARTS = {
    "body": (0, 7),
    "face": (7, 29),
    "mouth": (29, 49),
    "left_hand": (49, 70),
    "right_hand": (70, 91),
}
MOTION_SCALE = 10.0
EPS = 1e-6


def rms_norm(d: int) -> nn.RMSNorm:
    return nn.RMSNorm(d, eps=EPS)


def rotary_angles(position, size: int, base: float):
    """cos and sin for half-split rotary positions, each with `size` / 2 at the end."""
    half = torch.arange(size // 2, device=position.device, dtype=torch.float32)
    angle = position[..., None].float() * base ** (-half * 2.0 / size)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Rotates the halves of the last dimension of x (b, h, t, e)."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


class FeedForward(nn.Module):
    def __init__(self, d: int, d_mlp: int):
        super().__init__()
        self.norm = rms_norm(d)
        self.inner = nn.Linear(d, d_mlp)
        self.outer = nn.Linear(d_mlp, d, bias=False)

    def forward(self, x):
        return self.outer(F.silu(self.inner(self.norm(x))))


class SelfAttention(nn.Module):
    def __init__(self, d: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm = rms_norm(d)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)

    def forward(self, x, see, cos, sin):
        b, s, d = x.shape
        qkv = self.qkv(self.norm(x)).view(b, s, 3, self.n_heads, d // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=see)
        return self.out(y.transpose(1, 2).reshape(b, s, d))


class GatedConvolution(nn.Module):
    def __init__(self, d: int, kernel: int):
        super().__init__()
        self.norm = rms_norm(d)
        self.gate = nn.Linear(d, 2 * d)
        self.depthwise = nn.Conv1d(d, d, kernel, padding=kernel // 2, groups=d, bias=False)
        self.inner_norm = rms_norm(d)
        self.out = nn.Linear(d, d, bias=False)

    def forward(self, x, mask):
        x = F.glu(self.gate(self.norm(x)), dim=-1) * mask[..., None]
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.out(F.silu(self.inner_norm(x)))


class ConformerBlock(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        d = config["d_model"]
        self.feed_in = FeedForward(d, config["d_mlp"])
        self.attention = SelfAttention(d, config["n_heads"])
        self.convolution = GatedConvolution(d, config["conv_kernel"])
        self.feed_out = FeedForward(d, config["d_mlp"])
        self.norm = rms_norm(d)
        self.dropout = nn.Dropout(config["dropout"])

    def forward(self, x, mask, see, cos, sin):
        x = x + 0.5 * self.dropout(self.feed_in(x))
        x = x + self.dropout(self.attention(x, see, cos, sin))
        x = x + self.dropout(self.convolution(x, mask))
        x = x + 0.5 * self.dropout(self.feed_out(x))
        return self.norm(x)


class ConvSubsample(nn.Module):
    """Convolution over time of kernel 3 and stride 2."""

    def __init__(self, d: int):
        super().__init__()
        self.linear = nn.Conv1d(d, d, 3, stride=2, padding=1)
        self.norm = rms_norm(d)

    def forward(self, x, mask):
        x = self.linear((x * mask[..., None]).transpose(1, 2)).transpose(1, 2)
        return self.norm(F.silu(x)), mask[:, ::2] | mask[:, 1::2]


class TemporalEncoder(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        d, n = config["d_model"], config["subsample"].bit_length() - 1
        self.head_size = d // config["n_heads"]
        self.halvings = nn.ModuleList([ConvSubsample(d) for _ in range(n)])
        self.blocks = nn.ModuleList([ConformerBlock(config) for _ in range(config["n_layers"])])

    def forward(self, x, mask):
        for halving in self.halvings:
            x, mask = halving(x, mask)
        position = torch.arange(x.shape[1], device=x.device)
        cos, sin = rotary_angles(position, self.head_size, 10_000.0)
        see = mask[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask, see, cos, sin)
        return x, mask


def differences(x):
    """Frame differences of x and y, 0 where a point is missing now or one frame ago."""
    before = F.pad(x[:, :-1], (0, 0, 0, 0, 1, 0))
    seen = (x[..., 2:] > 0) & (before[..., 2:] > 0)
    return torch.where(seen, MOTION_SCALE * (x[..., :2] - before[..., :2]), 0.0)


def wrist_centred(x):
    """x and y about the wrist in units of the hand's own size."""
    seen = (x[..., 2:] > 0) & (x[:, :, :1, 2:] > 0)
    offset = torch.where(seen, x[..., :2] - x[:, :, :1, :2], 0.0)
    n = seen.sum(dim=(2, 3)).clamp(min=1)
    size = (offset.square().sum(dim=(2, 3)) / n).sqrt()
    return offset / size.clamp(min=1e-3)[..., None, None]


class PoseFrontend(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.parts = [part for part in PARTS if part in config["parts"]]
        e, d = config["d_part"], config["d_model"]
        sizes = {part: PARTS[part][1] - PARTS[part][0] for part in self.parts}
        self.embed = nn.ModuleDict(
            {part: nn.Linear(5 * n, e) for part, n in sizes.items() if "hand" not in part}
        )
        self.embed["hand"] = nn.Linear(7 * sizes["left_hand"], e)
        self.hand_shape = nn.Linear(e, e)
        self.side = nn.Parameter(torch.zeros(2, e))
        self.fuse = nn.Linear(e * len(self.parts), d)
        self.norm = rms_norm(d)
        self.dropout = nn.Dropout(config["dropout"])
        self.register_buffer("mirror", torch.tensor([-1.0, 1.0, 1.0]), persistent=False)

    def hands(self, x):
        """Both hands, the left one mirrored, through one embedding."""
        left, right = x[:, :, slice(*PARTS["left_hand"])], x[:, :, slice(*PARTS["right_hand"])]
        hand = torch.cat([left * self.mirror, right])
        inputs = torch.cat([hand, differences(hand), wrist_centred(hand)], dim=-1)
        # Features stand coordinate by coordinate within a kind of feature, as in the other side.
        inputs = torch.cat([part.flatten(2) for part in inputs.split([3, 2, 2], dim=-1)], dim=-1)
        embedded = self.hand_shape(F.silu(self.embed["hand"](inputs)))
        left, right = embedded.chunk(2)
        return {"left_hand": left + self.side[0], "right_hand": right + self.side[1]}

    def forward(self, x):
        embedded = self.hands(x)
        for part in self.parts:
            if part not in embedded:
                own = x[:, :, slice(*PARTS[part])]
                inputs = torch.cat([own.flatten(2), differences(own).flatten(2)], dim=-1)
                embedded[part] = self.embed[part](inputs)
        x = torch.cat([embedded[part] for part in self.parts], dim=-1)
        return self.norm(self.fuse(self.dropout(F.silu(x))))


class ResidualBlock(nn.Module):
    """Depthwise 3x3, norm, two pointwise layers, on channels-last images."""

    def __init__(self, c: int):
        super().__init__()
        self.depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False)
        self.norm = rms_norm(c)
        self.inner = nn.Linear(c, 2 * c)
        self.outer = nn.Linear(2 * c, c, bias=False)

    def forward(self, x):
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.outer(F.silu(self.inner(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class LipFrontend(nn.Module):
    """3-D convolution stem, residual stages, one vector a frame."""

    def __init__(self, config: dict):
        super().__init__()
        channels, p = config["channels"], config["lip_patch"]
        self.stem = nn.Conv3d(1, channels[0], (3, p, p), stride=(1, p, p), padding=(1, 0, 0))
        self.down = nn.ModuleList(
            [nn.Conv2d(a, b, 2, stride=2) for a, b in zip(channels, channels[1:])]
        )
        self.blocks = nn.ModuleList([ResidualBlock(c) for c in channels[1:]])
        side = config["lip_size"] // (p * 2 ** (len(channels) - 1))
        self.out = nn.Linear(side * side * channels[-1], config["d_model"])
        self.norm = rms_norm(config["d_model"])
        self.dropout = nn.Dropout(config["dropout"])

    def forward(self, x):
        b, f = x.shape[:2]
        x = F.silu(self.stem(x[:, None])).transpose(1, 2).flatten(0, 1)
        x = x.contiguous(memory_format=torch.channels_last)
        for down, block in zip(self.down, self.blocks):
            x = block(down(x))
        x = F.silu(x.permute(0, 2, 3, 1)).reshape(b, f, -1)
        return self.norm(self.out(self.dropout(x)))


class Expert(nn.Module):
    """One modality to log posteriors over its own tokens."""

    def __init__(self, config: dict):
        super().__init__()
        frontend = {"pose": PoseFrontend, "lips": LipFrontend}[config["frontend"]]
        self.frontend = frontend(config)
        self.encoder = TemporalEncoder(config)
        self.head = nn.Linear(config["d_model"], config["n_tokens"])

    def forward(self, x, mask):
        x, mask = self.encoder(self.frontend(x), mask)
        return F.log_softmax(self.head(x).float(), dim=-1), mask


def clean_pose(pose, length):
    """Float32 keypoints, 0 where missing or behind the length, and the mask of frames."""
    mask = torch.arange(pose.shape[1], device=pose.device) < length[:, None]
    x = pose.float()
    seen = (x[..., 2] > 0) & x.isfinite().all(-1) & mask[..., None]
    x = torch.cat([x[..., :2], x[..., 2:].clamp(max=1.0)], dim=-1)
    return torch.where(seen[..., None], x, 0.0), mask


def clean_lips(lips, length):
    """Crops about the clip's mean picture at standard deviation 1, and the mask of frames."""
    mask = torch.arange(lips.shape[1], device=lips.device) < length[:, None]
    inside, n = mask[:, :, None, None], length.clamp(min=1)[:, None, None, None]
    x = torch.where(inside, lips.float(), 0.0)
    x = torch.where(inside, x - x.sum(1, keepdim=True) / n, 0.0)
    pixels = n * (lips.shape[2] * lips.shape[3])
    deviation = (x.square().sum((1, 2, 3), keepdim=True) / pixels).sqrt()
    return x / deviation.clamp(min=1.0), mask


def expert_inputs(batch: dict):
    """What an expert reads of a batch of rows that hold one clip each."""
    frames, length = batch["frames_bt"], batch["length_bg"][:, 0]
    clean = clean_lips if frames.dtype == torch.uint8 else clean_pose
    return clean(frames, length)


def ctc_sum(log_probs, mask, target_bn, target_length_b):
    """Summed CTC loss."""
    return F.ctc_loss(
        log_probs.transpose(0, 1),
        target_bn,
        mask.sum(1),
        target_length_b,
        reduction="sum",
        zero_infinity=True,
    )


class ExpertTask(nn.Module):
    """An expert with its loss; what `compile` works on is all but the CTC."""

    def __init__(self, spec: dict, batch: dict):
        super().__init__()
        self.expert = Expert(spec["model"][0])
        self.weight = batch["target_length_bg"].clamp(min=1).sum()

    def forward(self, batch: dict):
        return self.expert(*expert_inputs(batch))

    def loss(self, batch: dict, forward):
        """Mean loss a target token."""
        target_bn, length_b = batch["target_bgn"][:, 0], batch["target_length_bg"][:, 0]
        return ctc_sum(*forward(batch), target_bn, length_b) / self.weight
