"""Runs as Lightning logs them, without a training, and what can be told of their figures."""

import math
import struct

from lightning.pytorch.loggers import CSVLogger

PASS_RATES = ("0", "1_25", "26_50", "51_75", "76_99", "100")
SIGNS = {"": 0.2, "_positive": 0.8, "_negative": -0.5}


def log_run(folder, versions=((0, 12),), name="run", lift=0.0, points=12):
    """Write a run of two optimizer steps per iteration, the way the Trainer numbers its rows."""
    for first, last in versions:
        logger = CSVLogger(folder, name=name)
        if first == 0:
            logger.log_metrics(validation(0.1 + lift) | {"epoch": 0}, step=0)
        for epoch in range(first, last):
            share = (epoch + 1) / points
            wiggle = 0.05 * math.sin(7 * epoch)
            logger.log_metrics(
                {
                    "epoch": epoch,
                    "rollout/reward": 0.2 + 0.6 * share + wiggle,
                    "rollout/accuracy": 0.1 + 0.6 * share + wiggle + lift,
                    "rollout/length": 180 + 40 * share,
                    "rollout/length_correct": 150 + 40 * share,
                    "rollout/length_wrong": 230 + 60 * share,
                    "train/loss": wiggle,
                    "train/grad_norm": 0.5 + wiggle,
                }
                | dynamics_at(share, wiggle, lift),
                step=2 * epoch + 1,
            )
            if epoch % 3 == 2:
                logger.log_metrics(validation(0.1 + 0.6 * share + lift) | {"epoch": epoch}, step=2 * epoch + 2)
        logger.save()
    return folder / name


def dynamics_at(share, wiggle, lift):
    rates = (0.5 - 0.4 * share, 0.2, 0.1, 0.1, 0.05, 0.05 + 0.4 * share)
    return {f"rollout/pass_rate_{name}": rate for name, rate in zip(PASS_RATES, rates, strict=True)} | {
        "rollout/repetition": 0.02 + 0.01 * share,
        "rollout/repetition_correct": 0.01,
        "rollout/repetition_wrong": 0.03 + 0.02 * share + 0.1 * wiggle**2,
        "train/entropy": 1.1 * math.exp(-2 * share) + lift,
        "train/entropy_positive": 1.0 * math.exp(-2 * share) + lift,
        "train/entropy_negative": 1.2 * math.exp(-2 * share) + lift,
        **{f"train/ratio{sign}": 1 + 1e-3 * shift * share for sign, shift in SIGNS.items()},
        **{f"train/response_ratio{sign}": 1 + 5e-4 * shift * (1 + wiggle) for sign, shift in SIGNS.items()},
        "train/clip_fraction_low": 0.002 + 0.001 * wiggle,
        "train/clip_fraction_low_positive": 0.0,
        "train/clip_fraction_low_negative": 0.004 + 0.002 * wiggle,
        "train/clip_fraction_high": 0.006 * share,
        "train/clip_fraction_high_positive": 0.012 * share,
        "train/clip_fraction_high_negative": 0.0,
        "train/dual_clip_fraction_negative": 0.0,
        "train/zero_gradient_share": 0.3 + 0.1 * share,
        "train/zero_advantage_share": 0.3,
        **{f"train/kl_{of}_k1": 0.001 + 0.01 * wiggle for of in ("old", "rollout", "ref")},
        **{f"train/kl_{of}_k3": 0.001 + 0.01 * wiggle**2 for of in ("old", "rollout", "ref")},
    }


def validation(value):
    return {
        "val/avg@8": value,
        "val/avg@8_low": value - 0.06,
        "val/avg@8_high": value + 0.06,
        "val/pass@8": min(value + 0.2, 1.0),
        "val/pass@8_low": value + 0.1,
        "val/pass@8_high": min(value + 0.28, 1.0),
        "val/greedy": value + 0.03,
        "val/greedy_low": value - 0.06,
        "val/greedy_high": value + 0.12,
    }


def png_size(path):
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return (*struct.unpack(">II", content[16:24]), len(content))
